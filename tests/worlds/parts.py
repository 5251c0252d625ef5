"""The lists of a recommend run as one table."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from semconv.stages.lists.parts import part_paths, read_part


def read_parts(folder: Path, method: str | None = None) -> pa.Table:
    """All rows of a run; with ``method`` the lists of this method, without it the lists that the run serves."""
    return pa.concat_tables([read_part(path, method=method) for path in part_paths(folder)])
