"""The data of the benchmarks: real interactions if they are on this machine, otherwise drawn ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from semconv.data.store import Sequences
from semconv.ragged import offsets_of


def data_folder(name: str) -> Path:
    """Return the folder of a data set in ``SEMCONV_TEST_DATA``, or in ``../shared/data`` beside the checkout.

    The folder need not exist.
    """
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("SEMCONV_TEST_DATA", default)) / name


def games_sequences() -> tuple[Sequences, list[str]] | None:
    """Return all interactions of the Games data, and the item id of each item_index; None without the data."""
    return stored_sequences("games")


def stored_sequences(name: str) -> tuple[Sequences, list[str]] | None:
    """Return all interactions of the data set ``games`` or ``office``, and the item id of each item_index.

    Return None without the data.
    """
    file = data_folder(name) / "interactions.parquet"
    if not file.is_file():
        return None
    rows = pl.read_parquet(file).sort("user_id", "position")
    users, lengths = np.unique(rows["user_id"].to_numpy(), return_counts=True)
    ids, items = np.unique(rows["item_id"].to_numpy(), return_inverse=True)
    return make_sequences(users.tolist(), lengths, items), ids.tolist()


def games_titles(ids: list[str]) -> list[str | None]:
    """Return the title of each item of the Games data."""
    rows = pl.read_parquet(data_folder("games") / "items.parquet", columns=["item_id", "title"])
    titles: dict[str, str | None] = dict(rows.iter_rows())
    return [titles.get(item_id) for item_id in ids]


def drawn_sequences(num_users: int, num_items: int, num_tastes: int) -> Sequences:
    """Draw users with a planted taste. Nine items in ten come from the user's taste, popular ones more often."""
    rng = np.random.default_rng(0)
    lengths = 5 + rng.poisson(4, num_users)
    taste = np.repeat(rng.integers(num_tastes, size=num_users), lengths)
    size = num_items // num_tastes
    item_of_taste = (size * rng.random(len(taste)) ** 2).astype(np.int64)  # low numbers are popular
    is_of_taste = rng.random(len(taste)) < 0.9
    items = np.where(is_of_taste, taste * size + item_of_taste, rng.integers(num_items, size=len(taste)))
    return make_sequences([f"u{user}" for user in range(num_users)], lengths, items)


def make_sequences(user_ids: list[str], lengths: NDArray[np.int64], items: NDArray[Any]) -> Sequences:
    """Make sequences without times and ratings from the items of all users, one user after the other."""
    offsets = offsets_of(lengths)
    no_ratings = np.full(len(items), np.nan, dtype=np.float32)
    return Sequences(user_ids, offsets, items.astype(np.int32), np.zeros(len(items), dtype=np.int64), no_ratings)
