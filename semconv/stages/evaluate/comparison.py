"""Compare two evaluate runs, user by user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from semconv import columns
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.evaluation.rows import compare
from semconv.metrics import ndcg, paired_bootstrap
from semconv.reports.protocol import joined_protocol
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.settings.evaluate import EvaluateSettings
from semconv.stages.agreement import filter_of, mask_of
from semconv.stages.evaluate.user_file import UserRanks, read_ranks

_POOLED_CUTOFF = 10


def compare_runs(workspace: Workspace, ours: RunRecord, theirs: RunRecord) -> list[dict[str, Any]]:
    """Compare every method of two evaluate runs by a paired bootstrap over users with the same held-out item.

    Returns:
        rows with ``method``, the values of ``evaluation.rows.compare``, and ``protocol``: the properties of both
        runs' lists. A property that differs between the runs is ``{"ours": ..., "theirs": ...}``.

    Raises:
        InputError: a run is of another stage, its ranks are missing, or no user has the same held-out item in both.
    """
    mine, other = read_ranks(workspace, ours), read_ranks(workspace, theirs)
    shared = [method for method in mine if method in other]
    length = min(_made(workspace, run)["list_length"] for run in (ours, theirs))
    protocol = joined_protocol(_made(workspace, ours), _made(workspace, theirs))
    rows = []
    for method in shared:
        left, right = _paired(mine[method], other[method])
        if len(left) == 0:
            raise InputError(
                f"{ours.run_id} and {theirs.run_id} have no user with the same held-out item; compare runs on the same split with the same users"
            )
        found = compare(left, right, length, workspace.settings.evaluate)
        rows += [{"method": method, **row, "protocol": protocol} for row in found]
    return rows


@dataclass(frozen=True)
class Scored:
    """One method of an evaluate run, as a side of a comparison."""

    run: RunRecord
    method: str


def compare_methods(workspace: Workspace, ours: Scored, theirs: Scored) -> dict[str, dict[str, Any]]:
    """Compare two methods by a paired bootstrap over users with the same held-out item; return rows by name@k.

    The result is empty if a run lacks the method, or no user has the same held-out item in both runs.
    """
    mine, other = (read_ranks(workspace, scored.run).get(scored.method) for scored in (ours, theirs))
    if mine is None or other is None:
        return {}
    left, right = _paired(mine, other)
    if len(left) == 0:
        return {}
    length = min(_made(workspace, scored.run)["list_length"] for scored in (ours, theirs))
    return {f"{row['name']}@{row['k']}": row for row in compare(left, right, length, workspace.settings.evaluate)}


def pooled_ndcg(found: Sequence[UserRanks]) -> dict[tuple[str, str], float]:
    """Return the mean NDCG@10 of each user over the runs of a method, such as runs with different seeds.

    Only users with the same held-out item in all runs are returned.

    Returns:
        a value for each pair of a user and the user's held-out item.
    """
    totals: dict[tuple[str, str], float] = {}
    for number, one in enumerate(found):
        pairs = zip(one.user_ids.to_pylist(), one.targets.to_pylist(), strict=True)
        values = dict(zip(pairs, ndcg(one.ranks, _POOLED_CUTOFF).tolist(), strict=True))
        kept = values if number == 0 else totals.keys() & values.keys()
        totals = {pair: totals.get(pair, 0.0) + value for pair, value in values.items() if pair in kept}
    return {pair: total / len(found) for pair, total in totals.items()}


def pooled_interval(
    ours: Sequence[UserRanks], theirs: Sequence[UserRanks], settings: EvaluateSettings
) -> tuple[float, float, float] | None:
    """Return a mean NDCG@10 over users and seeds, or the difference of two such means, and its confidence interval.

    The value of a user is the mean over the runs of a method, one run for each seed. The bootstrap draws users, so the
    interval tells how much the mean depends on the users, for these seeds. A difference is paired over the users that
    both methods have.

    Args:
        ours: the ranks in each run of a method.
        theirs: those of the method that is subtracted; empty for the mean of ``ours`` itself.

    Returns:
        the mean or the difference, and the ends of its interval; None if no user is in all runs.
    """
    mine = pooled_ndcg(ours)
    other = pooled_ndcg(theirs) if theirs else dict.fromkeys(mine, 0.0)
    users = [user for user in mine if user in other]
    if not users:
        return None
    left, right = (np.array([values[user] for user in users]) for values in (mine, other))
    return paired_bootstrap(left, right, **settings.bootstrap())


def last_run_before(workspace: Workspace, run: RunRecord) -> RunRecord | None:
    """Return the newest evaluate run on the same split, other than ``run``, whose files still exist."""
    split = _made(workspace, run)["split"]
    for other in workspace.book.finished(columns.EVALUATE):
        if other.run_id != run.run_id and _made(workspace, other)["split"] == split and _is_kept(workspace, other):
            return other
    return None


def _is_kept(workspace: Workspace, run: RunRecord) -> bool:
    return any(workspace.book.folder(run).glob("*.parquet"))


def _made(workspace: Workspace, run: RunRecord) -> dict[str, Any]:
    """Return the properties that tell how the lists of an evaluate run were made."""
    lineage = Lineage.of(workspace.store, run)
    made, split = lineage.recommend.settings, lineage.split
    return {
        "split": made["split"],
        "train_cut": made["train_cut"],
        "temporal_at": split["temporal_at"],
        "list_length": made["recommend"]["top_k"],
        "history_length": made["history_length"],
        "where": filter_of(made),
        "events": made.get("events", {}),
        **mask_of(made["recommend"]),
    }


def _paired(ours: UserRanks, theirs: UserRanks) -> tuple[Any, Any]:
    """Return the ranks of both methods for the users with the same held-out item in both runs, in the same order."""
    index = pc.index_in(ours.user_ids, value_set=theirs.user_ids)
    kept = index.is_valid().to_numpy(zero_copy_only=False)
    rows = pc.fill_null(index, 0).to_numpy()
    if len(theirs.ranks):
        kept = kept & pc.equal(ours.targets, theirs.targets.take(pa.array(rows))).to_numpy(zero_copy_only=False)
    return ours.ranks[kept], theirs.ranks[rows[np.flatnonzero(kept)]]
