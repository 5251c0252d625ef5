"""Where the repository, the worlds and the real data sets lie."""

import os
from pathlib import Path

WORLDS = Path(__file__).parent
ROOT = WORLDS.parents[1]
DATA = Path(os.environ.get("SEMCONV_TEST_DATA", ROOT.parent / "shared" / "data"))
