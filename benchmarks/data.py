"""The interactions that benchmarks run on: the real Games data where it is at hand, drawn ones elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from semconv.data.store import Sequences
from semconv.ragged import offsets_of


def data_folder(name: str) -> Path:
    """Folder of a data set: in ``SEMCONV_TEST_DATA``, or ``../shared/data`` beside the checkout; it need not exist."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("SEMCONV_TEST_DATA", default)) / name


def games_sequences() -> tuple[Sequences, list[str]] | None:
    """All interactions of Games by ``position``, and the item ids of their item_index; None where the data is absent."""
    file = data_folder("games") / "interactions.parquet"
    if not file.is_file():
        return None
    rows = pl.read_parquet(file).sort("user_id", "position")
    users, lengths = np.unique(rows["user_id"].to_numpy(), return_counts=True)
    ids, items = np.unique(rows["item_id"].to_numpy(), return_inverse=True)
    return _sequences(users.tolist(), lengths, items), ids.tolist()


def drawn_sequences(num_users: int, num_items: int, num_tastes: int) -> Sequences:
    """Users of planted tastes: nine items in ten of a history come from the user's taste, popular ones more often."""
    rng = np.random.default_rng(0)
    lengths = 5 + rng.poisson(4, num_users)
    taste = np.repeat(rng.integers(num_tastes, size=num_users), lengths)
    size = num_items // num_tastes
    place = (size * rng.random(len(taste)) ** 2).astype(np.int64)  # low places are popular
    items = np.where(rng.random(len(taste)) < 0.9, taste * size + place, rng.integers(num_items, size=len(taste)))
    return _sequences([f"u{user}" for user in range(num_users)], lengths, items)


def _sequences(user_ids: list[str], lengths: NDArray[np.int64], items: NDArray[np.int64]) -> Sequences:
    offsets = offsets_of(lengths)
    unknown = np.full(len(items), np.nan, dtype=np.float32)
    return Sequences(user_ids, offsets, items.astype(np.int32), np.zeros(len(items), dtype=np.int64), unknown)
