"""Properties of the collision rules, on code spaces that are small enough to fill up."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semconv.settings.codebook import CodebookSettings
from semconv.tokenization.codebook import fit_codebooks
from semconv.tokenization.collisions import colliding, collision_figures, resolve_collisions

RULES = CodebookSettings(levels=3, codes=3, alignment=0.0)


def case(seed: int, rows: int, levels: int = 3, codes: int = 3):
    """Draw books, and codes that collide."""
    rng = np.random.default_rng(seed)
    books = rng.standard_normal((levels, codes, 4)).astype(np.float32)
    drawn = rng.integers(codes, size=(rows, levels)).astype(np.uint16)
    vectors = rng.standard_normal((rows, 4)).astype(np.float32)
    popularity = rng.integers(5, size=rows)
    return vectors, drawn, popularity, books


@given(st.integers(0, 10_000), st.integers(1, 27))
@settings(max_examples=150)
def test_codes_are_unique_when_there_is_room(seed: int, rows: int) -> None:
    vectors, codes, popularity, books = case(seed, rows)
    result = resolve_collisions(vectors, codes, popularity, books, RULES)
    assert len(np.unique(result.codes, axis=0)) == rows
    assert result.share_after == 0
    assert result.share_before == colliding(codes).mean()
    np.testing.assert_array_equal(result.is_moved, (result.codes != codes).any(axis=1))


@given(st.integers(0, 10_000), st.integers(1, 40))
@settings(max_examples=100)
def test_the_most_popular_keeps_its_codes(seed: int, rows: int) -> None:
    vectors, codes, popularity, books = case(seed, rows)
    result = resolve_collisions(vectors, codes, popularity, books, RULES)
    for group in np.unique(codes, axis=0):
        members = np.flatnonzero((codes == group).all(axis=1))
        first = min(members, key=lambda row: (-popularity[row], row))
        assert not result.is_moved[first]


@given(st.integers(0, 10_000), st.integers(28, 40))
@settings(max_examples=30)
def test_a_full_code_space_is_used_up_and_the_rest_stays(seed: int, rows: int) -> None:
    vectors, codes, popularity, books = case(seed, rows)
    result = resolve_collisions(vectors, codes, popularity, books, RULES)
    assert len(np.unique(result.codes, axis=0)) == 27
    assert result.share_after > 0


@given(st.integers(0, 10_000), st.integers(1, 13), st.integers(1, 13))
@settings(max_examples=100)
def test_published_codes_stay_and_are_never_given_again(seed: int, old: int, new: int) -> None:
    vectors, codes, popularity, books = case(seed, old + new)
    taken = resolve_collisions(vectors[:old], codes[:old], popularity[:old], books, RULES).codes
    before = taken.copy()
    result = resolve_collisions(vectors[old:], codes[old:], popularity[old:], books, RULES, taken)
    np.testing.assert_array_equal(taken, before)
    assert len(np.unique(np.concatenate([taken, result.codes]), axis=0)) == old + new
    for row in range(new):  # a row that shares codes with no other row keeps them
        if (
            not (taken == codes[old + row]).all(axis=1).any()
            and (codes[old:] == codes[old + row]).all(axis=1).sum() == 1
        ):
            assert not result.is_moved[row]


def one_level_apart() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return two levels on a line: first codes at 0, 100 and 300, last codes at 0, 1 and 5."""
    books = np.zeros((2, 3, 1), dtype=np.float32)
    books[0, :, 0] = [0, 100, 300]
    books[1, :, 0] = [0, 1, 5]
    return books, np.array([[0.2], [0.1], [0.4]], dtype=np.float32), np.zeros((3, 2), dtype=np.uint16)


def test_moves_to_the_nearest_free_code_fewest_interactions_first() -> None:
    books, vectors, codes = one_level_apart()
    rules = replace(RULES, levels=2)
    result = resolve_collisions(vectors, codes, np.array([3, 9, 1]), books, rules)
    assert result.codes.tolist() == [[0, 2], [0, 0], [0, 1]]  # the one with 1 interaction moves first and takes code 1
    assert result.is_moved.tolist() == [True, False, True]
    assert result.share_before == 1


def test_moves_in_the_level_before_when_the_last_is_full() -> None:
    books, vectors, codes = one_level_apart()
    taken = np.array([[0, 1], [0, 2]], dtype=np.uint16)
    result = resolve_collisions(vectors[:2], codes[:2], np.array([2, 1]), books, replace(RULES, levels=2), taken)
    assert result.codes.tolist() == [[0, 0], [1, 0]]  # 100 is nearer than 300, and -99.9 nearer to 0 than to 1


def test_wide_code_spaces_do_not_overflow() -> None:
    codes = np.full((3, 6), 60_000, dtype=np.uint16)
    books = np.zeros((6, 60_001, 1), dtype=np.float32)
    result = resolve_collisions(
        np.zeros((3, 1), np.float32), codes, np.zeros(3, np.int64), books, replace(RULES, levels=6)
    )
    assert len(np.unique(result.codes, axis=0)) == 3
    assert result.codes[:, :5].tolist() == codes[:, :5].tolist()


def test_colliding_share() -> None:
    codes = np.array([[1, 2], [1, 2], [2, 1], [3, 3]], dtype=np.uint16)
    assert colliding(codes).tolist() == [True, True, False, False]
    assert colliding(codes, np.array([[3, 3]], dtype=np.uint16)).tolist() == [True, True, False, True]


@pytest.mark.parametrize("num_codes", [2, 3, 6])
def test_figures_of_n_levels_are_those_of_a_code_set_of_n_levels(num_codes: int) -> None:
    """The figures equal those of really moving the items, also where they are computed without moving any."""
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((40, 5)).astype(np.float32)
    rules = CodebookSettings(levels=4, codes=num_codes, alignment=0)
    fitted = fit_codebooks(vectors, None, rules)
    popularity = rng.integers(1, 9, size=40)
    figures = collision_figures(vectors, fitted.codes, popularity, fitted.books, rules)
    assert [row["levels"] for row in figures] == [1, 2, 3, 4]
    for n, row in enumerate(figures, start=1):
        alone = fit_codebooks(vectors, None, replace(rules, levels=n))
        resolution = resolve_collisions(vectors, alone.codes, popularity, alone.books, rules)
        assert row["share_before"] == pytest.approx(resolution.share_before)
        assert row["share_after"] == pytest.approx(resolution.share_after)
        assert row["moved_share"] == pytest.approx(resolution.is_moved.mean())
    kept = collision_figures(vectors, fitted.codes, popularity, fitted.books, replace(rules, collisions="keep"))
    assert [row["share_after"] for row in kept] == [row["share_before"] for row in figures]
