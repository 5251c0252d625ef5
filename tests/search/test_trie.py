from __future__ import annotations

import mmap

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from semconv.artifacts import write_arrays
from semconv.errors import InputError
from semconv.search.seen import SeenItems
from semconv.search.trie import CodeTrie
from semconv.search.trie_file import open_trie, save_trie
from semconv.search.trie_tensors import TrieTensors
from tests.worlds.search import codes_of

code_tables = hnp.arrays(np.int64, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=st.integers(0, 5))


def leaf_range(trie: CodeTrie, node: int, depth: int) -> tuple[int, int]:
    """Return the first leaf below a node, and the leaf after the last."""
    low, high = node, node + 1
    for offsets in trie.child_offsets[depth:]:
        low, high = int(offsets[low]), int(offsets[high])
    return low, high


def children(trie: CodeTrie, prefix: tuple[int, ...]) -> tuple[set[int], tuple[int, int]]:
    """Walk the arrays to the codes that may follow a prefix, and to the range of leaves below it."""
    node = 0
    for depth, code in enumerate(prefix):
        low, high = trie.child_offsets[depth][node : node + 2]
        node = int(low + np.flatnonzero(trie.child_codes[depth][low:high] == code)[0])
    if len(prefix) == trie.levels:
        return set(), leaf_range(trie, node, len(prefix))
    first, last = trie.child_offsets[len(prefix)][node : node + 2]
    found = trie.child_codes[len(prefix)][first:last].tolist()
    assert found == sorted(set(found))
    return set(found), leaf_range(trie, node, len(prefix))


def open_items(trie: CodeTrie) -> list[int]:
    return trie.row_items[trie.openness.rows].tolist()


def assert_equal(one: CodeTrie, other: CodeTrie) -> None:
    for name in ("row_items", "shared_leaves", "shared_extra"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("child_offsets", "child_codes"):
        for got, want in zip(getattr(one, name), getattr(other, name), strict=True):
            np.testing.assert_array_equal(got, want)


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
    first = trie.first_row(np.arange(trie.num_leaves + 1))
    for leaf in range(trie.num_leaves):
        rows = slice(first[leaf], first[leaf + 1])
        code = codes[items == trie.row_items[rows][0]][0]
        same = np.flatnonzero((codes == code).all(axis=1))
        expected = sorted(same, key=lambda row: (-popularity[row], items[row]))
        assert trie.row_items[rows].tolist() == items[expected].tolist()
        assert (trie.leaf_of(np.arange(len(items))[rows]) == leaf).all()
    np.testing.assert_array_equal(codes_of(trie, items), codes)
    assert (codes_of(trie, np.delete(np.arange(-1, 120), items + 1)) == -1).all()
    assert trie.row_items[trie.row_of(items)].tolist() == items.tolist()


@pytest.mark.parametrize("largest", [255, 256, 40_000])
def test_codes_of_any_size_are_sorted_alike(largest):
    rng = np.random.default_rng(largest)
    codes = rng.choice([0, 1, largest], (50, 6))  # six codes of 40,000 do not fit one number of 64 bits
    trie = CodeTrie.build(codes, np.arange(50), rng.integers(0, 3, 50))
    assert [tuple(codes[item]) for item in trie.row_items] == sorted(map(tuple, codes.tolist()))
    np.testing.assert_array_equal(codes_of(trie, np.arange(50)), codes)


@given(code_tables, st.data())
def test_a_restricted_trie_is_open_where_an_allowed_item_is_below(codes, data):
    mask = data.draw(hnp.arrays(bool, (2, len(codes))))
    allowed = mask[0] & mask[1]
    trie = CodeTrie.build(codes, np.arange(len(codes))).restrict(mask[0]).restrict(mask[1])
    assert sorted(open_items(trie)) == np.flatnonzero(allowed).tolist()
    assert trie.num_open == allowed.sum()
    first = trie.first_row(np.arange(trie.num_leaves + 1))
    for depth in range(trie.levels + 1):
        for node, open_leaves in enumerate(trie.openness.leaves_below[depth]):
            leaves = range(*leaf_range(trie, node, depth))
            assert open_leaves == sum(allowed[trie.row_items[first[leaf] : first[leaf + 1]]].any() for leaf in leaves)


@pytest.mark.parametrize("is_restricted", [False, True])
@given(code_tables, st.data())
def test_a_node_is_open_as_long_as_an_unseen_item_is_below(is_restricted, codes, data):
    trie = CodeTrie.build(codes, np.arange(len(codes)))
    mask = data.draw(hnp.arrays(bool, (3, len(codes))))
    allowed = data.draw(hnp.arrays(bool, len(codes))) if is_restricted else np.ones(len(codes), dtype=bool)
    if is_restricted:
        trie = trie.restrict(allowed)
    tensors = TrieTensors.of(trie, torch.device("cpu"))
    taken = SeenItems.of(trie, [np.flatnonzero(row) for row in mask], torch.device("cpu"))
    first = trie.first_row(np.arange(trie.num_leaves + 1))
    for depth in range(trie.levels):
        nodes = torch.arange(len(trie.child_offsets[depth]) - 1).expand(3, -1)  # (3, W)
        below = tensors.children(nodes, depth)
        scores = torch.where(tensors.may_enter(below, depth), 0.0, -torch.inf)
        taken.close(scores, nodes, depth)
        for user, node, child in below.exists.nonzero().tolist():
            low, high = leaf_range(trie, int(below.nodes[user, node, child]), depth + 1)
            items = trie.row_items[first[low] : first[high]]
            assert bool(scores[user, node, child] == 0) == bool((allowed[items] & ~mask[user, items]).any())


def test_allowed_items_may_be_fewer_than_the_catalogue():
    trie = CodeTrie.build(np.array([[0], [1], [2]]), np.array([5, 1, 0]))
    assert open_items(trie.restrict(np.array([True, True]))) == [1, 0]


def test_wrong_codes_are_named():
    with pytest.raises(InputError, match="two rows"):
        CodeTrie.build(np.zeros((2, 2), int), np.array([3, 3]))
    with pytest.raises(InputError, match="do not fit"):
        CodeTrie.build(np.zeros((2, 2), int), np.arange(3))
    with pytest.raises(InputError, match="negative"):
        CodeTrie.build(np.array([[-1, 0]]), np.arange(1))
    with pytest.raises(InputError, match="do not fit"):
        CodeTrie.build(np.zeros((2, 0), int), np.arange(2))


def test_a_trie_without_items():
    empty = CodeTrie.build(np.zeros((0, 3), int), np.zeros(0, int))
    assert (len(empty), empty.num_leaves, empty.levels) == (0, 0, 3)
    assert (empty.restrict(np.ones(2, dtype=bool)).num_open, empty.code_bound) == (0, 0)
    assert (codes_of(empty, np.array([0, 5])) == -1).all()


@pytest.mark.parametrize("items", [0, 1, 200])
def test_a_saved_trie_comes_back_mapped_into_memory(tmp_path, items):
    rng = np.random.default_rng(3)
    trie = CodeTrie.build(rng.integers(0, 4, (items, 3)), rng.permutation(items), rng.integers(0, 9, items))
    save_trie(tmp_path / "trie.safetensors", trie.restrict(rng.random(items) < 0.5))
    opened = open_trie(tmp_path / "trie.safetensors")
    assert_equal(opened, trie)
    assert opened.openness is None
    before = (tmp_path / "trie.safetensors").read_bytes()
    if items:
        base = opened.row_items
        while isinstance(base, np.ndarray):
            base = base.base
        assert isinstance(base.obj if isinstance(base, memoryview) else base, mmap.mmap)
        opened.row_items[0] = 77
    assert (tmp_path / "trie.safetensors").read_bytes() == before


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text", "other"])
def test_a_damaged_trie_is_named(tmp_path, damage):
    path = tmp_path / "trie.safetensors"
    save_trie(path, CodeTrie.build(np.arange(60).reshape(20, 3), np.arange(20)))
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-5] ^= 1
    if damage == "other":
        write_arrays(path, {"row_items": np.arange(3)})
    else:
        kept = {"cut": content[:-9], "flip": content, "empty": b"", "text": b"no arrays at all, but some words"}
        path.write_bytes(kept[damage])
    with pytest.raises(InputError, match=r"trie\.safetensors"):
        open_trie(path)


def test_a_trie_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="missing"):
        open_trie(tmp_path / "trie.safetensors")
