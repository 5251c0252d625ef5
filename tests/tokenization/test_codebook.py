"""Codebooks: properties of both k-means steps, the case lambda = 0, and difficult data."""

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from semconv.errors import InputError
from semconv.settings.codebook import CodebookSettings
from semconv.tokenization.codebook import decode, encode, fit_codebooks
from semconv.tokenization.collisions import resolve_collisions
from semconv.tokenization.kmeans import nearest, squared_norms, start_rows, sums_by_code
from semconv.tokenization.level import Level
from tests.worlds.codebooks import DISTANCES, SMALL, blobs, texts


def plain_residual_kmeans(vectors: np.ndarray, settings: CodebookSettings) -> tuple[np.ndarray, np.ndarray]:
    """Run Lloyd's algorithm as in a textbook, row by row; only the start is drawn by the tested code."""
    rng = np.random.default_rng(settings.seed)
    residual, books, codes = vectors.astype(np.float64), [], []
    for _ in range(settings.levels):
        book = residual[start_rows(residual.astype(np.float32), settings.codes, rng)].copy()
        for _ in range(settings.iterations):
            code = np.array([np.argmin([((row - centre) ** 2).sum() for centre in book]) for row in residual])
            for c in range(settings.codes):
                assert (code == c).any()  # the data is chosen so that no code loses all its rows
                book[c] = residual[code == c].mean(axis=0)
        code = np.array([np.argmin([((row - centre) ** 2).sum() for centre in book]) for row in residual])
        residual = residual - book[code]
        books.append(book)
        codes.append(code)
    return np.stack(books), np.stack(codes, axis=1)


def test_lambda_zero_is_plain_residual_kmeans() -> None:
    vectors = blobs(150)
    fitted = fit_codebooks(vectors, None, SMALL)
    books, codes = plain_residual_kmeans(vectors, SMALL)
    np.testing.assert_array_equal(fitted.codes, codes)
    np.testing.assert_allclose(fitted.books, books, atol=1e-5)


def test_lambda_zero_ignores_the_text_to_the_last_bit() -> None:
    vectors = blobs(300)
    without, with_text = fit_codebooks(vectors, None, SMALL), fit_codebooks(vectors, texts(vectors), SMALL)
    assert without.books.tobytes() == with_text.books.tobytes()
    assert without.codes.tobytes() == with_text.codes.tobytes()


@pytest.mark.parametrize("distance", ["l2", "cosine"])
def test_lambda_zero_never_rises(distance: str) -> None:
    fitted = fit_codebooks(blobs(500), None, replace(SMALL, distance=distance, iterations=30))
    for trace in fitted.objectives:
        assert all(after <= before + 1e-6 for before, after in pairwise(trace))


@pytest.mark.parametrize(("distance", "alignment_distance"), DISTANCES)
@pytest.mark.parametrize("weight", [0.1, 1.0])
def test_steps_of_a_level(distance: str, alignment_distance: str, weight: float) -> None:
    """The centroid step never raises the objective, the assignment step never its behaviour term."""
    vectors = blobs(400)
    settings = replace(SMALL, alignment=weight, distance=distance, alignment_distance=alignment_distance)
    has_text = np.arange(400) % 5 > 0
    level = Level(vectors, texts(vectors), has_text, settings)
    book, active = vectors[:8].copy(), np.ones(8, dtype=bool)
    codes = level.assign(book, active)
    for _ in range(8):
        sums = level.sums(codes, 8)
        before = sum(level.objective(sums, book))
        book = level.centroids(sums, book)
        assert sum(level.objective(sums, book)) <= before + 1e-3
        behavior = level.objective(sums, book)[0]
        codes = level.assign(book, active)
        assert level.objective(level.sums(codes, 8), book)[0] <= behavior + 1e-3


@pytest.mark.parametrize(("distance", "alignment_distance"), DISTANCES)
def test_assigning_with_both_always_descends(distance: str, alignment_distance: str) -> None:
    vectors = blobs(400)
    settings = replace(
        SMALL,
        alignment=0.5,
        distance=distance,
        alignment_distance=alignment_distance,
        assign_with="both",
        iterations=25,
    )
    fitted = fit_codebooks(vectors, texts(vectors), settings, np.arange(400) % 7 > 0)
    for trace in fitted.objectives:
        assert all(after <= before + 1e-5 for before, after in pairwise(trace))


@pytest.mark.parametrize(("distance", "alignment_distance"), DISTANCES)
def test_objective_is_the_sum_over_the_rows(distance: str, alignment_distance: str) -> None:
    """The objective from sums over codes equals its definition, row by row."""
    vectors, target = blobs(60), texts(blobs(60))
    settings = replace(SMALL, alignment=0.3, distance=distance, alignment_distance=alignment_distance)
    level = Level(vectors, target, None, settings)
    book = vectors[:8] * 1.3
    codes = level.assign(book, np.ones(8, dtype=bool))
    target = target * np.sqrt((vectors**2).sum() / (target**2).sum())

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return 1 - float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    behavior, alignment = 0.0, 0.0
    for row, text, code in zip(vectors, target, codes, strict=True):
        behavior += cosine(row, book[code]) if distance == "cosine" else float(((row - book[code]) ** 2).sum())
        if distance == "cosine":
            alignment += 0.3 * (2 if alignment_distance == "l2" else 1) * cosine(text, book[code])
        elif alignment_distance == "cosine":
            alignment += 0.3 * float((vectors**2).sum() / 60) * cosine(text, book[code])
        else:
            alignment += 0.3 * float(((text - book[code]) ** 2).sum())
    assert level.objective(level.sums(codes, 8), book) == pytest.approx((behavior, alignment), rel=1e-4)


def test_centroids_are_the_closed_form() -> None:
    vectors = blobs(50)
    target, has_text = texts(vectors), np.arange(50) % 3 > 0
    level = Level(vectors, target, has_text, replace(SMALL, alignment=0.25))
    codes = np.arange(50) % 8
    book = level.centroids(level.sums(codes, 8), np.zeros((8, 6), dtype=np.float32))
    scaled = target * np.sqrt((vectors**2).sum(axis=1).mean() / (target[has_text] ** 2).sum(axis=1).mean())
    for c in range(8):
        mine, with_text = codes == c, (codes == c) & has_text
        expected = (vectors[mine].sum(axis=0) + 0.25 * scaled[with_text].sum(axis=0)) / (
            mine.sum() + 0.25 * with_text.sum()
        )
        np.testing.assert_allclose(book[c], expected, atol=1e-6)


def test_the_lowest_iterate_is_kept() -> None:
    vectors = blobs(400)
    settings = replace(SMALL, levels=1, alignment=2.0, iterations=20)
    target = texts(vectors)
    fitted = fit_codebooks(vectors, target, settings)
    level = Level(vectors, target, None, settings)
    kept = sum(level.objective(level.sums(fitted.codes[:, 0].astype(np.int64), 8), fitted.books[0])) / 400
    assert kept == pytest.approx(min(fitted.objectives[0]), rel=1e-5)


def test_alignment_pulls_codes_towards_text_and_costs_reconstruction() -> None:
    vectors = blobs(600)
    target = texts(vectors)
    plain, pulled = (fit_codebooks(vectors, target, replace(SMALL, alignment=weight)) for weight in (0.0, 1.0))
    distance = [((fit.books[0][fit.codes[:, 0]] - target) ** 2).sum() for fit in (plain, pulled)]
    assert distance[1] < distance[0]
    assert plain.errors[-1] < pulled.errors[-1]


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_vector_is_the_sum_of_its_codes_and_the_rest(weight: float) -> None:
    vectors = blobs(300)
    fitted = fit_codebooks(vectors, texts(vectors), replace(SMALL, alignment=weight))
    rest = vectors - decode(fitted.codes, fitted.books)
    assert (rest**2).sum() / (vectors**2).sum() == pytest.approx(fitted.errors[-1], rel=1e-4)
    assert fitted.errors[0] > fitted.errors[1] > fitted.errors[2]


def test_absolute_residuals_are_the_literal_equation() -> None:
    vectors = blobs(100)
    fitted = fit_codebooks(vectors, None, replace(SMALL, levels=2, residual="absolute"))
    rest = np.abs(vectors - fitted.books[0][fitted.codes[:, 0]])
    rest = np.abs(rest - fitted.books[1][fitted.codes[:, 1]])
    assert (rest**2).sum() / (vectors**2).sum() == pytest.approx(fitted.errors[1], rel=1e-4)
    assert (fitted.books[1][fitted.is_used[1]] >= 0).all()  # all residuals fall in one orthant


@pytest.mark.parametrize("distance", ["l2", "cosine"])
@pytest.mark.parametrize("residual", ["signed", "absolute"])
def test_encoding_the_fitted_vectors_gives_their_codes(distance: str, residual: str) -> None:
    vectors = blobs(300)
    settings = replace(SMALL, distance=distance, residual=residual)
    fitted = fit_codebooks(vectors, None, settings)
    codes = encode(vectors, fitted.books, fitted.is_used, settings)
    np.testing.assert_array_equal(codes, fitted.codes)
    one_by_one = np.concatenate([encode(row[None], fitted.books, fitted.is_used, settings) for row in vectors])
    assert (one_by_one == codes).all(axis=1).mean() > 0.99  # near ties may differ in the last bit


def test_cosine_residuals_still_shrink() -> None:
    fitted = fit_codebooks(blobs(500), None, replace(SMALL, distance="cosine"))
    assert 1 > fitted.errors[0] > fitted.errors[1] > fitted.errors[2]


def test_encoding_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = blobs(100)
    fitted = fit_codebooks(vectors, None, SMALL)
    monkeypatch.setattr("semconv.tokenization.codebook.BLOCK_ROWS", 17)
    np.testing.assert_array_equal(encode(vectors, fitted.books, fitted.is_used, SMALL), fitted.codes)
    assert encode(vectors[:0], fitted.books, fitted.is_used, SMALL).shape == (0, 3)


@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5, 6])
def test_every_number_of_levels(levels: int) -> None:
    vectors = blobs(200)
    fitted = fit_codebooks(vectors, texts(vectors), replace(SMALL, levels=levels, alignment=0.1))
    assert fitted.codes.shape == (200, levels)
    assert fitted.books.shape == (levels, 8, 6)
    assert all(after < before for before, after in pairwise((1.0, *fitted.errors)))


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_one_level_with_a_code_for_every_item_reproduces_the_items(weight: float) -> None:
    """The paper's row C = 1. With text, centroids move, and an item may be nearer to the centroid of another item."""
    vectors = blobs(40)
    fitted = fit_codebooks(vectors, texts(vectors), replace(SMALL, levels=1, codes=50, alignment=weight))
    if weight == 0:
        assert fitted.codes[:, 0].tolist() == list(range(40))
        assert fitted.errors[0] < 1e-10
    settings = replace(SMALL, levels=1, codes=50)
    own = resolve_collisions(vectors, fitted.codes, np.ones(40, dtype=np.int64), fitted.books, settings)
    assert len(np.unique(own.codes)) == 40


def test_copies_have_different_codes_after_resolution_also_with_one_level() -> None:
    vectors = np.repeat(blobs(10), 3, axis=0)
    settings = replace(SMALL, levels=1, codes=30)
    fitted = fit_codebooks(vectors, None, settings)
    assert len(np.unique(fitted.codes)) == 10
    own = resolve_collisions(vectors, fitted.codes, np.ones(30, dtype=np.int64), fitted.books, settings)
    assert len(np.unique(own.codes)) == 30


def test_fewer_items_than_codes_have_a_code_each() -> None:
    vectors = blobs(5)
    fitted = fit_codebooks(vectors, None, SMALL)
    assert len(np.unique(fitted.codes[:, 0])) == 5
    assert fitted.is_used[0].sum() == 5
    assert not fitted.books[~fitted.is_used].any()
    assert fitted.errors[0] < 1e-10
    # A new vector never gets an unused code, although the zero row of that code may be the nearest.
    new = encode(np.zeros((1, 6), dtype=np.float32), fitted.books, fitted.is_used, SMALL)
    assert all(fitted.is_used[n, code] for n, code in enumerate(new[0]))


def test_copies_and_zeros_are_fine() -> None:
    vectors = np.repeat(blobs(3), 20, axis=0)
    vectors[:10] = 0
    for distance, weight in product(("l2", "cosine"), (0.0, 0.5)):
        fitted = fit_codebooks(vectors, vectors, replace(SMALL, distance=distance, alignment=weight))
        assert np.isfinite(fitted.books).all()
        for start in (10, 20, 40):
            stop = 20 if start == 10 else start + 20
            assert len(np.unique(fitted.codes[start:stop], axis=0)) == 1
    zero = fit_codebooks(np.zeros((9, 4), dtype=np.float32), None, SMALL)
    assert not zero.books.any()
    assert len(np.unique(zero.codes, axis=0)) == 1


def test_no_code_stays_empty_while_items_are_far_from_theirs() -> None:
    vectors = np.concatenate([np.zeros((500, 4)), 10 * np.eye(4), -10 * np.eye(4)]).astype(np.float32)
    for seed in range(5):
        fitted = fit_codebooks(vectors, None, replace(SMALL, levels=1, codes=9, seed=seed))
        assert fitted.is_used[0].all()
        assert fitted.errors[0] < 1e-9


def test_seed_decides_everything() -> None:
    vectors = blobs(300)
    first, second, other = (fit_codebooks(vectors, None, replace(SMALL, seed=seed)) for seed in (3, 3, 4))
    assert first.books.tobytes() == second.books.tobytes()
    assert first.books.tobytes() != other.books.tobytes()


@pytest.mark.parametrize(
    ("vectors", "aligned", "message"),
    [
        (np.zeros((0, 4)), None, "shape"),
        (np.array([[1.0, np.nan], [1.0, 2.0]]), None, "1 of 2 behaviour vectors .* row 0"),
        (np.ones((3, 2)), np.array([[1.0, 1.0], [1.0, 1.0], [np.inf, 1.0]]), "1 of 3 mapped text vectors .* row 2"),
        (np.ones((3, 2)), np.ones((2, 2)), "shape"),
    ],
)
def test_refuses_bad_input(vectors: np.ndarray, aligned: np.ndarray | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_codebooks(vectors, aligned, replace(SMALL, alignment=0.1))


def test_nearest_is_the_nearest_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semconv.tokenization.kmeans._CHUNK_CELLS", 100)
    points, book = blobs(57), blobs(9, seed=5)
    expected = ((points[:, None] - book) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest(points, book, squared_norms(book)), expected)


def test_sums_by_code() -> None:
    points, codes = blobs(50), np.arange(50) % 4
    expected = [points[codes == c].sum(axis=0) for c in range(5)]
    np.testing.assert_allclose(sums_by_code(points, codes, 5), expected, atol=1e-5)


def test_start_is_distinct_rows_also_from_a_sample() -> None:
    points = np.repeat(blobs(6), 7_000, axis=0)  # more rows than the start draws from
    rows = start_rows(points, 10, np.random.default_rng(0))
    assert len(rows) == len(np.unique(points[rows], axis=0)) == 6


def test_start_prefers_far_points() -> None:
    points = np.concatenate([np.zeros((1000, 2)), np.full((1, 2), 50.0), np.full((1, 2), -50.0)]).astype(np.float32)
    points[:1000] += 0.01 * blobs(1000, width=2)
    for seed in range(10):
        rows = start_rows(points, 3, np.random.default_rng(seed))
        assert {1000, 1001} <= set(rows.tolist())
