"""Removal of generation files, run folders, training states and feature files that are no longer needed."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from semconv import columns
from semconv.artifacts import machine_errors
from semconv.data.store import RunRecord
from semconv.errors import LockedError
from semconv.locks import is_locked, run_lock
from semconv.runs.book import RunBook
from semconv.runs.files import training_states
from semconv.runs.lineage import with_inputs
from semconv.runs.workspace import Workspace, is_without_model
from semconv_warehouse.features.export import feature_files
from semconv_warehouse.publish.generation_files import generation_files, served_generation
from semconv_warehouse.publish.publications import Publication, publications
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.locks import features_lock, generations_lock
from semconv_warehouse.upkeep import disk

_VECTORS = ("item_embedding", "user_embedding", "codebook_vector")


@dataclass(frozen=True)
class _Plan:
    """The files, folders and records that one call of ``prune`` removes."""

    generations: tuple[int, ...]  # newest first
    runs: tuple[RunRecord, ...]
    publications: tuple[int, ...]  # numbers of publications whose feature files are removed
    states: tuple[Path, ...]  # training states of finished runs

    def sizes(self, book: RunBook, layout: ProjectLayout) -> list[dict[str, Any]]:
        """Return a row for each file or folder that will be removed: kind, name, bytes."""
        things = [("generation", str(number), [layout.generation_file(number)]) for number in self.generations]
        things += [("run", run.run_id, [book.folder(run)]) for run in self.runs]
        things += [("features", str(number), feature_files(layout, number)) for number in self.publications]
        things += [("training state", str(path.relative_to(layout.runs)), [path]) for path in self.states]
        return [{"kind": kind, "name": name, "bytes": disk.size(paths)} for kind, name, paths in things]


def prune(workspace: Workspace, store: DuckDBStore, keep: int, dry_run: bool) -> dict[str, Any]:
    """Remove files that are not needed by the served generation, the ``keep`` newest generations or the current model.

    A generation file contains all of its lists, so the runs that computed lists are kept only for the served and the
    newest generation. Training states of finished runs are removed. The warehouse keeps the rows of runs, codes and
    figures; the vectors of a run are removed with the run. A run that is being computed is kept.

    Returns:
        ``dry_run``; the removed ``generations`` and ``runs``; ``publications`` whose feature files are removed; the
        sum of ``bytes``; and ``sizes``, a row for each file or folder with kind, name and bytes.

    Raises:
        LockedError: another process is publishing or materializing.
    """
    book, layout = workspace.book, store.layout
    with generations_lock(layout, store.wait), features_lock(layout, store.wait):
        plan = _planned(book, store, keep)
        sizes = plan.sizes(book, layout)
        if not dry_run:
            _remove(book, store, plan)
    return {
        "dry_run": dry_run,
        "generations": list(plan.generations),
        "runs": [run.run_id for run in plan.runs],
        "publications": list(plan.publications),
        "bytes": sum(row["bytes"] for row in sizes),
        "sizes": sizes,
    }


def runs_by_generation(store: DuckDBStore) -> dict[int, frozenset[str]]:
    """Return the ids of the runs from which each generation was computed, for generations whose file exists."""
    files = generation_files(store.layout)
    with store.read() as connection:
        rows = connection.execute(sa.text("SELECT generation, CAST(run_ids AS VARCHAR) FROM generation")).all()
    return {
        generation: frozenset(json.loads(run_ids)["lineage"]) for generation, run_ids in rows if generation in files
    }


def _planned(book: RunBook, store: DuckDBStore, keep: int) -> _Plan:
    made_from = runs_by_generation(store)
    newest = sorted(made_from, reverse=True)
    served = served_generation(store.layout)
    kept = {generation for generation in newest if generation == served or generation in newest[:keep]}
    # A generation file contains all of its lists. Later commands read only the list runs of these two generations.
    with_lists = {generation for generation in kept if generation in (newest[0], served)}
    needed = needed_runs(book, sorted(_of(made_from, with_lists) | (_of(made_from, kept) - _lists(store))))
    unneeded = [run for run in store.runs() if run.run_id not in needed and book.folder(run).is_dir()]
    return _Plan(
        tuple(generation for generation in newest if generation not in kept),
        tuple(run for run in unneeded if not is_locked(book.folder(run))),
        tuple(_old_publications(store, kept)),
        tuple(_states_of_finished(book, needed)),
    )


def _states_of_finished(book: RunBook, needed: set[str]) -> Iterator[Path]:
    """Yield the files of training states in the folders of finished runs that are kept."""
    for run in book.store.runs():
        if run.run_id in needed and book.is_done(run):
            yield from training_states(book.folder(run))


def _old_publications(store: DuckDBStore, kept: set[int]) -> list[int]:
    """Return the publications whose feature files can be removed.

    The files of all publications from the first one of a kept generation on are kept. The files of all publications
    from the last one in the online store on are kept too, because only these files tell the online store which ids were
    removed.
    """
    from semconv_warehouse.features.online import materialized_publication

    known = publications(store)
    last: dict[int, int] = {entry.generation: entry.publication for entry in known}  # by generation
    first = min((number for generation, number in last.items() if generation in kept), default=0)
    materialized = materialized_publication(store.layout)
    if materialized is not None:
        first = min(first, materialized)
    return [entry.publication for entry in known if entry.publication < first and _has_files(store.layout, entry)]


def _has_files(layout: ProjectLayout, entry: Publication) -> bool:
    return any(path.exists() for path in feature_files(layout, entry.publication))


def _remove(book: RunBook, store: DuckDBStore, plan: _Plan) -> None:
    layout = store.layout
    # Files without a record in the warehouse are removed first: on a full disk this makes room to write the record.
    with machine_errors(layout.data):
        for publication in sorted(plan.publications):  # oldest first, so that a kill leaves no gap
            for path in feature_files(layout, publication):
                path.unlink(missing_ok=True)
    if plan.generations or plan.runs:  # the record first: after a kill the next prune finds the files that are left
        with store.write() as connection:
            _execute(
                connection,
                "UPDATE generation SET status = 'pruned' WHERE generation IN :removed",
                plan.generations,
            )
            for table in _VECTORS:
                removed = [run.run_id for run in plan.runs]
                _execute(connection, f"DELETE FROM {table} WHERE run_id IN :removed", removed)  # noqa: S608
    with machine_errors(layout.data):
        for path in plan.states:
            path.unlink(missing_ok=True)
        for generation in plan.generations:
            layout.generation_file(generation).unlink(missing_ok=True)
        for run in plan.runs:
            with contextlib.suppress(LockedError), run_lock(book.folder(run)):  # a job may have started
                shutil.rmtree(book.folder(run))


def _execute(connection: sa.Connection, statement: str, removed: Sequence[object]) -> None:
    connection.execute(sa.text(statement).bindparams(sa.bindparam("removed", list(removed), expanding=True)))


def needed_runs(book: RunBook, pending: list[str]) -> set[str]:
    """Return the ids of the ``pending`` runs and of all runs that later commands read.

    Later commands read the current runs of every stage, and killed runs that can be resumed. All inputs of these runs
    and of the ``pending`` runs are needed too, and so are the assign runs that belong to their code sets. The record of a
    pack is needed as long as all of its inputs are, because its result cannot be loaded without them.
    """
    runs = book.store.runs()
    by_id = {run.run_id: run for run in runs}
    for stage in (stage for stage in columns.STAGES if stage != columns.PACK):
        finished = book.finished(stage)
        kinds = {_kind(run): run for run in reversed(finished)}
        pending += [run.run_id for run in kinds.values()]
        begun = [run for run in runs if run.stage == stage and run.status != "finished"]
        pending += [run.run_id for run in begun if not finished or str(run.started_at) > str(finished[0].finished_at)]
    known = [run_id for run_id in pending if run_id in by_id]  # a warehouse that was created anew lacks some
    codebooks = {run.run_id for run in with_inputs(by_id, known) if run.stage == columns.CODEBOOK}
    assigned = [run.run_id for run in runs if run.stage == columns.ASSIGN and codebooks & set(run.inputs)]
    needed = {run.run_id for run in with_inputs(by_id, [*known, *assigned])}
    packs = (run for run in runs if run.stage == columns.PACK and run.status == "finished")
    return needed | {run.run_id for run in packs if needed.issuperset(run.inputs)}


def _kind(run: RunRecord) -> str:
    """Return the kind of a run: commands read the newest run of each kind of a stage."""
    if run.stage == columns.RECOMMEND:
        return str(run.settings.get("split"))
    return "without model" if run.stage == columns.BLEND and is_without_model(run) else ""


def _of(made_from: dict[int, frozenset[str]], generations: set[int]) -> set[str]:
    return {run_id for generation in generations for run_id in made_from[generation]}


def _lists(store: DuckDBStore) -> set[str]:
    """Return the ids of the runs that computed lists for serving."""
    runs = store.runs(stage=columns.RECOMMEND)
    return {run.run_id for run in runs if run.settings.get("split") == "serve"}
