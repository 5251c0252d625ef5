"""Behaviour vectors from the interaction matrix: answers known from the matrix itself."""

from collections.abc import Sequence

import numpy as np
import pytest

from semconv.behavior.svd import fit_svd
from semconv.behavior.vectors import BehaviorVectors, normalize
from semconv.errors import InputError
from semconv.settings.behavior import BehaviorSettings
from tests.worlds.sequences import sequences_of


def random_rows(num_users: int, num_items: int, seed: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [sorted(rng.choice(num_items, size=5, replace=False).tolist()) for _ in range(num_users)]


def normalized_matrix(rows: Sequence[Sequence[int]], vectors: BehaviorVectors) -> np.ndarray:
    """D_u^-1/2 A D_i^-1/2 cell by cell, at the users and items that have vectors."""
    matrix = np.zeros((len(vectors.user_index), len(vectors.item_index)))
    for row, user in enumerate(vectors.user_index):
        for item in set(rows[user]):
            matrix[row, np.searchsorted(vectors.item_index, item)] = 1
    return matrix / np.sqrt(matrix.sum(axis=1, keepdims=True)) / np.sqrt(matrix.sum(axis=0))


def undamped(vectors: BehaviorVectors) -> np.ndarray:
    """V S^1/2 from the stored vectors: uncentred, unscaled, the length squared again."""
    raw = vectors.item_vectors / vectors.scale + vectors.mean
    return raw * np.linalg.norm(raw, axis=1, keepdims=True)


def test_full_width_items_give_the_root_of_the_item_graph_back() -> None:
    """With all components V S V^T is the square root of N^T N."""
    rows = random_rows(40, 20, seed=1)
    vectors = fit_svd(sequences_of(rows), 20, BehaviorSettings(graph="interactions", dimensions=20))
    matrix, items = normalized_matrix(rows, vectors), undamped(vectors)
    root = items @ items.T
    np.testing.assert_allclose(root @ root, matrix.T @ matrix, atol=1e-5)


def test_iterative_path_is_the_best_approximation_of_its_rank() -> None:
    rows = random_rows(400, 300, seed=2)
    vectors = fit_svd(sequences_of(rows), 300, BehaviorSettings(graph="interactions", dimensions=8))
    _, values, right = np.linalg.svd(normalized_matrix(rows, vectors), full_matrices=False)
    items = undamped(vectors)
    np.testing.assert_allclose(items @ items.T, (right[:8].T * values[:8]) @ right[:8], atol=1e-4)


def test_users_are_the_mean_of_their_items() -> None:
    rows = [[3, 7], [], [7, 9, 7]]
    vectors = fit_svd(sequences_of(rows), 12, BehaviorSettings(graph="interactions", dimensions=2))
    raw = vectors.item_vectors / vectors.scale + vectors.mean  # of items 3, 7, 9
    expected = [(raw[0] + raw[1]) / 2, (2 * raw[1] + raw[2]) / 3]
    np.testing.assert_allclose(vectors.user_vectors / vectors.scale, expected, atol=1e-6)


def test_separates_planted_communities() -> None:
    rng = np.random.default_rng(0)
    community = np.arange(60) % 3
    rows = [rng.choice(np.flatnonzero(community == user % 3), size=8, replace=False).tolist() for user in range(120)]
    vectors = fit_svd(sequences_of(rows), 60, BehaviorSettings(graph="interactions", dimensions=3))
    unit = vectors.item_vectors / np.linalg.norm(vectors.item_vectors, axis=1, keepdims=True)
    similar = unit @ unit.T
    same = community[vectors.item_index][:, None] == community[vectors.item_index]
    assert similar[same].min() > similar[~same].max()


def test_shuffled_interactions_have_no_communities() -> None:
    rng = np.random.default_rng(0)
    community = np.arange(60) % 3
    rows = [rng.choice(60, size=8, replace=False).tolist() for _ in range(120)]
    vectors = fit_svd(sequences_of(rows), 60, BehaviorSettings(graph="interactions", dimensions=4))
    same = community[vectors.item_index][:, None] == community[vectors.item_index]
    similar = vectors.item_vectors @ vectors.item_vectors.T
    off_diagonal = ~np.eye(60, dtype=bool)
    assert abs(similar[same & off_diagonal].mean() - similar[~same].mean()) < 0.1


def test_only_those_with_interactions_are_present() -> None:
    vectors = fit_svd(sequences_of([[3, 7], [], [7, 9]]), 12, BehaviorSettings(graph="interactions", dimensions=2))
    assert vectors.item_index.tolist() == [3, 7, 9]
    assert vectors.user_index.tolist() == [0, 2]


def test_less_data_than_dimensions_leaves_zero_columns() -> None:
    vectors = fit_svd(sequences_of([[0, 1], [1, 2]]), 3, BehaviorSettings(graph="interactions", dimensions=32))
    assert vectors.item_vectors.shape == (3, 32)
    assert not vectors.item_vectors[:, 2:].any()
    assert np.isfinite(vectors.item_vectors).all()


def test_one_item_sits_in_the_origin() -> None:
    vectors = fit_svd(sequences_of([[0], [0]]), 1, BehaviorSettings(graph="interactions", dimensions=2))
    np.testing.assert_allclose(vectors.item_vectors, 0, atol=1e-6)


def test_an_item_met_twice_counts_once() -> None:
    once = fit_svd(sequences_of([[0, 1], [1, 2]]), 3, BehaviorSettings(graph="interactions", dimensions=2))
    twice = fit_svd(sequences_of([[0, 1, 0, 1], [1, 2]]), 3, BehaviorSettings(graph="interactions", dimensions=2))
    np.testing.assert_allclose(once.item_vectors, twice.item_vectors)


def test_same_seed_same_bytes() -> None:
    sequences = sequences_of(random_rows(400, 300, seed=2))
    first, second = (fit_svd(sequences, 300, BehaviorSettings(graph="interactions", dimensions=8)) for _ in range(2))
    assert first.item_vectors.tobytes() == second.item_vectors.tobytes()
    assert first.user_vectors.tobytes() == second.user_vectors.tobytes()


@pytest.mark.parametrize(("rows", "message"), [([[], []], "no interaction"), ([[0, 5]], "item_index 5")])
def test_refuses_what_cannot_be_fitted(rows: list[list[int]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_svd(sequences_of(rows), 3, BehaviorSettings())


def test_normalized_items_are_centred_with_mean_norm_one_and_users_keep_their_order() -> None:
    rng = np.random.default_rng(3)
    items, users = rng.normal(5, 2, (50, 6)), rng.normal(0, 1, (9, 6))
    vectors = normalize(np.arange(50), items, np.arange(9), users, "learned")
    np.testing.assert_allclose(vectors.item_vectors.mean(axis=0), 0, atol=1e-6)
    assert np.linalg.norm(vectors.item_vectors, axis=1).mean() == pytest.approx(1, abs=1e-6)
    order = np.argsort(vectors.user_vectors @ vectors.item_vectors.T, axis=1)
    np.testing.assert_array_equal(order, np.argsort(users @ items.T, axis=1))


def test_save_and_load(tmp_path) -> None:
    vectors = fit_svd(
        sequences_of(random_rows(30, 12, seed=1)), 12, BehaviorSettings(graph="interactions", dimensions=4)
    )
    vectors.save(tmp_path / "vectors.safetensors")
    loaded = BehaviorVectors.load(tmp_path / "vectors.safetensors")
    assert loaded.source == "learned"
    assert loaded.scale == vectors.scale
    for name in ("item_index", "item_vectors", "user_index", "user_vectors", "mean"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(vectors, name))


def test_loading_another_file_says_what_is_missing(tmp_path) -> None:
    from semconv.artifacts import write_arrays

    write_arrays(tmp_path / "vectors.safetensors", {"codes": np.zeros(3)})
    with pytest.raises(InputError, match="item_vectors"):
        BehaviorVectors.load(tmp_path / "vectors.safetensors")


def test_transitions_put_items_that_follow_each_other_together() -> None:
    rng = np.random.default_rng(3)
    rows = [list(rng.permutation(10) + 10 * int(rng.integers(2)))[:6] for _ in range(200)]
    vectors = fit_svd(sequences_of(rows), 20, BehaviorSettings(graph="transitions", dimensions=4))
    unit = vectors.item_vectors / np.linalg.norm(vectors.item_vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    same = np.equal.outer(vectors.item_index // 10, vectors.item_index // 10) & ~np.eye(20, dtype=bool)
    assert cosine[same].min() > cosine[~same & ~np.eye(20, dtype=bool)].max()


def test_an_item_that_follows_itself_says_nothing() -> None:
    rows = [[0, 1, 2, 3], [3, 2, 1, 0], [0, 2, 1, 3]]
    settings = BehaviorSettings(graph="transitions", dimensions=2)
    with_pair = fit_svd(sequences_of([*rows, [0, 0]]), 4, settings)
    np.testing.assert_allclose(with_pair.item_vectors, fit_svd(sequences_of(rows), 4, settings).item_vectors, atol=1e-6)
