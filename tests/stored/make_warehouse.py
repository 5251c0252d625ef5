"""Makes a stored small warehouse: ``python tests/stored/make_warehouse.py`` writes ``warehouse-NNNN.duckdb`` of today's schema.

Once for each schema that was released, before the next migration is written; a stored file is never made anew. Blocks of
16 KiB instead of 256 keep it small.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).parents[2]))

from semconv_warehouse.publish.publishing import publish
from semconv_warehouse.store.migrate import migrations
from tests.worlds import published
from tests.worlds.once import begin_test_run

BLOCK_BYTES = 16_384


def main() -> None:
    """Write the file beside this script."""
    target = Path(__file__).with_name(f"warehouse-{len(migrations()):04d}.duckdb")
    if target.exists():
        sys.exit(f"{target} is stored already")
    begin_test_run()
    with tempfile.TemporaryDirectory() as folder:
        layout, store = published.make_project(Path(folder) / "project")
        publish(layout, store, "recommend-1")
        with duckdb.connect() as connection:
            connection.execute("ATTACH ? AS whole (READ_ONLY)", [str(layout.warehouse)])
            connection.execute(f"ATTACH ? AS small (BLOCK_SIZE {BLOCK_BYTES})", [str(target)])
            connection.execute("COPY FROM DATABASE whole TO small")
            connection.execute("CHECKPOINT small")
    target.chmod(0o644)


if __name__ == "__main__":
    main()
