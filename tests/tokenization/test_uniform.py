"""Even assignment by Sinkhorn: its masses, and its cost beside the exact assignment."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from semconv.tokenization.uniform import transport, uniform_codes


def test_each_code_receives_the_same_mass() -> None:
    distances = np.random.default_rng(0).random((40, 6)) ** 3
    plan = transport(distances, 0.1)
    np.testing.assert_allclose(plan.sum(axis=0), 40 / 6)
    np.testing.assert_allclose(plan.sum(axis=1), 1, atol=1e-3)
    assert (plan > 0).all()


def test_a_large_epsilon_spreads_and_a_small_one_decides() -> None:
    distances = np.random.default_rng(1).random((30, 5))
    np.testing.assert_allclose(transport(distances, 1e6), 1 / 5, rtol=1e-4)
    plan = transport(distances, 0.003)
    assert np.median(plan.max(axis=1) / plan.sum(axis=1)) > 0.95


def test_shift_and_scale_of_the_distances_do_not_matter() -> None:
    distances = np.random.default_rng(2).random((25, 4))
    np.testing.assert_allclose(transport(7 * distances - 3, 0.01), transport(distances, 0.01), rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_codes_are_close_to_the_best_even_assignment(seed: int) -> None:
    """Most items lie near two of the eight codes. The best even assignment gives each code eight of 64 items."""
    rng = np.random.default_rng(seed)
    codes = rng.standard_normal((8, 3))
    points = codes[rng.integers(2, size=64)] + 0.3 * rng.standard_normal((64, 3))
    distances = ((points[:, None] - codes) ** 2).sum(axis=2)
    chosen = uniform_codes(distances, 0.01)
    nearest = np.bincount(distances.argmin(axis=1), minlength=8)
    loads = np.bincount(chosen, minlength=8)
    assert nearest.max() >= 24
    assert loads.max() <= 16
    assert loads.min() >= 3
    row, slot = linear_sum_assignment(np.repeat(distances, 8, axis=1))
    best = distances[row, slot // 8].sum()
    assert distances[np.arange(64), chosen].sum() <= 1.05 * best


def test_equal_distances_and_tiny_epsilons_have_finite_plans() -> None:
    for distances in (np.zeros((5, 3)), np.random.default_rng(3).random((5, 3)), np.ones((1, 4))):
        for epsilon in (1e-9, 0.003, 10.0):
            assert np.isfinite(transport(distances, epsilon)).all()
