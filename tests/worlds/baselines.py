"""The rankings of the baselines by their definitions, in plain Python."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import product

import numpy as np

from semconv.data import splits
from semconv.data.store import BaselineRequest, Sequences
from semconv.evaluation.methods import sql_method
from semconv_warehouse.store.duckdb_store import DuckDBStore

NUM_ITEMS = 30
# Two thirds of the items have a vector.
VECTORS = {item: np.random.default_rng(item).normal(size=4).tolist() for item in range(NUM_ITEMS) if item % 3}


def popularity_order(sequences: Sequences, train: np.ndarray, num_items: int) -> tuple[list[int], Counter[int]]:
    counts = Counter(int(item) for user in range(len(sequences)) for item in sequences.of(user)[: train[user]])
    return sorted(range(num_items), key=lambda item: (-counts[item], item)), counts


def transition_scores(
    sequences: Sequences, train: np.ndarray, history: list[int], p: dict[str, float]
) -> dict[int, float]:
    table: dict[tuple[int, int], float] = defaultdict(float)
    for user in range(len(sequences)):
        items = sequences.of(user)[: train[user]].tolist()
        for early, late in product(range(len(items)), repeat=2):
            if 1 <= late - early <= 20:
                table[items[early], items[late]] += (late - early) ** -p["decay"]
                table[items[late], items[early]] += p["symmetry"] * (late - early) ** -p["decay"]
    sums: dict[int, float] = defaultdict(float)
    for (item, _), weight in table.items():
        sums[item] += weight
    scores: dict[int, float] = defaultdict(float)
    for k, item in enumerate(history[::-1]):
        for (first, second), weight in table.items():
            if first == item:
                scores[second] += (k + 1) ** -p["history_decay"] * weight / (sums[item] + 1) ** p["alpha"]
    return scores


def smoothed_counts(sequences: Sequences, train: np.ndarray, p: dict[str, float]) -> dict[int, dict[int, float]]:
    counts: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for user in range(len(sequences)):
        items = sequences.of(user)[: train[user]].tolist()
        for early, late in product(range(len(items)), repeat=2):
            if 1 <= late - early <= p["reach"]:
                counts[items[early]][items[late]] += p["decay"] ** (late - early - 1)
                counts[items[late]][items[early]] += p["symmetry"] * p["decay"] ** (late - early - 1)
    return {item: {other: round(weight, 9) for other, weight in row.items()} for item, row in counts.items()}


def smoothed_scores(
    sequences: Sequences, train: np.ndarray, history: list[int], p: dict[str, float]
) -> dict[int, float]:
    counts = smoothed_counts(sequences, train, p)
    known = len({int(item) for user in range(len(sequences)) for item in sequences.of(user)[: train[user]]})
    scores: dict[int, float] = defaultdict(float)
    for k, item in enumerate(history[::-1]):
        row = counts.get(item, {})
        for other, weight in row.items():
            lift = weight * known / (sum(row.values()) + p["pseudo_count"])
            scores[other] += p["history_decay"] ** k * np.log(1 + lift / p["scale"])
    return scores


def two_hop_scores(
    sequences: Sequences, train: np.ndarray, history: list[int], p: dict[str, float]
) -> dict[int, float]:
    counts = smoothed_counts(sequences, train, p)
    known = len({int(item) for user in range(len(sequences)) for item in sequences.of(user)[: train[user]]})

    def shares(item: int) -> dict[int, float]:
        row = {other: weight for other, weight in counts.get(item, {}).items() if weight > 0}
        strongest = sorted(row, key=lambda other: (-row[other], other))[: int(p["hop_successors"])]
        return {other: row[other] / sum(row.values()) for other in strongest}

    found: dict[int, float] = defaultdict(float)
    for k, item in enumerate(history[::-1][: int(p["hop_items"])]):
        for between, first in shares(item).items():
            for other, second in shares(between).items():
                found[other] += p["history_decay"] ** k * first * second
    return {item: float(np.log(1 + known * share / p["scale"])) for item, share in found.items()}


def cosine_scores(history: list[int], decay: float) -> dict[int, float]:
    """Return the score of every item with a vector; none if no item of the history has one."""
    unit = {item: np.array(vector) / np.linalg.norm(vector) for item, vector in VECTORS.items()}
    known = [(k, item) for k, item in enumerate(history[::-1]) if item in unit]
    total = sum((k + 1) ** -decay for k, _ in known)
    return {
        item: sum((k + 1) ** -decay * float(unit[other] @ unit[item]) for k, other in known) / total
        for item in unit
        if known
    }


def expected(store: DuckDBStore, request: BaselineRequest) -> dict[int, list[tuple[int, float]]]:
    """Rank by the definition in plain Python: user -> (item, score) in rank order."""
    sequences = replace(store.sequences(), cuts=request.cuts)
    train = splits.train_lengths(sequences, request.train_cut)
    ends = splits.history_lengths(sequences, request.split)
    order, counts = popularity_order(sequences, train, NUM_ITEMS)
    parameters = sql_method(request.method).defaults() | dict(request.parameters)
    result = {}
    for user in np.flatnonzero(ends >= 0).tolist():
        before = sequences.of(user)[: ends[user]].tolist()
        allowed = [item for item in order if request.seen == "kept" or item not in before]
        if request.items is not None:
            allowed = [item for item in allowed if request.items[item]]
        if request.method == "popularity":
            scores = {item: float(counts[item]) for item in allowed}
        elif request.method == "item-cosine":
            scores = cosine_scores(before[-request.history_length :], parameters["history_decay"])
        elif request.method in COUNTERS:
            scores = COUNTERS[request.method](sequences, train, before[-request.history_length :], parameters)
        else:
            newest = 10 * max(int(length) for length in train)
            scores = dict.fromkeys(allowed, 0.0)
            for other in range(len(sequences)):
                for n, item in enumerate(sequences.of(other)[: train[other]].tolist()):
                    if item in scores:
                        scores[item] += 2 ** -((newest - 10 * (1 + n)) / parameters["half_life_days"])
        rest, digits = (-2.0, 6) if request.method == "item-cosine" else (0.0, 9)
        ranked = sorted(allowed, key=lambda item: (-round(scores.get(item, rest), digits), order.index(item)))
        result[user] = [(item, scores.get(item, rest)) for item in ranked[: request.k]]
    return result


COUNTERS = {
    "transition": transition_scores,
    "transition-smoothed": smoothed_scores,
    "transition-two-hops": two_hop_scores,
}
