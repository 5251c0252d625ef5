"""Keeping a project in order: what there is, what is wrong, what can go."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from semconv import columns
from semconv.artifacts import is_locked, lock_holder, machine_errors, run_lock
from semconv.errors import LockedError, SemconvError
from semconv.store import RunRecord
from semconv_warehouse.checks import CheckResult, run_checks
from semconv_warehouse.database import open_database
from semconv_warehouse.layout import package_folder
from semconv_warehouse.lineage import plan_generation
from semconv_warehouse.publish import publications, served_generation

if TYPE_CHECKING:
    from semconv_warehouse.project import Project

_LOW_DISK_BYTES = 1_000_000_000


def generations(project: Project) -> list[dict[str, Any]]:
    """Generations, newest first, with size and publications."""
    with project.store.read() as connection:
        rows = (
            connection.execute(
                sa.text("SELECT generation, status, created_at FROM generation ORDER BY generation DESC")
            )
            .mappings()
            .all()
        )
    served, known = served_generation(project.layout), publications(project.store)
    result = []
    for row in rows:
        file = project.layout.generation_file(row["generation"])
        times = [publication.published_at for publication in known if publication.generation == row["generation"]]
        result.append(
            {
                **row,
                "published_at": max(times, default=None),
                "publications": len(times),
                "bytes": file.stat().st_size if file.exists() else 0,
                "is_served": row["generation"] == served,
            }
        )
    return result


def check(project: Project) -> list[CheckResult]:
    """Integrity checks of the warehouse and of what is served."""
    folder = package_folder("sql") / "checks"
    with project.store.read() as connection:
        results = run_checks(connection, folder, "warehouse")
    if project.layout.serving.exists():
        with open_database(project.layout.serving, read_only=True) as connection:
            results += run_checks(connection, folder, "generation")
    return results


def prune(project: Project, keep: int, dry_run: bool) -> dict[str, Any]:
    """Remove what neither the served generation nor the ``keep`` newest ones nor the current model need.

    Rows of lineage and figures stay; only files go. A run that is being computed is never touched.

    Raises:
        LockedError: a publish is at work.
    """
    with run_lock(project.layout.generations):
        rows = [row for row in generations(project) if row["bytes"]]
        kept = {row["generation"] for place, row in enumerate(rows) if place < keep or row["is_served"]}
        gone = [row for row in rows if row["generation"] not in kept]
        needed = _needed_runs(project, kept)
        folders = [
            run for run in project.store.runs() if run.run_id not in needed and project.book.folder(run).is_dir()
        ]
        folders = [run for run in folders if not is_locked(project.book.folder(run))]
        freed = sum(_size(project.book.folder(run)) for run in folders) + sum(row["bytes"] for row in gone)
        if not dry_run:
            _remove(project, [row["generation"] for row in gone], folders)
    names = [row["generation"] for row in gone]
    return {"dry_run": dry_run, "generations": names, "runs": [run.run_id for run in folders], "bytes": freed}


def _remove(project: Project, gone: list[int], folders: list[RunRecord]) -> None:
    if gone:  # the record first: a file too many is found again, a file too few is missed
        statement = sa.text("UPDATE generation SET status = 'pruned' WHERE generation IN :gone")
        with project.store.write() as connection:
            connection.execute(statement.bindparams(sa.bindparam("gone", gone, expanding=True)))
    with machine_errors(project.layout.data):
        for generation in gone:
            project.layout.generation_file(generation).unlink(missing_ok=True)
        for run in folders:
            with contextlib.suppress(LockedError), run_lock(project.book.folder(run)):  # a job may have begun
                shutil.rmtree(project.book.folder(run))


def _needed_runs(project: Project, kept: set[int]) -> set[str]:
    """Runs of the kept generations, the current one of every stage, and those that a command can go on with, with
    their inputs; then what was assigned to their code sets.
    """
    runs = project.store.runs()
    by_id = {run.run_id: run for run in runs}
    pending: list[str] = []
    for stage in columns.STAGES:
        finished = project.book.finished(stage)
        kinds = {
            str(run.settings.get("split")) if stage == columns.RECOMMEND else "": run for run in reversed(finished)
        }
        pending += [run.run_id for run in kinds.values()]
        begun = [run for run in runs if run.stage == stage and run.status != "finished"]
        pending += [run.run_id for run in begun if not finished or str(run.started_at) > str(finished[0].finished_at)]
    with project.store.read() as connection:
        rows = connection.execute(sa.text("SELECT generation, CAST(run_ids AS VARCHAR) FROM generation")).all()
    pending += [
        run_id for generation, run_ids in rows if generation in kept for run_id in json.loads(run_ids)["lineage"]
    ]
    needed = _closure(by_id, pending)
    codebooks = {run_id for run_id in needed if by_id[run_id].stage == columns.CODEBOOK}
    assigned = [run.run_id for run in runs if run.stage == columns.ASSIGN and codebooks & set(run.inputs)]
    return needed | _closure(by_id, assigned)


def _closure(by_id: dict[str, RunRecord], pending: list[str]) -> set[str]:
    needed: set[str] = set()
    pending = list(pending)
    while pending:
        run_id = pending.pop()
        if run_id not in needed and run_id in by_id:
            needed.add(run_id)
            pending += by_id[run_id].inputs
    return needed


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def doctor(project: Project) -> list[dict[str, Any]]:
    """One row a finding: name, ok, detail."""
    layout = project.layout
    rows = [_finding("python", sys.version_info >= (3, 11), sys.version.split()[0])]
    for name in ("duckdb", "sqlalchemy", "polars", "pyarrow", "torch", "transformers", "peft", "feast"):
        rows.append(_finding(name, True, version(name)))
    free = shutil.disk_usage(layout.root).free
    rows.append(_finding("disk", free > _LOW_DISK_BYTES, f"{free / 1e9:.1f} GB free"))
    rows.append(_finding("settings", True, str(layout.settings_file)))
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
    served = served_generation(layout)
    rows.append(
        _finding(
            "serving",
            served is not None,
            f"generation {served}" if served is not None else "nothing published yet; `semconv run` does it",
        )
    )
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


def _finding(name: str, ok: bool, detail: str) -> dict[str, Any]:
    return {"check": name, "ok": ok, "detail": detail}
