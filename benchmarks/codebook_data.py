"""Vectors that the benchmarks of the codes run on: real ones where the data is at hand, drawn ones elsewhere."""

from __future__ import annotations

import os

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from benchmarks.data import data_folder, games_sequences
from semconv.behavior.svd import fit_svd
from semconv.behavior.vectors import BehaviorVectors
from semconv.data.splits import train_part
from semconv.settings.behavior import BehaviorSettings

WIDTH = 32
CORE = 5  # of Games as the paper has it


def threads() -> int:
    """Threads that numpy's BLAS takes; torch is set to as many."""
    count = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    torch.set_num_threads(count)
    return count


def games_behavior() -> tuple[BehaviorVectors, NDArray[np.int64], list[str]] | None:
    """Vectors of the train cut of Games, its interactions by item and the item ids; None where the data is absent."""
    games = games_sequences()
    if games is None:
        return None
    sequences, ids = games
    train = train_part(sequences, "[:-2]", CORE, len(ids))
    popularity = np.bincount(train.items, minlength=len(ids)).astype(np.int64)
    return fit_svd(train, len(ids), BehaviorSettings(dimensions=WIDTH)), popularity, ids


def games_titles(ids: list[str]) -> list[str | None]:
    """Title of each item of Games."""
    rows = pl.read_parquet(data_folder("games") / "items.parquet", columns=["item_id", "title"])
    titles: dict[str, str | None] = dict(rows.iter_rows())
    return [titles.get(item_id) for item_id in ids]


def vectors_of(num_items: int) -> NDArray[np.float32]:
    """Clusters of unequal size and spread, centred, mean norm 1: the shape of behaviour vectors."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((500, WIDTH))
    weights = rng.pareto(1.2, 500) + 0.1
    chosen = rng.choice(500, num_items, p=weights / weights.sum())
    points = centres[chosen] + rng.standard_normal((num_items, WIDTH)) * rng.gamma(2.0, 0.2, (num_items, 1))
    points -= points.mean(axis=0)
    scaled: NDArray[np.float32] = (points / np.linalg.norm(points, axis=1).mean()).astype(np.float32)
    return scaled


def texts_of(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Targets that know half of the vectors' variance, as text may."""
    noise = np.random.default_rng(1).standard_normal(points.shape) * points.std(axis=0)
    texts: NDArray[np.float32] = (points / 2 + noise / 2).astype(np.float32)
    return texts


def grown(num_items: int) -> NDArray[np.float32]:
    """``vectors_of`` in float32 alone and block by block, so that ten million fit beside what is measured."""
    rng = np.random.default_rng(3)
    base = vectors_of(100_000)
    points = np.empty((num_items, WIDTH), dtype=np.float32)
    for start in range(0, num_items, len(base)):
        block = points[start : start + len(base)]
        block[:] = base[: len(block)]
        block += 0.05 * rng.standard_normal(block.shape, dtype=np.float32)
    return points
