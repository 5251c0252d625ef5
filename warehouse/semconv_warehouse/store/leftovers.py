"""Remove the files that killed processes left in a project, because such files may contain data of users.

A folder is cleaned under the lock that its writers hold, and under the lock of published generations, which `forget`
holds while it rewrites files. So no file of a living process is removed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from semconv.artifacts import UNFINISHED, is_being_written, machine_errors, remove
from semconv.errors import LockedError
from semconv.locks import is_locked, run_lock
from semconv.modes import is_hidden_name
from semconv_warehouse.store.database import open_database
from semconv_warehouse.store.layout import ProjectLayout

SPOOLED = ".rows-"  # beginning of the names of folders with rows that an ingest has read and not yet stored
_WORK = "files of killed processes are being removed"


@dataclass(frozen=True)
class _Place:
    """A folder in which processes write while they hold its lock."""

    folder: Path
    patterns: tuple[str, ...] = (f"**/{UNFINISHED}",)

    def leftovers(self) -> list[Path]:
        found = [path for pattern in self.patterns for path in sorted(self.folder.glob(pattern))]
        return [path for path in found if not (is_locked(path) if path.is_dir() else is_being_written(path))]

    def clean(self) -> None:
        with machine_errors(self.folder):
            for path in self.leftovers():
                remove(path)


def remove_leftovers(layout: ProjectLayout) -> None:
    """Remove unfinished files of killed processes from a project and from its experiments.

    A folder in which another process works is left alone; the next command cleans it.
    """
    # Without a look at the lock first, the lock of generations would be held while this process waits for the other one.
    dirty = [place for place in _places(layout) if place.leftovers() and not is_locked(place.folder)]
    spilled = [path for path in _warehouses(layout) if spill_folder(path).exists()]
    if not dirty and not spilled:
        return
    with contextlib.suppress(LockedError), run_lock(layout.generations, work=_WORK):
        _clean(dirty, spilled, (layout.generations,), None)


def remove_all_leftovers(layout: ProjectLayout, held: Collection[Path], wait: float) -> None:
    """Remove unfinished files of killed processes, also outside ``data/``, and temporary files of readers of generations.

    Args:
        held: the folders whose locks the caller holds, among them that of published generations.
        wait: seconds to wait for a process that works in a folder.

    Raises:
        LockedError: another process still works in a folder that has such files.
    """
    dirty = [place for place in _places(layout) if place.leftovers()]
    _clean(dirty, [path for path in _warehouses(layout) if spill_folder(path).exists()], held, wait)
    with machine_errors(layout.data):
        for path in (
            layout.data / ".spill",
            *layout.data.glob("*.duckdb.tmp"),
            *layout.generations.glob("*.duckdb.tmp"),
        ):
            remove(path)
        for path in _unfinished_outside_data(layout):
            remove(path)


def _unfinished_outside_data(layout: ProjectLayout) -> Iterator[Path]:
    """Yield files that killed processes were writing in the project but outside ``data/``, such as exported prompts."""
    for folder, below, names in os.walk(layout.root):
        if Path(folder) == layout.root:
            below.remove(layout.data.name)
        paths = (Path(folder) / name for name in names if is_hidden_name(name))
        yield from (path for path in paths if path.is_file() and not path.is_symlink() and not is_being_written(path))


def spill_folder(path: Path) -> Path:
    """Return the folder for temporary files of a database, with the name that DuckDB itself would choose."""
    return path.with_name(f"{path.name}.tmp")


def _places(layout: ProjectLayout) -> Iterator[_Place]:
    for project in (layout, layout.experiments):
        yield _Place(project.data, (UNFINISHED, f"{SPOOLED}*"))
        yield _Place(project.generations)
        yield _Place(project.features)
        for folder in sorted(project.runs.glob("*")):
            yield _Place(folder)


def _warehouses(layout: ProjectLayout) -> list[Path]:
    return [path for path in (layout.warehouse, layout.experiments.warehouse) if path.exists()]


def _clean(places: Collection[_Place], spilled: Collection[Path], held: Collection[Path], wait: float | None) -> None:
    """Clean places, and remove the temporary files of warehouses; without ``wait``, leave alone what is in use."""
    ignored = (LockedError,) if wait is None else ()
    for place in places:
        with contextlib.suppress(*ignored), _lock(place.folder, held, wait):
            place.clean()
    for path in spilled:
        # The process that has a database open for writing is its only user.
        with (
            contextlib.suppress(*ignored),
            open_database(path, read_only=False, wait=wait or 0.0),
            machine_errors(path),
        ):
            remove(spill_folder(path))


def _lock(folder: Path, held: Collection[Path], wait: float | None) -> AbstractContextManager[None]:
    return nullcontext() if folder in held else run_lock(folder, wait=wait or 0.0, work=_WORK)
