"""Odd and broken vectors: every item still gets its own codes, or an error names the first bad row."""

from dataclasses import replace

import numpy as np
import pytest

from semconv.behavior.vectors import BehaviorVectors
from semconv.errors import InputError
from semconv.settings.codebook import CodebookSettings, RqvaeSettings
from semconv.tokenization.code_set import CodeSet
from semconv.tokenization.codebook import encode
from semconv.tokenization.fit import fit_code_set

SETTINGS = CodebookSettings(levels=3, codes=8)
METHODS = pytest.mark.parametrize("method", ["residual", "rqvae"])


def fit(points: np.ndarray, text: np.ndarray | None = None, method: str = "residual") -> CodeSet:
    """Fit a code set of these vectors, without text unless it is given."""
    rows = np.arange(len(points), dtype=np.int32)
    nobody = np.zeros(0, np.int32), np.zeros((0, points.shape[1]), np.float32)
    mean = np.zeros(points.shape[1], np.float32)
    vectors = BehaviorVectors(rows, points.astype(np.float32), *nobody, mean, 1.0, "learned")
    has_text = rows[:0] if text is None else rows
    texts = np.zeros((0, 5), np.float32) if text is None else text
    settings = replace(SETTINGS, method=method)
    return fit_code_set(vectors, has_text, texts, np.ones(len(points), np.int64), settings, RqvaeSettings(8, 2))


def points_of(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, 4)).astype(np.float32)


def check(code_set: CodeSet, items: int) -> None:
    """Check that all items have different codes, and that every figure is a number."""
    assert len(np.unique(code_set.codes, axis=0)) == items
    assert np.isfinite(code_set.books).all()
    assert code_set.figures["items"] == items
    assert code_set.figures["collision_share_after"] == 0
    assert np.isfinite(code_set.figures["reconstruction_error"])


@METHODS
def test_one_item_has_codes(method: str) -> None:
    code_set = fit(points_of(1), method=method)
    check(code_set, 1)
    assert code_set.is_used.sum() == 3  # one code in each level
    assert code_set.figures["moved_items"] == 0
    if method == "residual":
        assert code_set.figures["reconstruction_error"] == pytest.approx(0, abs=1e-12)


@METHODS
def test_fewer_items_than_codes(method: str) -> None:
    code_set = fit(points_of(5), method=method)
    check(code_set, 5)
    assert 1 <= code_set.is_used[0].sum() <= 5


@METHODS
def test_the_same_vector_for_all_items(method: str) -> None:
    code_set = fit(np.tile(points_of(1), (30, 1)), method=method)
    check(code_set, 30)
    assert code_set.figures["collision_share_before"] == 1
    assert code_set.figures["moved_items"] == 29
    assert not code_set.is_reassigned[0]  # equally popular: the first keeps its codes


@METHODS
def test_vectors_of_zeros(method: str) -> None:
    code_set = fit(np.zeros((20, 4)), method=method)
    check(code_set, 20)
    points = points_of(40)
    points[7] = 0
    check(fit(points, method=method), 40)


def test_copies_get_codes_next_to_each_other() -> None:
    points = points_of(40)
    points[20:] = points[:20]
    code_set = fit(points)
    check(code_set, 40)
    assert code_set.figures["collision_share_before"] == 1
    assert code_set.figures["moved_items"] == 20
    np.testing.assert_array_equal(code_set.codes[:20, :2], code_set.codes[20:, :2])  # only the last code differs


@METHODS
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(method: str, value: float) -> None:
    points = points_of(30)
    points[11, 2] = value
    with pytest.raises(InputError, match="1 of 30 behaviour vectors have NaN or infinite values"):
        fit(points, method=method)
    text = points_of(30, seed=1)
    text[3, 0] = value
    with pytest.raises(InputError, match="1 of 30 text vectors have NaN or infinite values, the first in row 3"):
        fit(points_of(30), text, method)


def test_constant_text_predicts_nothing_and_turns_alignment_off() -> None:
    code_set = fit(points_of(40), np.ones((40, 5), np.float32))
    check(code_set, 40)
    assert not code_set.figures["alignment"]["is_on"]
    assert "text explains" in code_set.figures["alignment"]["why_off"]


@METHODS
def test_no_items_are_refused(method: str) -> None:
    with pytest.raises(
        InputError, match=r"a codebook fit needs behaviour vectors \(items, width\), got an array of shape \(0, 4\)"
    ):
        fit(np.zeros((0, 4)), method=method)


def test_another_width_than_the_books_is_refused() -> None:
    code_set = fit(points_of(40))
    with pytest.raises(InputError, match=r"vectors of shape \(2, 5\) cannot be coded by codebooks of width 4"):
        encode(np.zeros((2, 5), np.float32), code_set.books, code_set.is_used, SETTINGS)
