"""The checks of ``semconv doctor``: installation, disk, permissions, warehouse, runs and published lists."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import version

import sqlalchemy as sa

from semconv import columns
from semconv.errors import InputError, SemconvError
from semconv.locks import is_locked, lock_holder
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
from semconv_warehouse.upkeep.permissions import Finding, finding, permissions

_LOW_DISK_BYTES = 1_000_000_000
_PACKAGES = ("duckdb", "sqlalchemy", "polars", "pyarrow", "torch", "transformers", "peft", "feast")
_COUNTS = """
SELECT (SELECT count(*) FROM item), (SELECT count(*) FROM user_account), (SELECT count(*) FROM interaction)
"""


def doctor(workspace: Workspace, store: DuckDBStore) -> list[Finding]:
    """Return a row for each finding: ``check``, ``ok``, ``detail``. An unreadable warehouse ends the checks."""
    findings = [*_machine(store.layout), permissions(store.layout)]
    try:
        with store.read() as connection:
            items, users, interactions = connection.execute(sa.text(_COUNTS)).one()
    except SemconvError as error:
        return [*findings, finding("warehouse", False, str(error))]
    findings.append(finding("warehouse", True, f"{items} items, {users} users, {interactions} interactions"))
    findings += _unfinished_runs(workspace.book)
    if is_unfinished(store.layout):
        findings.append(finding("forget", False, "was killed; run the same `semconv forget` again to finish it"))
    return [*findings, _serving(store), *_lineage(workspace.book, store)]


def _machine(layout: ProjectLayout) -> Iterator[Finding]:
    yield finding("python", sys.version_info >= (3, 11), sys.version.split()[0])
    yield from (finding(name, True, version(name)) for name in _PACKAGES)
    free = shutil.disk_usage(layout.root).free
    yield finding("disk", free > _LOW_DISK_BYTES, f"{free / 1e9:.1f} GB free")
    parts = ", ".join(f"{name} {disk.in_words(number)}" for name, number in disk.usage(layout).items())
    yield finding("data", True, parts)
    yield finding("settings", True, str(layout.settings_file))


def _unfinished_runs(book: RunBook) -> Iterator[Finding]:
    for run in book.store.runs(status="running"):
        folder = book.folder(run)
        is_computed = is_locked(folder)
        killed = "was killed; run the same command again to resume it"
        detail = f"computed by process {lock_holder(folder)}" if is_computed else killed
        yield finding(f"run {run.run_id}", is_computed, detail)


def _serving(store: DuckDBStore) -> Finding:
    served = served_generation(store.layout)
    if served is not None:
        try:
            require_alone(store.layout.serving)
            require_undamaged(generation_path(store.layout, served))
        except InputError as error:
            return finding("serving", False, f"generation {served} cannot be read: {error}")
        return finding("serving", True, f"generation {served}")
    if publications(store):
        return finding("serving", False, "the published file is missing; `semconv publish` writes it again")
    return finding("serving", True, "nothing published yet; `semconv run` publishes the first lists")


def _lineage(book: RunBook, store: DuckDBStore) -> Iterator[Finding]:
    """Yield one finding: whether the warehouse has all runs from which the current lists for serving were computed."""
    lists = next((run for run in book.finished(columns.RECOMMEND) if run.settings.get("split") == "serve"), None)
    if lists is None:
        return
    try:
        plan_generation(store, lists.run_id)
    except SemconvError as error:
        yield finding("lineage", False, str(error))
    else:
        yield finding("lineage", True, lists.run_id)
