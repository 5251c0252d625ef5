"""Reviews as queries: read from a project, divided by user, with names masked, and put into projects to train on."""

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

from benchmarks.peers.bm25 import words
from semconv.columns import ITEM_ID, QUERY, USER_ID
from semconv.progress import Silent
from semconv.ragged import row_of
from semconv_warehouse.project import Project
from semconv_warehouse.store.reading import read_arrow

_TOKEN = re.compile(r"[\w'\N{RIGHT SINGLE QUOTATION MARK}]+")
_ITEMS = "SELECT item_id, title, description, brand, categories FROM item ORDER BY item_index"


@dataclass(frozen=True)
class Reviews:
    """The interactions of a project with their texts, in the order of users and positions."""

    items: pa.Table  # item_id, title, description, brand, categories; row i is item_index i
    user_ids: Sequence[str]
    user: NDArray[np.int64]  # (n,) index into user_ids
    position: NDArray[np.int64]  # (n,) in the user's sequence, from 0
    item: NDArray[np.int32]  # (n,) item_index
    text: Sequence[str]  # (n,) empty for none

    @classmethod
    def read(cls, project: Project) -> Reviews:
        """Read all interactions of a project."""
        sequences = project.store.sequences(queries=True)
        with project.store.read() as connection:
            items = read_arrow(connection, _ITEMS)
        user = row_of(sequences.lengths)
        position = np.arange(len(user)) - sequences.offsets[user]
        texts = [(text or "").strip() for text in sequences.queries or []]
        return cls(items, sequences.user_ids, user, position, sequences.items, texts)

    @property
    def titles(self) -> list[str]:
        """Titles of all items ``(I,)``, empty for none."""
        return [title or "" for title in self.items["title"].to_pylist()]

    def of(self, is_kept: NDArray[np.bool_]) -> Reviews:
        """Return the reviews that are kept."""
        rows = np.flatnonzero(is_kept)
        text = [self.text[row] for row in rows]
        return replace(self, user=self.user[rows], position=self.position[rows], item=self.item[rows], text=text)

    def masked(self, everywhere: bool) -> Reviews:
        """Remove the words of the title from each text: of the review's own item, or of all reviewed items (everywhere)."""
        titles = self.titles
        all_names = set().union(*(_stems(titles[item]) for item in np.unique(self.item))) if everywhere else set()
        texts = [
            without_words(text, all_names if everywhere else _stems(titles[item]))
            for text, item in zip(self.text, self.item, strict=True)
        ]
        return replace(self, text=texts)


@dataclass(frozen=True)
class UserParts:
    """The reviews of disjoint groups of users, as masks ``(n,)``."""

    train: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    test: NDArray[np.bool_]

    @classmethod
    def draw(cls, reviews: Reviews, seed: int, valid_share: float = 0.1, test_share: float = 0.2) -> UserParts:
        """Divide the users at random. All reviews of a user are in one part."""
        order = np.random.default_rng(seed).permutation(len(reviews.user_ids))
        num_test, num_valid = (round(share * len(order)) for share in (test_share, valid_share))
        part = np.zeros(len(order), dtype=np.int64)
        part[order[:num_test]], part[order[num_test : num_test + num_valid]] = 2, 1
        return cls(*(part[reviews.user] == number for number in range(3)))


def without_words(text: str, names: set[str]) -> str:
    """Remove the words whose stems are in ``names``. The result is empty if no word is left."""
    left = _TOKEN.sub(lambda found: "" if _stems(found.group()) & names else found.group(), text)
    return " ".join(left.split()) if words(left) else ""


def _stems(text: str) -> set[str]:
    """Return the words of a text without a plural or possessive s."""
    return {word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words(text)}


def training_project(folder: Path, reviews: Reviews, settings: Mapping[str, Any]) -> Project:
    """Open a project with the whole catalogue and only these reviews. A project that the folder already has stays."""
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
                "source_position": reviews.position,
                QUERY: [text or None for text in reviews.text],
            }
        )
        pq.write_table(events, inputs / "interactions.parquet")
        project.ingest_items([inputs / "items.parquet"], {})
        project.ingest_interactions([inputs / "interactions.parquet"], {})
    return Project.open(folder, overrides=settings, progress=Silent())
