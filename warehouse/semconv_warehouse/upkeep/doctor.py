"""The checks of ``semconv doctor``: installation, disk, permissions, warehouse, runs and published lists."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from semconv import columns
from semconv.artifacts import is_locked, lock_holder
from semconv.errors import InputError, SemconvError
from semconv.runs.book import RunBook
from semconv.runs.workspace import Workspace
from semconv_warehouse.erase.forgetting import is_unfinished
from semconv_warehouse.publish.generation_files import (
    generation_path,
    require_alone,
    require_undamaged,
    served_generation,
)
from semconv_warehouse.publish.plan import plan_generation
from semconv_warehouse.publish.publications import publications
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.upkeep import disk

_LOW_DISK_BYTES = 1_000_000_000
_PACKAGES = ("duckdb", "sqlalchemy", "polars", "pyarrow", "torch", "transformers", "peft", "feast")
_COUNTS = """
SELECT (SELECT count(*) FROM item), (SELECT count(*) FROM user_account), (SELECT count(*) FROM interaction)
"""
Finding = dict[str, Any]  # check, ok, detail


def doctor(workspace: Workspace, store: DuckDBStore) -> list[Finding]:
    """Return a row with ``check``, ``ok`` and ``detail`` for each finding. An unreadable warehouse ends the checks."""
    findings = [*_machine(store.layout), _permissions(store.layout)]
    try:
        with store.read() as connection:
            items, users, interactions = connection.execute(sa.text(_COUNTS)).one()
    except SemconvError as error:
        return [*findings, _finding("warehouse", False, str(error))]
    findings.append(_finding("warehouse", True, f"{items} items, {users} users, {interactions} interactions"))
    findings += _unfinished_runs(workspace.book)
    if is_unfinished(store.layout):
        findings.append(_finding("forget", False, "was killed; run the same `semconv forget` again to finish it"))
    return [*findings, _serving(store), *_lineage(workspace.book, store)]


def _machine(layout: ProjectLayout) -> Iterator[Finding]:
    yield _finding("python", sys.version_info >= (3, 11), sys.version.split()[0])
    yield from (_finding(name, True, version(name)) for name in _PACKAGES)
    free = shutil.disk_usage(layout.root).free
    yield _finding("disk", free > _LOW_DISK_BYTES, f"{free / 1e9:.1f} GB free")
    parts = ", ".join(f"{name} {disk.in_words(number)}" for name, number in disk.usage(layout).items())
    yield _finding("data", True, parts)
    yield _finding("settings", True, str(layout.settings_file))


def _permissions(layout: ProjectLayout) -> Finding:
    open_to_all = [path for path in _guarded(layout) if path.exists() and path.stat().st_mode & 0o002]
    names = ", ".join(str(path.relative_to(layout.root)) for path in open_to_all)
    detail = (
        f"{names} can be written by everybody; run `chmod o-w` on each of these"
        if names
        else "nothing can be written by everybody"
    )
    return _finding("permissions", not names, detail)


def _guarded(layout: ProjectLayout) -> list[Path]:
    """Return the files and folders that strangers must not write to: code, and data behind the lists."""
    data = [layout.data, layout.warehouse, layout.generations, layout.runs, layout.features]
    return [layout.settings_file, layout.feature_repo, *sorted(layout.feature_repo.glob("*.py")), *data]


def _unfinished_runs(book: RunBook) -> Iterator[Finding]:
    for run in book.store.runs(status="running"):
        folder = book.folder(run)
        is_computed = is_locked(folder)
        killed = "was killed; run the same command again to resume it"
        detail = f"computed by process {lock_holder(folder)}" if is_computed else killed
        yield _finding(f"run {run.run_id}", is_computed, detail)


def _serving(store: DuckDBStore) -> Finding:
    served = served_generation(store.layout)
    if served is not None:
        try:
            require_alone(store.layout.serving)
            require_undamaged(generation_path(store.layout, served))
        except InputError as error:
            return _finding("serving", False, f"generation {served} cannot be read: {error}")
        return _finding("serving", True, f"generation {served}")
    if publications(store):
        return _finding("serving", False, "the published file is missing; `semconv publish` writes it again")
    return _finding("serving", True, "nothing published yet; `semconv run` publishes the first lists")


def _lineage(book: RunBook, store: DuckDBStore) -> Iterator[Finding]:
    """Yield one finding: whether the warehouse has all runs from which the current lists for serving were computed."""
    lists = next((run for run in book.finished(columns.RECOMMEND) if run.settings.get("split") == "serve"), None)
    if lists is None:
        return
    try:
        plan_generation(store, lists.run_id)
    except SemconvError as error:
        yield _finding("lineage", False, str(error))
    else:
        yield _finding("lineage", True, lists.run_id)


def _finding(check: str, ok: bool, detail: str) -> Finding:
    return {"check": check, "ok": ok, "detail": detail}
