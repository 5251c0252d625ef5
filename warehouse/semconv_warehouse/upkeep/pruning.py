"""What can go: generation files, run folders and feature files that nothing kept needs."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from semconv import columns
from semconv.artifacts import is_locked, machine_errors, run_lock
from semconv.data.store import RunRecord
from semconv.errors import LockedError
from semconv.runs.digests import TRAINING_STATES
from semconv_warehouse.features.export import feature_files
from semconv_warehouse.publish.generation_files import generation_files, served_generation
from semconv_warehouse.publish.publications import Publication, publications
from semconv_warehouse.store.locks import features_lock, generations_lock
from semconv_warehouse.upkeep import disk

if TYPE_CHECKING:
    from semconv_warehouse.project import Project


_VECTORS = ("item_embedding", "user_embedding", "codebook_vector")


@dataclass(frozen=True)
class _Plan:
    """What one prune takes away."""

    generations: tuple[int, ...]  # newest first
    runs: tuple[RunRecord, ...]
    publications: tuple[int, ...]  # whose feature files go
    states: tuple[Path, ...]  # of trainings that have come to their end

    def sizes(self, project: Project) -> list[dict[str, Any]]:
        """A row for each thing that goes: kind, name, bytes."""
        layout = project.layout
        places = [("generation", str(number), [layout.generation_file(number)]) for number in self.generations]
        places += [("run", run.run_id, [project.book.folder(run)]) for run in self.runs]
        places += [("features", str(number), feature_files(layout, number)) for number in self.publications]
        places += [("training state", str(path.relative_to(layout.runs)), [path]) for path in self.states]
        return [{"kind": kind, "name": name, "bytes": disk.size(paths)} for kind, name, paths in places]


def prune(project: Project, keep: int, dry_run: bool) -> dict[str, Any]:
    """Remove what neither the served generation nor the ``keep`` newest ones nor the current model need.

    Of lists, that is the runs under the served generation and the newest one: earlier files hold all of theirs. The
    state that a killed training would have gone on from goes with its end. Rows of lineage, codes and figures stay, those of vectors go with their run. A run that is being computed is
    never touched.

    Returns:
        ``dry_run``, ``generations``, ``runs``, ``publications`` (whose feature files go), ``bytes`` in all, and
        ``sizes``, a row a thing: kind, name, bytes.

    Raises:
        LockedError: a publish or a materialize is at work.
    """
    layout = project.layout
    wait = project.store.wait
    with generations_lock(layout, wait), features_lock(layout, wait):
        plan = _planned(project, keep)
        sizes = plan.sizes(project)
        if not dry_run:
            _remove(project, plan)
    return {
        "dry_run": dry_run,
        "generations": list(plan.generations),
        "runs": [run.run_id for run in plan.runs],
        "publications": list(plan.publications),
        "bytes": sum(row["bytes"] for row in sizes),
        "sizes": sizes,
    }


def lineages(project: Project) -> dict[int, frozenset[str]]:
    """Generation whose file is left -> the runs that it stands on."""
    files = generation_files(project.layout)
    with project.store.read() as connection:
        rows = connection.execute(sa.text("SELECT generation, CAST(run_ids AS VARCHAR) FROM generation")).all()
    return {
        generation: frozenset(json.loads(run_ids)["lineage"]) for generation, run_ids in rows if generation in files
    }


def _planned(project: Project, keep: int) -> _Plan:
    known = lineages(project)
    newest = sorted(known, reverse=True)
    served = served_generation(project.layout)
    kept = {generation for place, generation in enumerate(newest) if place < keep or generation == served}
    # Lists of earlier generations are whole in their files; a command goes on with parts of the last ones alone.
    with_parts = {generation for generation in kept if generation in (newest[0], served)}
    runs = _of(known, with_parts) | (_of(known, kept) - _lists(project))
    needed = needed_runs(project, sorted(runs))
    unneeded = [run for run in project.store.runs() if run.run_id not in needed and project.book.folder(run).is_dir()]
    return _Plan(
        tuple(generation for generation in newest if generation not in kept),
        tuple(run for run in unneeded if not is_locked(project.book.folder(run))),
        tuple(_old_publications(project, publications(project.store), kept)),
        tuple(_states_of_done(project, needed)),
    )


def _states_of_done(project: Project, needed: set[str]) -> Iterator[Path]:
    """What trainings wrote to go on from, of finished runs that stay."""
    for run in project.store.runs():
        if run.run_id in needed and project.book.is_done(run):
            folder = project.book.folder(run)
            yield from (folder / name for name in TRAINING_STATES if (folder / name).exists())


def _old_publications(project: Project, known: Sequence[Publication], kept: set[int]) -> list[int]:
    """Publications before the first that a kept generation needs, as far as they have feature files.

    None after the last that the online store took in: an id that left in one of them is marked in its file alone.
    """
    last: dict[int, int] = {entry.generation: entry.publication for entry in known}  # by generation
    first = min((number for generation, number in last.items() if generation in kept), default=0)
    from semconv_warehouse.features.online import materialized_publication

    materialized = materialized_publication(project.layout)
    if materialized is not None:
        first = min(first, materialized)
    return [entry.publication for entry in known if entry.publication < first and _has_files(project, entry)]


def _has_files(project: Project, entry: Publication) -> bool:
    return any(path.exists() for path in feature_files(project.layout, entry.publication))


def _remove(project: Project, plan: _Plan) -> None:
    layout = project.layout
    # What no record speaks of goes first: on a full disk it makes room for the record.
    with machine_errors(layout.data):
        for publication in sorted(plan.publications):  # oldest first, so that what is left of them has no gap
            for path in feature_files(layout, publication):
                path.unlink(missing_ok=True)
    if plan.generations or plan.runs:  # the record first: a file too many is found again, a file too few is missed
        with project.store.write() as connection:
            _execute(connection, "UPDATE generation SET status = 'pruned' WHERE generation IN :gone", plan.generations)
            for table in _VECTORS:
                gone = [run.run_id for run in plan.runs]
                _execute(connection, f"DELETE FROM {table} WHERE run_id IN :gone", gone)  # noqa: S608
    with machine_errors(layout.data):
        for path in plan.states:
            path.unlink(missing_ok=True)
        for generation in plan.generations:
            layout.generation_file(generation).unlink(missing_ok=True)
        for run in plan.runs:
            with contextlib.suppress(LockedError), run_lock(project.book.folder(run)):  # a job may have begun
                shutil.rmtree(project.book.folder(run))


def _execute(connection: sa.Connection, statement: str, gone: Sequence[object]) -> None:
    connection.execute(sa.text(statement).bindparams(sa.bindparam("gone", list(gone), expanding=True)))


def needed_runs(project: Project, pending: list[str]) -> set[str]:
    """The runs given, the current one of every stage, and those that a command can go on with, with
    their inputs; then what was assigned to their code sets.
    """
    runs = project.store.runs()
    by_id = {run.run_id: run for run in runs}
    for stage in columns.STAGES:
        finished = project.book.finished(stage)
        kinds = {
            str(run.settings.get("split")) if stage == columns.RECOMMEND else "": run for run in reversed(finished)
        }
        pending += [run.run_id for run in kinds.values()]
        begun = [run for run in runs if run.stage == stage and run.status != "finished"]
        pending += [run.run_id for run in begun if not finished or str(run.started_at) > str(finished[0].finished_at)]
    needed = _closure(by_id, pending)
    codebooks = {run_id for run_id in needed if by_id[run_id].stage == columns.CODEBOOK}
    assigned = [run.run_id for run in runs if run.stage == columns.ASSIGN and codebooks & set(run.inputs)]
    return needed | _closure(by_id, assigned)


def _of(known: dict[int, frozenset[str]], generations: set[int]) -> set[str]:
    """The runs that generations stand on."""
    return {run_id for generation in generations for run_id in known[generation]}


def _lists(project: Project) -> set[str]:
    """Runs of lists for serving."""
    runs = project.store.runs(stage=columns.RECOMMEND)
    return {run.run_id for run in runs if run.settings.get("split") == "serve"}


def _closure(by_id: dict[str, RunRecord], pending: list[str]) -> set[str]:
    needed: set[str] = set()
    pending = list(pending)
    while pending:
        run_id = pending.pop()
        if run_id not in needed and run_id in by_id:
            needed.add(run_id)
            pending += by_id[run_id].inputs
    return needed
