from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semconv.errors import InputError
from semconv.inference.seen import SeenItems
from semconv.inference.trie import CodeTrie

code_tables = hnp.arrays(np.int64, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=st.integers(0, 5))


def children(trie: CodeTrie, prefix: tuple[int, ...]) -> tuple[set[int], tuple[int, int]]:
    """Codes that may follow a prefix and the range of leaves below it, by walking the arrays."""
    node = 0
    for depth, code in enumerate(prefix):
        low, high = trie.child_offsets[depth][node : node + 2]
        node = int(low + np.flatnonzero(trie.child_codes[depth][low:high] == code)[0])
    low, high = trie.leaf_offsets[len(prefix)][node : node + 2]
    if len(prefix) == trie.levels:
        return set(), (int(low), int(high))
    first, last = trie.child_offsets[len(prefix)][node : node + 2]
    found = trie.child_codes[len(prefix)][first:last].tolist()
    assert found == sorted(set(found))
    return set(found), (int(low), int(high))


@given(code_tables)
def test_the_trie_knows_every_prefix_and_nothing_else(codes):
    trie = CodeTrie.build(codes, np.arange(len(codes)))
    rows = [tuple(row) for row in codes.tolist()]
    assert trie.num_leaves == len(set(rows))
    for depth in range(trie.levels + 1):
        for prefix in {row[:depth] for row in rows}:
            below = {row for row in rows if row[:depth] == prefix}
            found, (low, high) = children(trie, prefix)
            assert high - low == len(below)
            assert found == ({row[depth] for row in below} if depth < trie.levels else set())


@given(code_tables, st.randoms(use_true_random=False))
def test_leaves_hold_their_items_most_popular_first(codes, random):
    popularity = np.array([random.randrange(3) for _ in codes])
    items = np.array(random.sample(range(100), len(codes)))
    trie = CodeTrie.build(codes, items, popularity)
    for leaf in range(trie.num_leaves):
        rows = slice(*trie.item_offsets[leaf : leaf + 2])
        code = trie.row_codes[rows][0]
        same = np.flatnonzero((codes == code).all(axis=1))
        expected = sorted(same, key=lambda row: (-popularity[row], items[row]))
        assert trie.row_items[rows].tolist() == items[expected].tolist()
    np.testing.assert_array_equal(trie.code_table(100)[items], codes)
    assert (np.delete(trie.code_table(100), items, axis=0) == -1).all()


@given(code_tables, st.data())
def test_restricting_equals_building_from_the_allowed_items(codes, data):
    allowed = data.draw(hnp.arrays(bool, len(codes)))
    restricted = CodeTrie.build(codes, np.arange(len(codes))).restrict(allowed)
    expected = CodeTrie.build(codes[allowed], np.flatnonzero(allowed))
    for name in ("row_codes", "row_items", "item_offsets"):
        np.testing.assert_array_equal(getattr(restricted, name), getattr(expected, name))
    for name in ("child_offsets", "child_codes", "leaf_offsets"):
        for got, want in zip(getattr(restricted, name), getattr(expected, name), strict=True):
            np.testing.assert_array_equal(got, want)


@given(code_tables, st.data())
def test_a_node_is_open_as_long_as_an_unseen_item_is_below(codes, data):
    trie = CodeTrie.build(codes, np.arange(len(codes)))
    mask = data.draw(hnp.arrays(bool, (3, len(codes))))
    taken = SeenItems.of(trie, [np.flatnonzero(row) for row in mask], torch.device("cpu"))
    for depth in range(trie.levels + 1):
        offsets = trie.leaf_offsets[depth]
        nodes = torch.arange(len(offsets) - 1).expand(3, 1, -1)
        open_ = taken.has_left(nodes, torch.from_numpy(offsets))[:, 0].numpy()  # (3, nodes)
        for node in range(len(offsets) - 1):
            rows = slice(trie.item_offsets[offsets[node]], trie.item_offsets[offsets[node + 1]])
            np.testing.assert_array_equal(open_[:, node], ~mask[:, trie.row_items[rows]].all(axis=1))


def test_allowed_items_may_be_fewer_than_the_catalogue():
    trie = CodeTrie.build(np.array([[0], [1], [2]]), np.array([5, 1, 0]))
    assert trie.restrict(np.array([True, True])).row_items.tolist() == [0, 1][::-1]


def test_wrong_codes_are_named():
    with pytest.raises(InputError, match="two rows"):
        CodeTrie.build(np.zeros((2, 2), int), np.array([3, 3]))
    with pytest.raises(InputError, match="do not fit"):
        CodeTrie.build(np.zeros((2, 2), int), np.arange(3))
    with pytest.raises(InputError, match="negative"):
        CodeTrie.build(np.array([[-1, 0]]), np.arange(1))
    empty = CodeTrie.build(np.zeros((0, 3), int), np.zeros(0, int))
    assert (len(empty), empty.num_leaves, empty.levels) == (0, 0, 3)
