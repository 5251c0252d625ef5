"""Keeping a project in order: what there is, what is wrong, what can go."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from semconv import columns
from semconv.artifacts import is_locked, lock_holder
from semconv.clock import utc_now
from semconv.errors import SemconvError
from semconv.runs.digests import damaged_files
from semconv_warehouse.erase.forgetting import was_cut_off
from semconv_warehouse.features.export import feature_files
from semconv_warehouse.publish.checks import EXAMPLES, CheckResult, run_checks
from semconv_warehouse.publish.generation_files import generation_path, is_undamaged, served_generation
from semconv_warehouse.publish.plan import plan_generation
from semconv_warehouse.publish.publications import Publication, publications
from semconv_warehouse.store.database import open_database
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.upkeep import disk
from semconv_warehouse.upkeep.pruning import lineages, needed_runs

if TYPE_CHECKING:
    from semconv_warehouse.project import Project

_LOW_DISK_BYTES = 1_000_000_000


def runs(project: Project) -> list[dict[str, Any]]:
    """Runs, newest first, with the bytes of their folders and the generations left that stand on them."""
    known = lineages(project)
    return [
        {
            **asdict(run),
            "settings": dict(run.settings),
            "inputs": list(run.inputs),
            "bytes": disk.size([project.book.folder(run)]),
            "generations": sorted(number for number, lineage in known.items() if run.run_id in lineage),
        }
        for run in project.store.runs()
    ]


def generations(project: Project) -> list[dict[str, Any]]:
    """Generations, newest first, with publications and sizes.

    ``bytes`` is the size of the file, ``run_bytes`` that of run folders which no other generation that is left
    stands on, ``feature_bytes`` that of the Parquet files of its publications.
    """
    with project.store.read() as connection:
        rows = (
            connection.execute(
                sa.text("SELECT generation, status, created_at FROM generation ORDER BY generation DESC")
            )
            .mappings()
            .all()
        )
    served, known, shared = served_generation(project.layout), publications(project.store), lineages(project)
    folders = {run.run_id: project.book.folder(run) for run in project.store.runs()}
    result = []
    for row in rows:
        number = row["generation"]
        own = [entry for entry in known if entry.generation == number]
        others = frozenset[str]().union(*(runs for other, runs in shared.items() if other != number))
        result.append(
            {
                **row,
                "published_at": max((entry.published_at for entry in own), default=None),
                "publications": len(own),
                "is_served": number == served,
                "bytes": disk.size([project.layout.generation_file(number)]),
                "run_bytes": disk.size(folders[run] for run in shared.get(number, frozenset()) - others),
                "feature_bytes": disk.size(
                    path for entry in own for path in feature_files(project.layout, entry.publication)
                ),
            }
        )
    return result


def check(project: Project, max_age: timedelta | None = None) -> list[CheckResult]:
    """Integrity checks of the warehouse, of what is served and of the files under both; with ``max_age`` also how old the
    last publication is.
    """
    with project.store.read() as connection:
        results = run_checks(connection, "warehouse")
    if project.layout.serving.exists():
        with open_database(project.layout.serving, read_only=True) as connection:
            results += run_checks(connection, "generation")
    results.append(_run_files(project))
    return results if max_age is None else [*results, publication_age(publications(project.store), max_age, utc_now())]


def _run_files(project: Project) -> CheckResult:
    """Whether every file of the runs under what is served, and of those that the next command goes on with, is whole."""
    served = lineages(project).get(served_generation(project.layout) or 0, frozenset())
    needed = needed_runs(project, list(served))
    wrong = [
        {"file": str(project.book.folder(run) / name), "way_out": project.workspace.repair(run)}
        for run in project.store.runs(status="finished")
        if run.run_id in needed
        for name in damaged_files(project.book.folder(run))
    ]
    rule = "Every file of a run that something stands on is what the run left."
    return CheckResult("run_files", "runs", rule, len(wrong), wrong[:EXAMPLES])


def publication_age(known: Sequence[Publication], max_age: timedelta, now: datetime) -> CheckResult:
    """Whether the last publication is at most ``max_age`` old; nothing published is as bad as too old."""
    rule = f"What is served was published in the last {max_age}."
    if not known:
        return CheckResult(
            "publication_age", "serving", rule, 1, [{"generation": None, "age": "nothing published yet"}]
        )
    last = known[-1]
    age = now - last.published_at
    stale = {
        "generation": last.generation,
        "published_at": last.published_at.isoformat(),
        "age": str(age).partition(".")[0],
    }
    return CheckResult("publication_age", "serving", rule, int(age > max_age), [stale] if age > max_age else [])


def doctor(project: Project) -> list[dict[str, Any]]:
    """One row a finding: name, ok, detail."""
    layout = project.layout
    rows = [_finding("python", sys.version_info >= (3, 11), sys.version.split()[0])]
    for name in ("duckdb", "sqlalchemy", "polars", "pyarrow", "torch", "transformers", "peft", "feast"):
        rows.append(_finding(name, True, version(name)))
    free = shutil.disk_usage(layout.root).free
    rows.append(_finding("disk", free > _LOW_DISK_BYTES, f"{free / 1e9:.1f} GB free"))
    parts = ", ".join(f"{name} {disk.in_words(number)}" for name, number in disk.usage(layout).items())
    rows.append(_finding("data", True, parts))
    rows.append(_finding("settings", True, str(layout.settings_file)))
    open_to_all = [path for path in _guarded(layout) if path.exists() and path.stat().st_mode & 0o002]
    names = ", ".join(str(path.relative_to(layout.root)) for path in open_to_all)
    written = f"{names} can be written by everybody; `chmod o-w` it" if names else "nothing can be written by everybody"
    rows.append(_finding("permissions", not names, written))
    try:
        with project.store.read() as connection:
            counts = connection.execute(
                sa.text(
                    "SELECT (SELECT count(*) FROM item), (SELECT count(*) FROM user_account), (SELECT count(*) FROM interaction)"
                )
            ).one()
        rows.append(_finding("warehouse", True, f"{counts[0]} items, {counts[1]} users, {counts[2]} interactions"))
    except SemconvError as error:
        return [*rows, _finding("warehouse", False, str(error))]
    for run in project.store.runs(status="running"):
        folder = project.book.folder(run)
        holder = (
            f"computed by process {lock_holder(folder)}"
            if is_locked(folder)
            else "was killed; the same command goes on from its shards"
        )
        rows.append(_finding(f"run {run.run_id}", is_locked(folder), holder))
    if was_cut_off(layout):
        rows.append(_finding("forget", False, "was killed; the same `semconv forget` finishes it"))
    served = served_generation(layout)
    if served is None and not publications(project.store):
        rows.append(_finding("serving", True, "nothing published yet; `semconv run` does it"))
    elif served is None:
        rows.append(_finding("serving", False, "what was published is gone; `semconv publish` makes it anew"))
    elif is_undamaged(generation_path(layout, served)):
        rows.append(_finding("serving", True, f"generation {served}"))
    else:
        rows.append(_finding("serving", False, f"generation {served} is damaged; `semconv publish` makes it anew"))
    lists = next(
        (run for run in project.book.finished(columns.RECOMMEND) if run.settings.get("split") == "serve"), None
    )
    if lists is not None:
        try:
            plan_generation(project.store, lists.run_id)
            rows.append(_finding("lineage", True, lists.run_id))
        except SemconvError as error:
            rows.append(_finding("lineage", False, str(error)))
    return rows


def _guarded(layout: ProjectLayout) -> list[Path]:
    """What decides about what is served, or is run as code."""
    data = [layout.data, layout.warehouse, layout.generations, layout.runs, layout.features]
    return [layout.settings_file, layout.feature_repo, *sorted(layout.feature_repo.glob("*.py")), *data]


def _finding(name: str, ok: bool, detail: str) -> dict[str, Any]:
    return {"check": name, "ok": ok, "detail": detail}
