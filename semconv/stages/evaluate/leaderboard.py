"""Measure methods that only a leaderboard has, and bring the ranks of several evaluate runs together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semconv import columns
from semconv.blend.tables import EventDays
from semconv.data.core import train_part
from semconv.data.splits import counted_cut
from semconv.data.store import UNKNOWN_TIME, RunRecord, Sequences
from semconv.errors import InputError
from semconv.evaluation.methods import METHODS, Method
from semconv.evaluation.recent_items import rank_by_recent
from semconv.evaluation.segments import EvaluatedUsers, has_known_transition
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages.blend.run import list_days
from semconv.stages.evaluate.case import EvaluationCase
from semconv.stages.evaluate.comparison import Scored
from semconv.stages.evaluate.rankings import Ranking
from semconv.stages.evaluate.run import score_rankings
from semconv.stages.evaluate.user_file import read_ranks

ONLY_HERE = {method.name: method for method in METHODS if method.days}  # evaluated by leaderboards alone
Lists = Callable[[NDArray[np.int32]], NDArray[np.int32]]  # users (n,) -> their lists (n, K)


def evaluate_recent(workspace: Workspace, recommend: RunRecord, method: Method) -> Outcome:
    """Score the lists of a method of ``ONLY_HERE`` on the users of a recommend run."""
    case = EvaluationCase.read(workspace, Lineage.of(workspace.store, recommend))

    def compute(folder: Path) -> dict[str, pa.Table]:
        ranking = Ranking(method.name, recent_lists(case, method)(case.users), None, {"days": method.days})
        return score_rankings(workspace, case, folder, [ranking], 1)

    request = StageRequest(
        columns.EVALUATE,
        workspace.section("evaluate"),
        (case.lineage.ranker, recommend),
        ("interaction",),
        {"methods": method.name},
    )
    return workspace.book.execute(request, compute)


def recent_lists(case: EvaluationCase, method: Method) -> Lists:
    """Return a function that lists the items whose interactions in the days before each user's moment weigh most."""
    train = counted(case)
    events = EventDays.of(train, len(case.item_ids))
    days = list_days(case.sequences, case.histories, case.split)

    def lists(users: NDArray[np.int32]) -> NDArray[np.int32]:
        seen = case.histories.masked_items(users, is_masked=case.is_masked)
        return rank_by_recent(
            events, case.popularity, days[users], case.allowed, seen, width=method.days, k=case.list_length
        )

    return lists


def counted(case: EvaluationCase) -> Sequences:
    """Return the interactions that the counts of an evaluation come from, as the baselines count them."""
    cut = counted_cut(case.sequences.cuts, case.split, case.recommend.settings["train_cut"])
    return train_part(case.sequences, cut, 1, len(case.item_ids))


def has_times(case: EvaluationCase) -> bool:
    """Return whether any counted interaction has a time."""
    return bool((counted(case).times != UNKNOWN_TIME).any())


def with_transitions(case: EvaluationCase) -> EvaluatedUsers:
    """Return the evaluated users with the segments by transition: from the latest item of the history to the target."""
    items, lengths = case.histories.latest(case.users, 1)
    latest = np.full(len(case.users), -1, dtype=np.int32)
    latest[lengths > 0] = items
    known = has_known_transition(counted(case), latest, case.targets, len(case.item_ids))
    return replace(case.evaluated(), has_known_transition=known)


def ranks_of(workspace: Workspace, case: EvaluationCase, scored: Mapping[str, Scored]) -> dict[str, NDArray[np.int64]]:
    """Return the rank of each held-out item by name of a row, ``(U,)``, in the order of the users of the case.

    Raises:
        InputError: an evaluate run has other users or other held-out items than the case.
    """
    user_ids = pa.array(case.sequences.user_ids, pa.string()).take(pa.array(case.users))
    targets = pa.array(case.item_ids, pa.string()).take(pa.array(case.targets))
    read, result = {}, {}
    for name, one in scored.items():
        if one.run.run_id not in read:
            read[one.run.run_id] = read_ranks(workspace, one.run)
        found = read[one.run.run_id][one.method]
        if not (found.user_ids.equals(user_ids) and found.targets.equals(targets)):
            raise InputError(
                f"{one.run.run_id} was measured on other users or held-out items; run the same command again with the"
                " same settings for all rows"
            )
        result[name] = found.ranks
    return result
