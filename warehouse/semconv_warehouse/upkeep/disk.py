"""Disk usage of the parts of a project. A file that has several names (hard links) is counted once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # every command imports this module; the layout would load DuckDB with it
    from semconv_warehouse.store.layout import ProjectLayout


def size(paths: Iterable[Path]) -> int:
    """Return the total size of files and folders in bytes. A file that is deleted meanwhile counts as 0."""
    sizes: dict[tuple[int, int], int] = {}
    for path in _files(paths):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        sizes[found.st_dev, found.st_ino] = found.st_size
    return sum(sizes.values())


def usage(layout: ProjectLayout) -> dict[str, int]:
    """Return the size of each part of the folder ``data/`` in bytes, and their sum as ``total``.

    ``serving.duckdb`` is a hard link to a generation file, so it adds nothing to the size.
    """
    parts = {
        "generations": [layout.generations, layout.serving],
        "runs": [layout.runs],
        "features": [layout.features],
        "warehouse": [layout.warehouse],
    }
    sizes = {name: size(paths) for name, paths in parts.items()}
    total = size([layout.data])
    return {**sizes, "other": total - sum(sizes.values()), "total": total}


def in_words(num_bytes: int) -> str:
    """Return a number of bytes as text, such as ``12.3 MB``."""
    value, unit = float(num_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_file():
            yield path
        else:
            for folder, _, names in os.walk(path):
                yield from (Path(folder) / name for name in names)
