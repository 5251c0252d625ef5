"""The conditional logit: planted weights are found, features that say nothing get none."""

from __future__ import annotations

import numpy as np

from semconv.blend.weights import fit_weights

NAMES = ("strong", "weak", "noise", "more noise", "constant")


def choices(num_users: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users who choose one of twelve candidates by 2 * strong - 0.5 * weak, and by nothing else."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(num_users), 12)
    features = rng.normal(size=(len(users), 5)) * [1, 3, 1, 10, 0] + [0, 5, 0, 0, 7]
    utility = 2 * features[:, 0] - 0.5 * features[:, 1] + rng.gumbel(size=len(users))
    best = utility.reshape(num_users, 12).argmax(axis=1)
    is_target = np.zeros(len(users), dtype=bool)
    is_target[np.arange(num_users) * 12 + best] = True
    return features, users, is_target


def test_planted_weights_are_found_and_useless_features_are_near_zero() -> None:
    features, users, is_target = choices(4000)
    fitted = fit_weights(NAMES, features, users, is_target, 0.0)
    np.testing.assert_allclose(fitted.slopes[:2], [2, -0.5], rtol=0.06)
    assert np.abs(fitted.weights[2:4]).max() < 0.06
    assert fitted.weights[4] == 0
    assert fitted.slopes[4] == 0


def test_where_everything_is_chance_all_weights_are_near_zero() -> None:
    features, users, _ = choices(3000)
    rng = np.random.default_rng(5)
    is_target = np.zeros(len(users), dtype=bool)
    is_target[np.arange(3000) * 12 + rng.integers(0, 12, 3000)] = True
    assert np.abs(fit_weights(NAMES, features, users, is_target, 0.0).weights).max() < 0.06


def test_the_gradient_vanishes_at_the_minimum_and_l2_shrinks() -> None:
    features, users, is_target = choices(500)
    free, held = (fit_weights(NAMES, features, users, is_target, l2) for l2 in (0.0, 1.0))
    assert np.linalg.norm(held.weights) < 0.5 * np.linalg.norm(free.weights)
    rows = free.standardize(features)
    scores = (rows @ free.weights).reshape(500, 12)
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    gradient = (shares.reshape(-1, 1) * rows).sum(axis=0) - rows[is_target].sum(axis=0)
    assert np.abs(gradient / 500).max() < 1e-4


def test_users_without_their_target_change_nothing_and_unknown_features_are_the_mean() -> None:
    features, users, is_target = choices(300)
    alone = fit_weights(NAMES, features, users, is_target, 1e-3)
    more = np.concatenate([features, features[:60] * 50]), np.concatenate([users, users[:60] + 300])
    beside = fit_weights(NAMES, *more, np.concatenate([is_target, np.zeros(60, dtype=bool)]), 1e-3)
    np.testing.assert_allclose(beside.weights, alone.weights)
    unknown = features.copy()
    unknown[::7, 0] = np.nan
    fitted = fit_weights(NAMES, unknown, users, is_target, 1e-3)
    assert np.isfinite(fitted.weights).all()
    np.testing.assert_allclose(fitted.mean[0], np.nanmean(unknown[:, 0]))
    meanwhile = features.copy()
    meanwhile[::7, 0] = fitted.mean[0]
    np.testing.assert_allclose(fitted.scores(unknown), fitted.scores(meanwhile))


def test_nobody_to_learn_from_gives_weights_of_zero() -> None:
    features, users, is_target = choices(5)
    fitted = fit_weights(NAMES, features, users, np.zeros_like(is_target), 1e-3)
    assert not fitted.weights.any()
    assert fitted.names == NAMES
    assert not fitted.scores(features).any()


def test_a_feature_that_some_candidates_alone_have_gives_them_a_weight_of_their_own() -> None:
    """A model tells new items well and known items badly, and counts tell known items alone."""
    rng = np.random.default_rng(0)
    users, items = np.repeat(np.arange(800), 20), np.tile(np.arange(20), 800)
    is_new = items >= 10
    model, counter = rng.normal(size=(2, len(items)))
    utility = np.where(is_new, 3 * model - 3, 2 * counter)
    is_target = utility == np.repeat(utility.reshape(800, 20).max(axis=1), 20)
    features = np.stack([model, np.where(is_new, model, np.nan), np.where(is_new, 0.0, counter), 1.0 * is_new], axis=1)
    found = {}
    for name, columns in (("one weight", [0, 2, 3]), ("two weights", [0, 1, 2, 3])):
        weights = fit_weights([str(column) for column in columns], features[:, columns], users, is_target, 1e-4)
        scores = weights.scores(features[:, columns]).reshape(800, 20)
        found[name] = float((scores.argmax(axis=1) == utility.reshape(800, 20).argmax(axis=1)).mean())
    assert found["one weight"] < 0.8
    assert found["two weights"] > 0.97
