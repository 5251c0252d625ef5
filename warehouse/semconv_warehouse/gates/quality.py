"""The gates on quality: the new model, blend or method compared with the served one, and with popularity.

They run only if the model, the blend or the method changed. Both sides are scored again on the same users
(``semconv.stages.evaluate.again``). If they cannot be compared, one line says why, and the gate refuses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import pyarrow as pa

from semconv.columns import EVALUATE, METHOD_BLEND, METHOD_MODEL, METHOD_WITHOUT_MODEL
from semconv.data.store import RunRecord
from semconv.errors import InputError, SettingsError
from semconv.evaluation.methods import POPULARITY
from semconv.metrics import ndcg
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace, is_loaded
from semconv.stages.evaluate.again import (
    Comparison,
    ListMaker,
    ScoredLists,
    compare_popularity,
    compare_served,
    drawn_users,
    named,
    require_enough,
    served_method,
)
from semconv.stages.evaluate.comparison import Scored, compare_methods
from semconv_warehouse.gates.gate import Finding, Guard
from semconv_warehouse.publish.publications import Publication, Record, read_record
from semconv_warehouse.store.duckdb_store import DuckDBStore

_DROP, _POPULARITY = "max_quality_drop", "above_popularity"
_BEST_AT = 10  # NDCG@10 chooses the method that the gate recommends
_HOW = {
    METHOD_MODEL: 'with blend.use = "never"',
    METHOD_BLEND: 'with blend.use = "always"',
    METHOD_WITHOUT_MODEL: "with blend.model = false",
    POPULARITY: "with `semconv recommend load`, until a model ranks better",
}
_Causes = (InputError, SettingsError)  # a model whose files were removed, lists without held-out items, and the like


@dataclass(frozen=True)
class ServedLists:
    """The last publication, and the recommend run that made the lists of most users in it.

    Attributes:
        publication: its number; None before the first publication.
        run: the run; None before the first publication, and if the run is not in the table of runs.
        newest: id of the run of the last publication, which may have made lists for some users only.
    """

    publication: int | None = None
    run: RunRecord | None = None
    newest: str = ""


def served_lists(store: DuckDBStore) -> ServedLists:
    """Return the last publication and the run that made the lists of most users in it.

    A generation of lists for some users has the other users' lists of the generation that was served before it.
    """
    record, runs = read_record(store), {run.run_id: run for run in store.runs()}
    if record.last is None:
        return ServedLists()
    served = ServedLists(record.last.publication, newest=_run_of(record, record.last))
    number = len(record.publications) - 1
    while number >= 0:
        run = runs.get(_run_of(record, record.publications[number]))
        if run is None or run.settings.get("users", "all") == "all":
            return replace(served, run=run)
        number = _built_at(record, number) - 1
    return served


def quality_findings(
    workspace: Workspace, guard: Guard, lists: RunRecord, before: ServedLists, evaluations: Sequence[RunRecord]
) -> list[Finding]:
    """Measure the gates on quality for lists that are going to be published.

    Args:
        lists: the recommend run whose lists are going to be published.
        before: the served lists. Before the first publication there are none, so the gates only warn.
        evaluations: evaluate runs of the model of ``lists``; the first publication uses them.
    """
    if not (guard.limit(_DROP) or guard.limit(_POPULARITY)):
        return []
    if before.publication is None:
        _warn_first(workspace, guard, lists, evaluations)
        return []
    if lists.run_id == before.newest:
        return []
    try:
        if before.run is not None and not _has_changed(workspace, lists, before.run):
            return []
        new = ListMaker.of(workspace, lists, lists)
        users = drawn_users(new)
    except _Causes as error:
        guard.say(f"gates on quality: the new lists could not be compared with others, because {error}")
        return []
    findings: list[Finding] = []
    if guard.limit(_DROP):
        try:
            findings += _fallen(workspace, guard, lists, before.run, new)
        except _Causes as error:
            guard.say(f"gate {_DROP}: the new lists could not be compared with the served ones, because {error}")
    if guard.limit(_POPULARITY):
        try:
            findings += _below_popularity(workspace, guard, new.score(users, with_popularity=True))
        except _Causes as error:
            guard.say(f"gate {_POPULARITY}: the new lists could not be compared with popularity, because {error}")
    return findings


def _run_of(record: Record, publication: Publication) -> str:
    return str(record.generations[publication.generation]["recommend"])


def _built_at(record: Record, number: int) -> int:
    """Return the index of the publication for which the generation of publication ``number`` was built."""
    generation = record.publications[number].generation
    return next(index for index, row in enumerate(record.publications) if row.generation == generation)


def _has_changed(workspace: Workspace, lists: RunRecord, served: RunRecord) -> bool:
    """Return whether two runs were made by different models, blends or methods; of external lists nobody knows it."""
    if is_loaded(lists) or is_loaded(served):
        return True
    return _made_by(workspace, lists) != _made_by(workspace, served)


def _made_by(workspace: Workspace, lists: RunRecord) -> tuple[str, ...]:
    """Return the ids of the model and of the blend that made lists, and the method."""
    lineage = Lineage.of(workspace.store, lists)
    return (*("" if run is None else run.run_id for run in (lineage.tuned, lineage.blend)), served_method(lists))


def _fallen(
    workspace: Workspace, guard: Guard, lists: RunRecord, served: RunRecord | None, new: ListMaker
) -> list[Finding]:
    """Compare the served method of the new lists with that of the served lists on the same users."""
    if served is None:
        raise InputError("the run of the served lists is not in the table of runs; `semconv check` finds out more")
    old = ListMaker.of(workspace, served, lists)
    users = drawn_users(new, old)
    theirs = old.score(users)  # first, so that the lists of the new model are the newest ones for an evaluation
    findings = measured(guard, _DROP, compare_served(workspace, new.score(users), theirs))
    way_back = _way_back(workspace, lists, served)
    return [replace(finding, advice=way_back) if finding.is_failed else finding for finding in findings]


def _way_back(workspace: Workspace, lists: RunRecord, served: RunRecord) -> str:
    """Return how to go back from a new model or blend to the one before it; empty if neither is new."""
    if is_loaded(lists) or is_loaded(served):
        return ""
    ours, theirs = (Lineage.of(workspace.store, run) for run in (lists, served))
    for name, new, old in (("model", ours.tuned, theirs.tuned), ("blend", ours.blend, theirs.blend)):
        if new is not None and old is not None and new.run_id != old.run_id:
            return f"`semconv discard {new.run_id}` goes back to the {name} before it"
    return ""


def _below_popularity(workspace: Workspace, guard: Guard, new: ScoredLists) -> list[Finding]:
    findings = measured(guard, _POPULARITY, compare_popularity(workspace, new))
    return [replace(finding, advice=advice(new.ranks)) if finding.is_failed else finding for finding in findings]


def advice(ranks: Mapping[str, Any]) -> str:
    """Return which of the scored methods to serve instead; ``ranks`` are arrays ``(U,)`` by method."""
    quality = {method: float(ndcg(of_method, _BEST_AT).mean()) for method, of_method in ranks.items()}
    best = max(quality, key=lambda method: quality[method])
    return f"serve {best} instead (NDCG@{_BEST_AT} {quality[best]:.4f}), {_HOW[best]}"


def _warn_first(workspace: Workspace, guard: Guard, lists: RunRecord, evaluations: Sequence[RunRecord]) -> None:
    """Say that the first lists are below popularity, by the figures of the evaluation of their model."""
    if not guard.limit(_POPULARITY):
        return
    run = next((run for run in evaluations if run.stage == EVALUATE), None)
    method = served_method(lists)
    try:
        if is_loaded(lists):
            raise InputError(f"the lists of {lists.run_id} are external, so no evaluation measures them")
        if run is None:
            raise InputError("the model of these lists has no evaluation; `semconv evaluate` makes one")
        rows = compare_methods(workspace, Scored(run, method), Scored(run, POPULARITY))
        findings = measured(guard, _POPULARITY, named(list(rows.values()), method, POPULARITY))
    except _Causes as error:
        guard.say(f"gate {_POPULARITY}: these first lists could not be compared with popularity, because {error}")
        return
    for finding in findings:
        if finding.is_failed:
            guard.say(f"warning: {finding.text()}; the first publication is not refused")


def measured(guard: Guard, gate: str, rows: Comparison) -> list[Finding]:
    """Run the SQL file of a gate on the rows of a comparison; InputError if too few users were compared."""
    require_enough(rows[0]["num_users"] if rows else 0)
    with duckdb.connect() as connection:
        connection.register("comparison", pa.Table.from_pylist(rows))
        return guard.measure(connection, [gate])
