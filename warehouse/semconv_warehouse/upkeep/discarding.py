"""Discard a model or a blend, so that later commands use the one before it."""

from __future__ import annotations

from semconv import columns
from semconv.artifacts import is_locked
from semconv.data.store import RunRecord
from semconv.errors import InputError, LockedError
from semconv.runs.lineage import with_inputs
from semconv.runs.workspace import Workspace
from semconv_warehouse.publish.generation_files import served_generation
from semconv_warehouse.store import run_table
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.locks import generations_lock
from semconv_warehouse.upkeep.pruning import runs_by_generation

_DISCARDED = "discarded with `semconv discard`; the command that made the run takes it back"
_RANKERS = (columns.FINETUNE, columns.BLEND)


def discard(workspace: Workspace, store: DuckDBStore, run_id: str | None = None) -> dict[str, object]:
    """Mark a model or a blend as failed, with everything that was computed from it: blends, lists and evaluations.

    No file is removed. The command that made a run finds its files and takes it back, as long as settings and data are
    the same.

    Args:
        run_id: a tuning or a blend; by default the current model, or the current blend without a model.

    Returns:
        ``discarded``, the ids of all runs that were marked, newest first, and ``current``, the id of the run that ranks
        lists from now on.

    Raises:
        InputError: it is no finished tuning or blend, there is no earlier one, or the served lists were made from it.
        LockedError: another process publishes, or computes with one of the runs.
    """
    with generations_lock(store.layout, store.wait):
        chosen = workspace.lineage().ranker if run_id is None else workspace.run(run_id)
        if chosen.stage not in _RANKERS or chosen.status != "finished":
            raise InputError(f"{chosen.run_id} is not a finished tuning or blend, so it cannot be discarded")
        if not any(run.run_id != chosen.run_id for run in workspace.book.finished(chosen.stage)):
            raise InputError(f"{chosen.run_id} is the only {chosen.stage} of the project, so there is no earlier one")
        served = served_generation(store.layout)
        if served is not None and chosen.run_id in runs_by_generation(store).get(served, ()):
            raise InputError(
                f"generation {served}, which is served, was made from {chosen.run_id}; `semconv publish --rollback` serves the"
                " generation before it"
            )
        marked = _made_from(store, chosen)
        for run in marked:
            if is_locked(workspace.book.folder(run)):
                raise LockedError(f"another process computes {run.run_id}; try again when it has ended")
        with store.write() as connection:
            for run in reversed(marked):
                run_table.set_status(connection, run.run_id, "failed", _DISCARDED)
    return {"discarded": [run.run_id for run in marked], "current": workspace.lineage().ranker.run_id}


def _made_from(store: DuckDBStore, chosen: RunRecord) -> list[RunRecord]:
    """Return the run and all finished runs that were computed from it, newest first."""
    runs = store.runs()
    known = {run.run_id: run for run in runs}
    return [
        run
        for run in runs
        if run.status == "finished" and any(found.run_id == chosen.run_id for found in with_inputs(known, [run.run_id]))
    ]
