"""The transition counter as arrays, for trying many parameters on some users: ``sql/baselines/transition.sql`` is the ranking.

T[a, b] += distance^-decay for every ordered pair of a training sequence at distance 1 to 20, the reverse pair times
symmetry; score of j = sum over the history, recency 0 for the latest item h, of (recency + 1)^-history_decay
* T[h, j] / (row sum of h + 1)^alpha (method: Reference figures). Ties go to the more popular item.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from semconv.metrics import ndcg
from semconv.store import Sequences

Parameters = Mapping[str, float]

_LONGEST_DISTANCE = 20
_CHUNK_CELLS = 1 << 22  # scores held at once, 32 MB
_DECIMALS = 9  # the order of a sum must not break ties
# What a search tries, beside the value that it starts from.
GRID: dict[str, tuple[float, ...]] = {
    "decay": (0.3, 0.6, 1.0, 1.5),
    "symmetry": (0.0, 0.3, 0.5, 0.7, 1.0),
    "history_decay": (0.25, 0.5, 0.75, 1.0, 1.5),
    "alpha": (0.25, 0.4, 0.5, 0.6, 0.75),
}
_ROUNDS = 2


@dataclass(frozen=True)
class Pairs:
    """Ordered pairs of training sequences, one row a pair of items and a distance."""

    first: NDArray[np.int32]  # (P,) item_index of the earlier item
    second: NDArray[np.int32]  # (P,)
    distance: NDArray[np.int8]  # (P,) 1 to 20
    count: NDArray[np.int32]  # (P,) how often

    @classmethod
    def of(cls, train: Sequences, num_items: int) -> Pairs:
        """Count the pairs of the training part."""
        user = np.repeat(np.arange(len(train)), train.lengths)
        parts = []
        for distance in range(1, min(_LONGEST_DISTANCE, len(user) - 1) + 1):
            same = user[distance:] == user[:-distance]
            keys = train.items[:-distance][same].astype(np.int64) * num_items + train.items[distance:][same]
            found, count = np.unique(keys, return_counts=True)
            parts.append((found, np.full(len(found), distance, np.int8), count.astype(np.int32)))
        if not parts:
            parts = [(np.zeros(0, np.int64), np.zeros(0, np.int8), np.zeros(0, np.int32))]
        keys, distances, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
        return cls((keys // num_items).astype(np.int32), (keys % num_items).astype(np.int32), distances, counts)

    def table(self, parameters: Parameters, num_items: int) -> sp.csr_matrix:
        """``(I, I)``: T with its rows divided by (row sum + 1)^alpha."""
        weight = self.count * self.distance.astype(np.float64) ** -parameters["decay"]
        shape = (num_items, num_items)
        forth = sp.csr_matrix((weight, (self.first, self.second)), shape=shape)
        both = (forth + parameters["symmetry"] * forth.T).tocsr()
        sums = np.asarray(both.sum(axis=1)).ravel()
        return sp.diags((sums + 1.0) ** -parameters["alpha"]) @ both


@dataclass(frozen=True)
class Case:
    """Users whose target the counter is to find.

    Attributes:
        histories: U arrays of item_index in order, whole.
        history_length: latest items that count.
        targets: ``(U,)`` item_index.
        is_masked: whether items of a history are left out of its list.
        allowed: ``(I,)`` items that may be listed.
        popularity: ``(I,)`` training interactions.
    """

    histories: list[NDArray[np.int32]]
    history_length: int
    targets: NDArray[np.int32]
    is_masked: bool
    allowed: NDArray[np.bool_]
    popularity: NDArray[np.int64]


def counter_ranks(pairs: Pairs, case: Case, parameters: Parameters) -> NDArray[np.int64]:
    """Rank from 1 of every target among all items that may be listed, ``(U,)``; 0 for one that may not."""
    num_items = len(case.allowed)
    table = pairs.table(parameters, num_items)
    place = np.empty(num_items, dtype=np.int64)  # by popularity, ties by item_index
    place[np.argsort(-case.popularity, kind="stable")] = np.arange(num_items)
    ranks = np.zeros(len(case.targets), dtype=np.int64)
    step = max(1, _CHUNK_CELLS // num_items)
    for start in range(0, len(ranks), step):
        histories, targets = case.histories[start : start + step], case.targets[start : start + step]
        weights = _history_weights(histories, case.history_length, parameters["history_decay"], num_items)
        scores = np.round((weights @ table).toarray(), _DECIMALS)  # (u, I)
        scores[:, ~case.allowed] = -1.0
        if case.is_masked:
            rows = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
            scores[rows, np.concatenate(histories)] = -1.0
        own = scores[np.arange(len(targets)), targets][:, None]
        before = (scores > own) | ((scores == own) & (place < place[targets][:, None]))
        ranks[start : start + step] = np.where(own[:, 0] < 0, 0, before.sum(axis=1) + 1)
    return ranks


def search_parameters(
    pairs: Pairs, case: Case, start: Parameters, advance: Callable[[int], None] = lambda _: None
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """The parameters with the best NDCG@10, changed one at a time from ``start`` over the grid, twice around.

    Args:
        advance: told after each trial how many are done.

    Returns:
        the best, and a row a trial: the parameters and ``ndcg@10``.
    """
    best, trials = dict(start), [{**start, "ndcg@10": _ndcg(pairs, case, start)}]
    for _ in range(_ROUNDS):
        before = dict(best)
        for name, values in GRID.items():
            for value in values:
                tried = {**best, name: value}
                if not any(all(trial[key] == tried[key] for key in tried) for trial in trials):
                    trials.append({**tried, "ndcg@10": _ndcg(pairs, case, tried)})
                    advance(len(trials))
            top = max(trials, key=lambda trial: trial["ndcg@10"])  # the earliest of equals
            best = {key: top[key] for key in best}
        if best == before:
            break
    return best, trials


def _ndcg(pairs: Pairs, case: Case, parameters: Parameters) -> float:
    return float(ndcg(counter_ranks(pairs, case, parameters), 10).mean())


def _history_weights(histories: list[NDArray[np.int32]], length: int, decay: float, num_items: int) -> sp.csr_matrix:
    """``(u, I)`` weights of the latest items."""
    latest = [history[-length:] for history in histories]
    lengths = np.array([len(history) for history in latest])
    ends = np.cumsum(lengths)
    recency = np.repeat(ends, lengths) - 1 - np.arange(lengths.sum())
    rows = np.repeat(np.arange(len(latest)), lengths)
    weights = (recency + 1.0) ** -decay
    return sp.csr_matrix((weights, (rows, np.concatenate(latest))), shape=(len(latest), num_items))
