"""Discard a model or a blend, so that later commands use the one before it."""

from __future__ import annotations

from semconv import columns
from semconv.data.store import RunRecord
from semconv.errors import InputError, LockedError
from semconv.locks import is_locked
from semconv.runs.lineage import Lineage, with_inputs
from semconv.runs.workspace import Workspace
from semconv_warehouse.publish.generation_files import served_generation
from semconv_warehouse.store import run_table
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.locks import generations_lock
from semconv_warehouse.upkeep.pruning import runs_by_generation

_DISCARDED = "discarded with `semconv discard`; the command that made the run takes it back"
_NAMES = {columns.FINETUNE: "model", columns.BLEND: "blend"}  # of the runs that can be discarded


def discard(workspace: Workspace, store: DuckDBStore, run_id: str | None = None) -> dict[str, object]:
    """Mark a model or a blend as failed, with everything that was computed from it: blends, lists and evaluations.

    No file is removed. The command that made a run finds its files and takes it back, as long as settings and data are
    the same. Runs without files between the run and the one before it are marked too, because no command can use them.

    Args:
        run_id: a tuning or a blend; by default the current model, or the current blend without a model.

    Returns:
        ``discarded``, the ids of all runs that were marked, newest first, and ``current``, the id of the model or blend
        that is current from now on.

    Raises:
        InputError: it is no finished tuning or blend, there is none before it, or the served lists were made from it.
        LockedError: another process publishes, or computes from the run.
    """
    with generations_lock(store.layout, store.wait):
        chosen = workspace.lineage().ranker if run_id is None else workspace.run(run_id)
        if chosen.stage not in _NAMES or chosen.status != "finished":
            raise InputError(f"{chosen.run_id} is no finished tuning and no finished blend, so it cannot be discarded")
        made_from = _made_from(store, chosen)
        for run in made_from:
            if is_locked(workspace.book.folder(run)):
                raise LockedError(f"another process computes {run.run_id}; try again when it has ended")
        marked = {run.run_id for run in made_from if run.status == "finished"}
        _require_not_served(store, chosen, marked)
        others = [run for run in _alike(workspace, chosen) if run.run_id not in marked]
        usable = [run for run in others if workspace.book.is_done(run)]
        if not usable:
            raise InputError(f"there is no other {_NAMES[chosen.stage]} than {chosen.run_id} that could take its place")
        marked |= {run.run_id for run in others[: others.index(usable[0])]}
        runs = [run.run_id for run in store.runs() if run.run_id in marked]
        with store.write() as connection:
            for name in reversed(runs):
                run_table.set_status(connection, name, "failed", _DISCARDED)
    return {"discarded": runs, "current": usable[0].run_id}


def _made_from(store: DuckDBStore, chosen: RunRecord) -> list[RunRecord]:
    """Return the run and all runs that were, or are, computed from it."""
    runs = store.runs()
    known = {run.run_id: run for run in runs}
    return [run for run in runs if any(found.run_id == chosen.run_id for found in with_inputs(known, [run.run_id]))]


def _alike(workspace: Workspace, chosen: RunRecord) -> list[RunRecord]:
    """Return the finished runs that can take the place of a run, latest first: any model, or blends of the same model."""
    finished = workspace.book.finished(chosen.stage)
    if chosen.stage == columns.FINETUNE:
        return finished
    models = {run.run_id: Lineage.of(workspace.store, run).tuned for run in (chosen, *finished)}
    return [run for run in finished if models[run.run_id] == models[chosen.run_id]]


def _require_not_served(store: DuckDBStore, chosen: RunRecord, marked: set[str]) -> None:
    served = served_generation(store.layout)
    if served is not None and not marked.isdisjoint(runs_by_generation(store).get(served, ())):
        raise InputError(
            f"generation {served}, which is served, was made from {chosen.run_id}; `semconv publish --rollback` serves the"
            " generation before it"
        )
