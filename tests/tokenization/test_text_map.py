"""The ridge map from text to behaviour: it finds planted maps, reports noise as noise, and never interpolates."""

import numpy as np
import pytest

from semconv.errors import InputError
from semconv.tokenization.text_map import TextMap, fit_text_map


def planted(rows: int, text_width: int, noise: float, seed: int = 0, rank: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Draw text with ``rank`` strong directions that determine the vectors, and weak noise."""
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((rows, rank))
    text = factors @ rng.standard_normal((rank, text_width)) + 0.05 * rng.standard_normal((rows, text_width)) + 3
    vectors = factors @ rng.standard_normal((rank, 4)) + noise * rng.standard_normal((rows, 4))
    return text.astype(np.float32), (vectors - vectors.mean(axis=0)).astype(np.float32)


@pytest.mark.parametrize(("rows", "width"), [(400, 30), (150, 600)])
def test_recovers_a_planted_map(rows: int, width: int) -> None:
    text, vectors = planted(rows + 100, width, noise=0.0)
    text_map, held_out = fit_text_map(text[:rows], vectors[:rows])
    assert text_map.held_out_r2 > 0.98
    assert text_map.explains(0.98)
    assert not text_map.explains(1.0)
    np.testing.assert_allclose(text_map.predict(text[rows:]), vectors[rows:], atol=0.6)
    assert np.corrcoef(held_out.ravel(), vectors[:rows].ravel())[0, 1] > 0.98


@pytest.mark.parametrize(("rows", "width"), [(400, 30), (150, 600)])
def test_noise_is_reported_as_noise(rows: int, width: int) -> None:
    rng = np.random.default_rng(0)
    text, vectors = rng.standard_normal((rows, width)), rng.standard_normal((rows, 4))
    text_map, _ = fit_text_map(text, vectors)
    assert text_map.held_out_r2 < 0.02
    assert not text_map.explains(0.02)
    assert text_map.explains(0)


@pytest.mark.parametrize(("rows", "width"), [(400, 30), (150, 600)])
def test_targets_do_not_depend_on_their_own_item(rows: int, width: int) -> None:
    """Changing an item's vector hardly moves its own target. A fit without folds would follow it."""
    text, vectors = planted(rows, width, noise=1.0)
    changed = vectors.copy()
    changed[7] += 50
    before, after = fit_text_map(text, vectors)[1], fit_text_map(text, changed)[1]
    moved = np.abs(after - before).max(axis=1)
    assert moved[7] < 0.2 * moved.max()


def test_no_interpolation_of_noise_with_more_columns_than_items() -> None:
    rng = np.random.default_rng(1)
    text, vectors = rng.standard_normal((100, 800)), rng.standard_normal((100, 4))
    _, held_out = fit_text_map(text, vectors)
    assert abs(np.corrcoef(held_out.ravel(), vectors.ravel())[0, 1]) < 0.2


@pytest.mark.parametrize(("rows", "width"), [(120, 40), (50, 60)])
def test_folds_are_fits_without_the_fold(rows: int, width: int) -> None:
    """The shortcut through products of all rows equals a plain ridge regression on each fold."""
    text, vectors = planted(rows, width, noise=0.3, seed=3)
    text_map, held_out = fit_text_map(text, vectors, seed=5)
    fold = np.random.default_rng(5).permutation(rows) % 5
    for k in range(5):
        rest = fold != k
        x, y = text[rest].astype(np.float64), vectors[rest].astype(np.float64)
        penalty = text_map.penalty * rest.mean()
        centred = x - x.mean(axis=0)
        weights = np.linalg.solve(centred.T @ centred + penalty * np.eye(width), centred.T @ (y - y.mean(axis=0)))
        expected = (text[~rest] - x.mean(axis=0)) @ weights + y.mean(axis=0)
        np.testing.assert_allclose(held_out[~rest], expected, atol=1e-3)


@pytest.mark.parametrize(("rows", "width"), [(120, 40), (40, 60)])
def test_penalty_is_the_best_of_generalised_cross_validation(rows: int, width: int) -> None:
    text, vectors = planted(rows, width, noise=2.0, seed=4)
    text_map, _ = fit_text_map(text, vectors)
    centred, target = text.astype(np.float64) - text.mean(axis=0, dtype=np.float64), vectors - vectors.mean(axis=0)

    def score(penalty: float) -> float:
        hat = centred @ np.linalg.solve(centred.T @ centred + penalty * np.eye(width), centred.T)
        return float(((target - hat @ target) ** 2).sum() / (rows - 1 - np.trace(hat)) ** 2)

    chosen = score(text_map.penalty)
    for factor in (10**-0.25, 10**0.25):  # the neighbours on the grid
        assert chosen <= score(text_map.penalty * factor) * (1 + 1e-6)


def test_stretched_predictions_have_the_spread_of_behaviour() -> None:
    text, vectors = planted(3000, 20, noise=3.0)
    text_map, _ = fit_text_map(text[:2000], vectors[:2000])
    stretched = text_map.predict(text[2000:])
    assert (
        (stretched / text_map.stretch).std(axis=0) < 0.9 * vectors.std(axis=0)
    ).all()  # as the regression gives them
    np.testing.assert_allclose(stretched.std(axis=0), vectors.std(axis=0), rtol=0.15)


def test_a_constant_dimension_stays_constant() -> None:
    text, vectors = planted(100, 20, noise=0.5)
    vectors[:, 2] = 0
    text_map, _ = fit_text_map(text, vectors)
    np.testing.assert_allclose(text_map.predict(text)[:, 2], 0, atol=1e-6)


def test_constant_text_explains_nothing() -> None:
    text_map, held_out = fit_text_map(np.ones((50, 5)), planted(50, 5, noise=1.0)[1])
    assert np.isfinite(held_out).all()
    assert not text_map.explains(0.02)
    assert text_map.explains(0)


def test_save_and_load(tmp_path) -> None:
    text, vectors = planted(100, 20, noise=0.5)
    text_map, _ = fit_text_map(text, vectors)
    text_map.save(tmp_path / "map.safetensors")
    loaded = TextMap.load(tmp_path / "map.safetensors")
    np.testing.assert_array_equal(loaded.predict(text), text_map.predict(text))
    assert (loaded.penalty, loaded.held_out_r2) == (text_map.penalty, text_map.held_out_r2)


@pytest.mark.parametrize(
    ("text", "vectors", "message"),
    [
        (np.ones((5, 3)), np.ones((5, 2)), "needs at least 10 items"),
        (np.ones((12, 3)), np.ones((11, 2)), "one row for each of the same items"),
        (np.full((12, 3), np.nan), np.ones((12, 2)), "12 of 12 text vectors"),
        (np.ones((12, 3)), np.full((12, 2), np.inf), "12 of 12 behaviour vectors"),
    ],
)
def test_refuses_bad_input(text: np.ndarray, vectors: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_text_map(text, vectors)


def test_another_width_names_the_backbone() -> None:
    text, vectors = planted(50, 20, noise=0.5)
    with pytest.raises(InputError, match=r"width 20.*use text vectors of the same backbone"):
        fit_text_map(text, vectors)[0].predict(text[:, :19])
