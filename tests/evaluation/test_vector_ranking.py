"""Ranking by behaviour vectors equals sorting all scores."""

import numpy as np
import pytest

from semconv.behavior.vectors import BehaviorVectors
from semconv.evaluation.vector_ranking import rank_by_vectors


def case(seed: int = 0, is_coarse: bool = False) -> BehaviorVectors:
    rng = np.random.default_rng(seed)
    make = (lambda *shape: rng.integers(-1, 2, shape)) if is_coarse else (lambda *shape: rng.standard_normal(shape))
    return BehaviorVectors(
        item_index=np.sort(rng.permutation(40)[:30]).astype(np.int32),
        item_vectors=make(30, 4).astype(np.float32),
        user_index=np.arange(1, 20, 2, dtype=np.int32),
        user_vectors=make(10, 4).astype(np.float32),
        mean=np.zeros(4, np.float32),
        scale=1.0,
        source="learned",
    )


@pytest.mark.parametrize("is_coarse", [False, True])
@pytest.mark.parametrize("chunk_cells", [1, 70, 1 << 20])
def test_equals_sorting_everything(is_coarse: bool, chunk_cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semconv.evaluation.vector_ranking._CHUNK_CELLS", chunk_cells)
    vectors = case(is_coarse=is_coarse)
    rng = np.random.default_rng(1)
    allowed = rng.random(40) < 0.8
    users = np.array([19, 2, 1, 7, 30], dtype=np.int32)  # 2 and 30 have no vector
    seen = [rng.integers(0, 40, size=9).astype(np.int32) for _ in users]
    found = rank_by_vectors(vectors, users, allowed, seen, 25)
    for user, without, mine in zip(users, seen, found, strict=True):
        if user not in vectors.user_index:
            assert (mine == -1).all()
            continue
        scores = vectors.item_vectors @ vectors.user_vectors[list(vectors.user_index).index(user)]
        order = [int(vectors.item_index[row]) for row in np.argsort(-scores, kind="stable")]
        expected = [item for item in order if allowed[item] and item not in without][:25]
        assert mine.tolist() == expected + [-1] * (25 - len(expected))


def test_seen_items_stay_if_kept_and_no_allowed_items_give_empty_lists() -> None:
    vectors = case()
    users = vectors.user_index[:2]
    everything = np.ones(40, dtype=bool)
    kept = rank_by_vectors(vectors, users, everything, None, 1)
    without = rank_by_vectors(vectors, users, everything, [kept[0], kept[1]], 1)
    assert (kept != without).all()
    assert (rank_by_vectors(vectors, users, ~everything, None, 3) == -1).all()
