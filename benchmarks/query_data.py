"""Reviews as queries: read through ``semconv ingest``, cut by user, names masked, and put into projects that train on some of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.bm25 import words
from semconv.columns import ITEM_ID, QUERY, USER_ID
from semconv.progress import Silent
from semconv.ragged import row_of
from semconv_warehouse.project import Project
from semconv_warehouse.store.reading import read_arrow

_TOKEN = re.compile(r"[\w'\N{RIGHT SINGLE QUOTATION MARK}]+")
_ITEMS = "SELECT item_id, title, description, brand, categories FROM item ORDER BY item_index"


@dataclass(frozen=True)
class Reviews:
    """Every interaction of a project with its text, in the order of users and positions."""

    items: pa.Table  # item_id, title, description, brand, categories; row i is item_index i
    user_ids: Sequence[str]
    user: NDArray[np.int64]  # (n,) index into user_ids
    place: NDArray[np.int64]  # (n,) in the user's sequence
    item: NDArray[np.int32]  # (n,) item_index
    text: Sequence[str]  # (n,) empty where there is none

    @classmethod
    def read(cls, project: Project) -> Reviews:
        """Everything that was ingested."""
        sequences = project.store.sequences(queries=True)
        with project.store.read() as connection:
            items = read_arrow(connection, _ITEMS)
        user = row_of(sequences.lengths)
        place = np.arange(len(user)) - sequences.offsets[user]
        texts = [(text or "").strip() for text in sequences.queries or []]
        return cls(items, sequences.user_ids, user, place, sequences.items, texts)

    @property
    def titles(self) -> list[str]:
        """Titles ``(I,)``, empty where there is none."""
        return [title or "" for title in self.items["title"].to_pylist()]

    def of(self, is_kept: NDArray[np.bool_]) -> Reviews:
        """Some of the reviews."""
        rows = np.flatnonzero(is_kept)
        return replace(
            self, user=self.user[rows], place=self.place[rows], item=self.item[rows], text=[self.text[r] for r in rows]
        )

    def masked(self, everywhere: bool) -> Reviews:
        """Without the words of each review's own item's title, or of the title of any item that somebody reviewed."""
        titles = self.titles
        all_names = set().union(*(_stems(titles[item]) for item in np.unique(self.item))) if everywhere else set()
        texts = [
            without_words(text, all_names if everywhere else _stems(titles[item]))
            for text, item in zip(self.text, self.item, strict=True)
        ]
        return replace(self, text=texts)


@dataclass(frozen=True)
class UserParts:
    """Disjoint users, as masks ``(n,)`` over reviews."""

    train: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    test: NDArray[np.bool_]

    @classmethod
    def draw(cls, reviews: Reviews, seed: int, valid_share: float = 0.1, test_share: float = 0.2) -> UserParts:
        """Users at random; all reviews of one are in one part."""
        order = np.random.default_rng(seed).permutation(len(reviews.user_ids))
        num_test, num_valid = (round(share * len(order)) for share in (test_share, valid_share))
        part = np.zeros(len(order), dtype=np.int64)
        part[order[:num_test]], part[order[num_test : num_test + num_valid]] = 2, 1
        return cls(*(part[reviews.user] == number for number in range(3)))


def without_words(text: str, names: set[str]) -> str:
    """The text without every word whose stem is one of ``names``; empty when nothing that is a word is left."""
    left = _TOKEN.sub(lambda found: "" if _stems(found.group()) & names else found.group(), text)
    return " ".join(left.split()) if words(left) else ""


def _stems(text: str) -> set[str]:
    """Words without a plural or possessive s."""
    return {word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words(text)}


def training_project(folder: Path, reviews: Reviews, settings: Mapping[str, Any]) -> Project:
    """A project with the whole catalogue and these reviews alone; the one that is there when the folder has one already."""
    if not (folder / "semconv.toml").is_file():
        Project.init(folder, "# reviews of some users\n")
        project = Project.open(folder, progress=Silent())
        inputs = folder / "inputs"
        inputs.mkdir()
        pq.write_table(reviews.items, inputs / "items.parquet")
        events = pa.table(
            {
                USER_ID: [reviews.user_ids[user] for user in reviews.user],
                ITEM_ID: reviews.items[ITEM_ID].take(pa.array(reviews.item)),
                "source_position": reviews.place,
                QUERY: [text or None for text in reviews.text],
            }
        )
        pq.write_table(events, inputs / "interactions.parquet")
        project.ingest_items([inputs / "items.parquet"], {})
        project.ingest_interactions([inputs / "interactions.parquet"], {})
    return Project.open(folder, overrides=settings, progress=Silent())
