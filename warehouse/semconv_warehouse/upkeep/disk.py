"""How many bytes the parts of a project take. A file with several names (hard links) counts once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semconv_warehouse.store.layout import ProjectLayout


def size(places: Iterable[Path]) -> int:
    """Bytes of files and of everything in folders; what vanishes meanwhile counts nothing."""
    sizes: dict[tuple[int, int], int] = {}
    for path in _files(places):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        sizes[found.st_dev, found.st_ino] = found.st_size
    return sum(sizes.values())


def usage(layout: ProjectLayout) -> dict[str, int]:
    """Bytes of ``data/`` by part, ``total`` last; ``serving.duckdb`` counts with the generation whose name it shares."""
    parts = {
        "generations": [layout.generations, layout.serving],
        "runs": [layout.runs],
        "features": [layout.features],
        "warehouse": [layout.warehouse],
    }
    sizes = {name: size(places) for name, places in parts.items()}
    total = size([layout.data])
    return {**sizes, "other": total - sum(sizes.values()), "total": total}


def in_words(num_bytes: int) -> str:
    """Bytes as people read them: ``12.3 MB``."""
    value, unit = float(num_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_file():
            yield place
        else:
            for folder, _, names in os.walk(place):
                yield from (Path(folder) / name for name in names)
