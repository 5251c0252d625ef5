"""Figures of codes: overlap by hand, planted similarity and shuffled codes, the tree, variance within groups."""

import numpy as np
import pytest

from semconv.tokenization import quality


def planted(rows: int = 300, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Draw codes and titles. The first two codes determine one of twelve words; the other word is unique."""
    rng = np.random.default_rng(seed)
    group = rng.integers(12, size=rows)
    codes = np.stack([group // 4, group % 4, rng.integers(50, size=rows)], axis=1).astype(np.uint16)
    return codes, [f"kind{g} own{n}" for n, g in enumerate(group)]


def test_overlap_is_the_share_of_common_words() -> None:
    features = quality.Features.of_titles(["Red Lamp, red!", "a red CHAIR", None, "stool"])
    assert features.overlap(np.array([[0, 1]])) == pytest.approx(1 / 3)
    assert features.overlap(np.array([[0, 1], [0, 3], [1, 2]])) == pytest.approx(
        1 / 6
    )  # a pair with an item without title does not count
    assert features.overlap(np.array([[2, 0]])) is None


def test_pairs_share_their_prefix_and_are_two_items() -> None:
    codes, _ = planted()
    pairs = quality.pairs_within(codes[:, :2], np.random.default_rng(0))
    assert (codes[pairs[:, 0], :2] == codes[pairs[:, 1], :2]).all()
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert len(np.unique(pairs[:, 1])) == 300  # every item is drawn as the second of a pair
    alone = quality.pairs_within(np.arange(9, dtype=np.uint16)[:, None], np.random.default_rng(0))
    assert alone.shape == (0, 2)


def test_agreement_finds_what_was_planted_and_nothing_in_shuffled_codes() -> None:
    codes, titles = planted()
    found = quality.agreement(codes, quality.Features.of_titles(titles))
    assert found["within"] == pytest.approx(1 / 3)  # one word of three in common
    assert found["shuffled"] == pytest.approx(found["random"], abs=0.02)
    assert found["random"] < 0.05
    assert found == quality.agreement(codes, quality.Features.of_titles(titles))
    codes_of_nothing = codes[np.random.default_rng(3).permutation(len(codes))]
    assert quality.agreement(codes_of_nothing, quality.Features.of_titles(titles))["within"] < 0.05


def test_variance_within_groups_and_level_figures() -> None:
    codes, _ = planted()
    centres = np.random.default_rng(1).standard_normal((12, 4))
    vectors = centres[codes[:, 0] * 4 + codes[:, 1]].astype(np.float32)
    shares = quality.variance_within(codes, vectors)
    assert shares[0] > 0.1
    assert shares[1] == pytest.approx(0, abs=1e-6)
    by_chance = quality.variance_within(quality.shuffled_codes(codes), vectors)
    assert by_chance[1] > 0.8
    even = quality.level_figures(np.array([[0], [1], [2], [0], [1], [2]], dtype=np.uint16), 256)[0]
    assert even["effective_codes"] == pytest.approx(3)
    level = quality.level_figures(codes, 5)[0]
    counts = np.bincount(codes[:, 0], minlength=5)
    assert level["dead_codes"] == 2
    assert level["counts"] == sorted(counts, reverse=True)
    assert level["largest_share"] == counts.max() / 300
    rows = quality.prefix_collisions(np.array([[0, 1], [0, 2], [1, 1], [1, 1]], dtype=np.uint16))
    assert [row["share_after"] for row in rows] == [1.0, 0.5]


def test_tree_counts_items_and_shows_the_most_popular() -> None:
    codes, titles = planted()
    popularity = np.arange(300)
    tree = quality.code_tree(codes, titles, popularity, branches=2, leaves=9)
    assert len(tree) == 2
    assert [node["items"] for node in tree] == sorted(np.bincount(codes[:, 0]), reverse=True)[:2]
    mine = np.flatnonzero(codes[:, 0] == tree[0]["code"])
    assert tree[0]["titles"] == [titles[row] for row in mine[::-1][:3]]
    assert sum(child["items"] for child in tree[0]["children"]) == tree[0]["items"]
    assert tree[0]["children"][0]["children"] == []
