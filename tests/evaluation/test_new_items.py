"""Rankings for held-out items without interactions: the newest items, and items with texts like the history's."""

from __future__ import annotations

import numpy as np
import pytest

from semconv.backbone.text_vectors import TextVectors
from semconv.data.histories import Histories
from semconv.evaluation.new_items import rank_by_text, rank_newest
from tests.worlds.sequences import sequences_of


def test_the_newest_items_without_interactions_come_first_and_no_others() -> None:
    popularity, allowed = np.array([0, 3, 0, 0, 1, 0]), np.array([True, True, True, False, True, True])
    assert rank_newest(popularity, allowed, 2, None, 2).tolist() == [[5, 2], [5, 2]]
    seen = [np.array([5, 1], dtype=np.int32), np.array([0, 2, 5], dtype=np.int32)]
    assert rank_newest(popularity, allowed, 2, seen, 4).tolist() == [[2, 0, -1, -1], [-1] * 4]
    assert rank_newest(np.ones(6, dtype=np.int64), allowed, 1, None, 2).tolist() == [[-1, -1]]


def test_items_are_ranked_by_the_cosine_of_texts_to_the_history() -> None:
    rng = np.random.default_rng(0)
    index = np.array([0, 1, 2, 4, 5, 6, 7], dtype=np.int32)  # item 3 has no text
    texts = TextVectors(index, rng.standard_normal((7, 3)).astype(np.float32))
    rows = [[0, 1, 2, 5, 4], [2, 6, 1], [3, 3, 3]]
    histories, users = Histories.under(sequences_of(rows), "test"), np.array([0, 1, 2], dtype=np.int32)
    allowed = np.arange(8) != 7
    seen = [histories.seen_of(user) for user in users.tolist()]
    found = rank_by_text(texts, histories, users, allowed, seen, (8, 3, 0.5))
    centred = {item: row - texts.vectors.mean(axis=0) for item, row in zip(index.tolist(), texts.vectors, strict=True)}
    unit = {item: row / np.linalg.norm(row) for item, row in centred.items()}
    for user, row in enumerate(rows[:2]):
        history = row[:-1][-3:]  # the latest three items without the held-out one
        profile = sum(unit[item] * (recency + 1) ** -0.5 for recency, item in enumerate(history[::-1]))
        left = [item for item in unit if allowed[item] and item not in row[:-1]]
        wanted = sorted(left, key=lambda item: -float(profile @ unit[item]))
        assert [item for item in found[user].tolist() if item >= 0] == wanted
    assert (found[2] == -1).all()


@pytest.mark.parametrize("known", [[], [20]])
def test_without_texts_of_the_catalogue_all_lists_are_empty(known: list[int]) -> None:
    texts = TextVectors(np.array(known, dtype=np.int32), np.ones((len(known), 1), dtype=np.float32))
    histories = Histories.under(sequences_of([[0, 1, 2]]), "test")
    found = rank_by_text(texts, histories, np.zeros(1, np.int32), np.ones(3, dtype=bool), None, (2, 20, 1.0))
    assert found.tolist() == [[-1, -1]]
