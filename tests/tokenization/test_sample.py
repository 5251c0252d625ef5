"""Books fitted on a sample: books and objectives come from the sample, codes and errors from all items."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from semconv.errors import SettingsError
from semconv.settings.codebook import CodebookSettings, RqvaeSettings
from semconv.tokenization.codebook import decode, encode, fit_codebooks, fit_sample
from semconv.tokenization.collisions import code_keys
from semconv.tokenization.kmeans import nearest, squared_norms, start_rows
from semconv.tokenization.rqvae import fit_rqvae
from tests.worlds.codebooks import DISTANCES, ITEMS, SMALL, Case, blobs, texts

SAMPLED = replace(SMALL, sample=120)


def test_a_sample_is_fixed_by_the_seed_and_ascending() -> None:
    rows = fit_sample(500, SAMPLED)
    assert len(np.unique(rows)) == 120
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, fit_sample(500, SAMPLED))
    assert (rows != fit_sample(500, replace(SAMPLED, seed=1))).any()
    assert fit_sample(120, SAMPLED) is None
    assert fit_sample(500, replace(SAMPLED, sample=0)) is None


@pytest.mark.parametrize(("distance", "residual"), list(product(("l2", "cosine"), ("signed", "absolute"))))
def test_books_are_those_of_the_sample_and_all_items_have_the_nearest_codes(distance: str, residual: str) -> None:
    vectors = blobs(500)
    settings = replace(SAMPLED, distance=distance, residual=residual, alignment=0.2)
    target, has_text = texts(vectors), np.arange(500) % 4 > 0
    fitted = fit_codebooks(vectors, target, settings, has_text)
    rows = fit_sample(500, settings)
    alone = fit_codebooks(vectors[rows], target[rows], settings, has_text[rows])
    for name in ("books", "is_used"):
        assert getattr(fitted, name).tobytes() == getattr(alone, name).tobytes()
    assert fitted.objectives == alone.objectives
    np.testing.assert_array_equal(fitted.codes, encode(vectors, fitted.books, fitted.is_used, settings))
    assert all(fitted.is_used[n][fitted.codes[:, n]].all() for n in range(3))


def test_errors_are_over_all_items() -> None:
    vectors = blobs(500)
    fitted = fit_codebooks(vectors, None, SAMPLED)
    for n in range(3):
        rest = vectors - decode(fitted.codes[:, : n + 1], fitted.books[: n + 1])
        assert fitted.errors[n] == pytest.approx((rest**2).sum() / (vectors**2).sum(), rel=1e-4)


@pytest.mark.parametrize(("distance", "alignment_distance"), DISTANCES)
def test_assigning_with_both_uses_the_text_of_all_items_on_the_scale_of_the_sample(
    distance: str, alignment_distance: str
) -> None:
    vectors = blobs(500)
    target, has_text = texts(vectors), np.arange(500) % 4 > 0
    settings = replace(
        SAMPLED, alignment=0.5, assign_with="both", distance=distance, alignment_distance=alignment_distance
    )
    rows = fit_sample(500, settings)
    fitted = fit_codebooks(vectors, target, settings, has_text)
    alone = fit_codebooks(vectors[rows], target[rows], settings, has_text[rows])
    np.testing.assert_array_equal(fitted.codes[rows], alone.codes)
    by_behavior = encode(vectors, fitted.books, fitted.is_used, settings)
    others = np.setdiff1d(np.arange(500), rows)
    assert (fitted.codes[others] != by_behavior[others]).any()


@pytest.mark.parametrize("assign_with", ["behavior", "both"])
def test_no_more_items_than_the_sample_changes_nothing(assign_with: str) -> None:
    vectors = blobs(300)
    settings = replace(SMALL, alignment=0.1, assign_with=assign_with)
    whole, sampled = (fit_codebooks(vectors, texts(vectors), replace(settings, sample=n)) for n in (0, 300))
    assert whole.books.tobytes() == sampled.books.tobytes()
    assert whole.codes.tobytes() == sampled.codes.tobytes()
    assert (whole.errors, whole.objectives) == (sampled.errors, sampled.objectives)


def test_a_sample_without_an_item_for_every_code_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"codebook\.sample = 7 .* codebook\.codes = 8; raise codebook\.sample, or set it to 0"
    ):
        fit_codebooks(blobs(20), None, replace(SMALL, sample=7))
    assert fit_codebooks(blobs(7), None, replace(SMALL, sample=7)).codes.shape == (
        7,
        3,
    )  # there are no more items than the sample: all are used


def test_a_code_set_of_a_sample_gives_all_items_different_codes() -> None:
    case = Case()
    code_set = case.fit(CodebookSettings(levels=3, codes=16, sample=100))
    assert len(np.unique(code_set.codes, axis=0)) == ITEMS
    assert code_set.figures["items"] == ITEMS
    assert code_set.figures["text_map"]["items"] == ITEMS
    vectors = case.vectors.item_vectors
    rest = code_set.reconstruct(code_set.codes) - vectors
    assert code_set.figures["reconstruction_error"] == pytest.approx((rest**2).sum() / (vectors**2).sum(), rel=0.2)


def test_encoder_and_decoder_learn_from_the_sample() -> None:
    vectors, target = blobs(400), texts(blobs(400))
    settings = CodebookSettings(method="rqvae", levels=2, codes=8, alignment=0.1, sample=90)
    training = RqvaeSettings(hidden=8, epochs=2, batch_size=30)
    has_text = np.arange(400) % 3 > 0
    autoencoder, fitted = fit_rqvae(vectors, target, has_text, settings, training)
    rows = fit_sample(400, settings)
    alone, _ = fit_rqvae(vectors[rows], target[rows], has_text[rows], settings, training)
    for name, array in alone.arrays.items():
        np.testing.assert_array_equal(autoencoder.arrays[name], array)
    assert fitted.codes.shape == (400, 2)
    rest = vectors - autoencoder.reconstruct(decode(fitted.codes, fitted.books))
    assert fitted.errors[-1] == pytest.approx((rest**2).sum() / (vectors**2).sum(), rel=1e-4)


def test_greedy_start_leaves_outliers_alone() -> None:
    """With ten dense groups and ten outliers, a code for a group is worth more than one for an outlier."""
    rng = np.random.default_rng(0)
    groups = np.repeat(10 * np.eye(10, 12), 100, axis=0) + 0.5 * rng.standard_normal((1000, 12))
    lone = 18 * rng.standard_normal((10, 12)) / np.sqrt(12)
    points = np.concatenate([groups, lone]).astype(np.float32)

    def left(candidates: int, seed: int) -> float:
        rows = start_rows(points, 10, np.random.default_rng(seed), candidates)
        assert len(np.unique(rows)) == 10
        code = nearest(points, points[rows], squared_norms(points[rows]))
        return float(squared_norms(points - points[rows][code]).sum())

    plain, greedy = (np.mean([left(candidates, seed) for seed in range(20)]) for candidates in (1, 6))
    assert greedy < 0.8 * plain


def test_greedy_start_draws_no_copy_twice() -> None:
    points = np.repeat(blobs(6), 50, axis=0)
    rows = start_rows(points, 10, np.random.default_rng(0), 5)
    assert len(rows) == len(np.unique(points[rows], axis=0)) == 6


def test_nearest_in_a_given_buffer() -> None:
    points, book = blobs(57), blobs(9, seed=5)
    buffer = np.full((57, 9), np.nan, dtype=np.float32)
    for part in (points, points[:5]):
        expected = nearest(part, book, squared_norms(book))
        np.testing.assert_array_equal(nearest(part, book, squared_norms(book), buffer), expected)


@pytest.mark.parametrize(("levels", "codes"), [(1, 3), (3, 4), (4, 65_535), (6, 65_535)])
def test_keys_are_in_the_order_of_the_rows_and_equal_where_they_are(levels: int, codes: int) -> None:
    rng = np.random.default_rng(levels)
    few = rng.integers(codes, size=(40, levels))
    few[0] = codes - 1  # the largest possible number
    rows = few[rng.integers(40, size=200)].astype(np.uint16)
    rows[:100, -1] = rng.integers(codes, size=100)
    _, expected = np.unique(rows, axis=0, return_inverse=True)
    _, ranks = np.unique(code_keys(rows), return_inverse=True)
    np.testing.assert_array_equal(ranks, expected.ravel())
