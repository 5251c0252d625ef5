"""Search for the best parameters of the transition counter on a set of users (docs/method.md, Evaluation).

Items are ranked as in ``sql/baselines/transition.sql``, but the counts are arrays from ``semconv.counter.counts``. Of
items with equal scores, the more popular item ranks higher.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from semconv.counter.counts import CounterWeights, count_transitions
from semconv.counter.scores import DECIMALS, history_matrix, popularity_order
from semconv.data.store import Sequences
from semconv.metrics import ndcg
from semconv.ragged import lengths_of, row_of

Parameters = Mapping[str, float]

_CHUNK_CELLS = 1 << 22  # scores held at once, 32 MB
# The values that a search tries for each parameter, in addition to the start value.
GRID: dict[str, tuple[float, ...]] = {
    "decay": (0.3, 0.6, 1.0, 1.5),
    "symmetry": (0.0, 0.3, 0.5, 0.7, 1.0),
    "history_decay": (0.25, 0.5, 0.75, 1.0, 1.5),
    "alpha": (0.25, 0.4, 0.5, 0.6, 0.75),
}
_ROUNDS = 2


@dataclass(frozen=True)
class Case:
    """Users with held-out items (targets) that the transition counter should rank high.

    Attributes:
        train: the sequences whose transitions are counted.
        histories: U arrays of item_index, the whole history of each user, oldest item first.
        history_length: number of latest items of a history from which scores are computed.
        targets: ``(U,)`` item_index of the held-out items.
        seen: U arrays of item_index that a user's list leaves out; None leaves out nothing.
        allowed: ``(I,)`` whether each item may be listed.
        popularity: ``(I,)`` sum of the weights of each item's training interactions.
    """

    train: Sequences
    histories: list[NDArray[np.int32]]
    history_length: int
    targets: NDArray[np.int32]
    seen: list[NDArray[np.int32]] | None
    allowed: NDArray[np.bool_]
    popularity: NDArray[np.int64] | NDArray[np.float64]


def counted(case: Case, parameters: Parameters) -> sp.csr_array:
    """Count the transitions between items in the training sequences of a case, ``(I, I)``."""
    return count_transitions(case.train, len(case.allowed), CounterWeights(**parameters), 0)


def counter_ranks(case: Case, table: sp.csr_array, history_decay: float) -> NDArray[np.int64]:
    """Return each held-out item's rank by the transition counter, ``(U,)``, from 1; 0 if it may not be listed.

    Args:
        table: the transition counts of the case.
    """
    num_items = len(case.allowed)
    ties = popularity_order(case.popularity)
    ranks = np.zeros(len(case.targets), dtype=np.int64)
    step = max(1, _CHUNK_CELLS // num_items)
    for start in range(0, len(ranks), step):
        histories, targets = case.histories[start : start + step], case.targets[start : start + step]
        latest = [history[-case.history_length :] for history in histories]
        weights = history_matrix(np.concatenate(latest), lengths_of(latest), num_items, history_decay)
        scores = np.round((weights @ table).toarray(), DECIMALS)  # (u, I)
        scores[:, ~case.allowed] = -1.0
        if case.seen is not None:
            seen = case.seen[start : start + step]
            scores[row_of(lengths_of(seen)), np.concatenate(seen)] = -1.0
        own = scores[np.arange(len(targets)), targets][:, None]
        before = (scores > own) | ((scores == own) & (ties < ties[targets][:, None]))
        ranks[start : start + step] = np.where(own[:, 0] < 0, 0, before.sum(axis=1) + 1)
    return ranks


def search_parameters(case: Case, start: Parameters) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Search for the parameters with the highest NDCG@10: try the values of one parameter at a time, in two rounds.

    Returns:
        the best parameters, and a row for each trial with its parameters and ``ndcg@10``.
    """
    tables: dict[tuple[float, ...], sp.csr_array] = {}  # only the last table; history_decay does not change the counts

    def trial_of(tried: Parameters) -> dict[str, float]:
        key = tuple(tried[name] for name in ("decay", "symmetry", "alpha"))
        if key not in tables:
            tables.clear()
            tables[key] = counted(case, tried)
        ranks = counter_ranks(case, tables[key], tried["history_decay"])
        return {**tried, "ndcg@10": float(ndcg(ranks, 10).mean())}

    best, trials = dict(start), [trial_of(start)]
    for _ in range(_ROUNDS):
        before = dict(best)
        for name, values in GRID.items():
            for value in values:
                tried = {**best, name: value}
                if not any(all(trial[key] == tried[key] for key in tried) for trial in trials):
                    trials.append(trial_of(tried))
            top = max(trials, key=lambda trial: trial["ndcg@10"])  # the earliest of equal trials
            best = {key: top[key] for key in best}
        if best == before:
            break
    return best, trials
