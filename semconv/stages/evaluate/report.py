"""Collect the values for the HTML page of an evaluation: figures, curves, segments, example users and changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from semconv import columns
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.evaluation.gain import gain_in_words
from semconv.evaluation.methods import POPULARITY, report_order
from semconv.evaluation.segments import ALL, draw_users
from semconv.metrics import ndcg, target_ranks
from semconv.reports.order import segment_order
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages.evaluate.case import EvaluationCase
from semconv.stages.evaluate.comparison import Scored, compare_methods, compare_runs, last_run_before
from semconv.stages.evaluate.rankings import listed
from semconv.stages.evaluate.user_file import read_ranks

Row = Mapping[str, Any]

NUM_EXAMPLES = 5
_OWN = (columns.METHOD_MODEL, columns.METHOD_BLEND, columns.METHOD_WITHOUT_MODEL)
_SHOWN_HISTORY, _SHOWN_LIST = 10, 10


def evaluation_report(
    workspace: Workspace, run: RunRecord, rows: Sequence[Row], against: RunRecord | None = None
) -> dict[str, Any]:
    """Return all values that the HTML page of an evaluate run shows.

    Args:
        rows: the run's rows of the table ``metric``.
        against: the run to compare with; None for the newest other run on the same split.

    Returns:
        ``methods``, in the order of reports; ``own``, the methods of the recommend run; ``rival``, the best other
        method by NDCG; ``figures``, method -> 'name@k' -> row; ``margin``, own method -> 'name@k' -> paired difference
        from the rival; ``gain``, what the model adds to the blend, in words; ``curves``, method -> NDCG@1 .. K; ``segments``, name -> method -> row of NDCG; ``shown``, the
        methods in the table of segments; ``examples``, see ``_examples``; ``before``, the id of the run compared with,
        or None; ``changes``, the paired differences from it; and ``run_id``, ``cutoff``, ``list_length``,
        ``num_users`` and ``protocol``.
    """
    case = EvaluationCase.read(workspace, Lineage.of(workspace.store, run))
    figures = _figures(row for row in rows if row["segment"] == ALL)
    methods = sorted(figures, key=lambda name: (report_order(name), name))
    own = [name for name in _OWN if name in methods]
    cutoff = _cutoff(case.list_length)
    rival = max((name for name in methods if name not in own), key=lambda name: figures[name][cutoff]["value"])
    before, changes = _changes(workspace, run, against)
    return {
        "run_id": run.run_id,
        "cutoff": cutoff,
        "list_length": case.list_length,
        "num_users": len(case.users),
        "protocol": _shared_protocol(figures, methods),
        "methods": methods,
        "own": own,
        "rival": rival,
        "figures": figures,
        "margin": {name: compare_methods(workspace, Scored(run, name), Scored(run, rival)) for name in own},
        "gain": gain_in_words(rows),
        "curves": _curves(workspace, run, case.list_length),
        "segments": _segments(rows, cutoff),
        "shown": list(dict.fromkeys([*own, rival, POPULARITY])),
        "examples": _examples(workspace, case),
        "before": None if before is None else before.run_id,
        "changes": changes,
    }


def _changes(
    workspace: Workspace, run: RunRecord, against: RunRecord | None
) -> tuple[RunRecord | None, list[dict[str, Any]]]:
    """Return the run to compare with, and for each method the paired differences between both runs.

    Without ``against``, compare with the newest other run on the split. Return None if there is no such run, or if no
    user has the same held-out item in both runs.
    """
    before = against or last_run_before(workspace, run)
    if before is None:
        return None, []
    try:
        return before, compare_runs(workspace, run, before)
    except InputError:
        if against is not None:
            raise
        return None, []


def _cutoff(list_length: int) -> str:
    return f"ndcg@{max(k for k in (1, 5, 10) if k <= list_length)}"


def _figures(rows: Iterable[Row]) -> dict[str, dict[str, Row]]:
    result: dict[str, dict[str, Row]] = {}
    for row in rows:
        result.setdefault(row["method"], {})[f"{row['name']}@{row['k']}"] = row
    return result


def _shared_protocol(figures: Mapping[str, Mapping[str, Row]], methods: Sequence[str]) -> dict[str, Any]:
    """Return the protocol of the evaluation. An entry that not all methods have is named ``method: entry``."""
    first = [next(iter(figures[name].values())) for name in methods]
    shared = {name: first[0][name] for name in ("split", "train_cut", "seen")}
    protocols = [row["protocol"] for row in first]
    same = {name: value for name, value in protocols[0].items() if all(other.get(name) == value for other in protocols)}
    own = {
        f"{method}: {name}": value
        for method, protocol in zip(methods, protocols, strict=True)
        for name, value in protocol.items()
        if name not in same
    }
    return {**shared, **same, **own}


def _curves(workspace: Workspace, run: RunRecord, list_length: int) -> dict[str, list[float]]:
    """Return each method's NDCG@k for every k up to the length of the lists."""
    return {
        method: [float(ndcg(found.ranks, k).mean()) for k in range(1, list_length + 1)]
        for method, found in read_ranks(workspace, run).items()
    }


def _segments(rows: Sequence[Row], cutoff: str) -> dict[str, dict[str, Row]]:
    """Return the NDCG rows by segment and method, with both in the order of reports."""
    chosen = [row for row in rows if f"{row['name']}@{row['k']}" == cutoff]
    result: dict[str, dict[str, Row]] = {}
    for row in sorted(chosen, key=lambda row: segment_order(row["segment"])):
        result.setdefault(row["segment"], {})[row["method"]] = row
    return result


def _examples(workspace: Workspace, case: EvaluationCase) -> list[dict[str, Any]]:
    """Return a fixed sample of users, each with the latest items, the held-out item, and the lists of each method."""
    catalog, histories = workspace.store.catalog(), case.histories
    rows = draw_users(np.arange(len(case.users), dtype=np.int32), NUM_EXAMPLES, workspace.settings.evaluate.seed)[
        :NUM_EXAMPLES
    ]

    def title(item: int) -> str:
        return catalog.titles[item] or catalog.item_ids[item]

    examples: list[dict[str, Any]] = [
        {
            "user_id": case.sequences.user_ids[int(case.users[row])],
            "history": [title(item) for item in histories.of(int(case.users[row]))[-_SHOWN_HISTORY:].tolist()],
            "history_length": int(histories.lengths[case.users[row]]),
            "target": title(int(case.targets[row])),
            "lists": {},
        }
        for row in rows.tolist()
    ]
    for ranking in listed(workspace, case):
        items = ranking.items[rows]
        ranks = target_ranks(items, case.targets[rows])
        for example, mine, rank in zip(examples, items[:, :_SHOWN_LIST].tolist(), ranks.tolist(), strict=True):
            example["lists"][ranking.method] = {"rank": rank, "titles": [title(item) for item in mine if item >= 0]}
    return examples
