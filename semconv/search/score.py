"""Exact log probabilities of given items, the prompt read once; equal to the search's scores for the same items."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from semconv.ragged import find, position_among_equal
from semconv.search.frontier import Frontier, Steps
from semconv.search.tree import Tree
from semconv.search.trie import CodeTrie


def score_batch(steps: Steps, tree: Tree, trie: CodeTrie, items: NDArray[np.int64]) -> NDArray[np.float32]:
    """Scores ``(B, n)`` of items ``(B, n)`` after the prompts of ``tree``; prefixes that items share are read once."""
    rows = trie.row_of(items)
    paths = trie.paths(trie.leaf_of(np.maximum(rows, 0)))  # N x (B, n); an item without codes goes along with one
    batch, device = len(items), tree.prompts.lengths.device
    frontier = Frontier.root(batch, device)
    place = np.zeros(items.shape, dtype=np.int64)  # (B, n) where in the frontier each item's prefix stands
    total = torch.zeros(items.shape, device=device)
    users = torch.arange(batch, device=device)[:, None]
    for level, nodes in enumerate(paths):
        children = steps.trie.children(frontier.nodes, level)
        log_probs = steps.log_probs(tree, frontier, children, level)  # (B, W, F)
        parent = torch.from_numpy(place).to(device)
        node = torch.from_numpy(nodes.astype(np.int64)).to(device)
        total += log_probs[users, parent, node - children.nodes[users, parent, 0]]
        place, first = _distinct(nodes)
        chosen = torch.from_numpy(first).to(device)  # (B, W') an item of each new node
        nodes_left = node.gather(1, chosen)
        codes = steps.trie.child_codes[level][nodes_left].long()
        frontier = Frontier(
            nodes_left,
            codes,
            frontier.ancestors[users, parent.gather(1, chosen)],
            torch.ones_like(codes, dtype=torch.bool),
        )
    return np.where(rows >= 0, total.cpu().numpy(), -np.inf).astype(np.float32)


def score_others(
    steps: Steps, tree: Tree, trie: CodeTrie, others: NDArray[np.int64], known: tuple[NDArray[Any], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """``score_batch`` of items ``(B, n)``, -1 where there is none; those whose scores are ``known`` are not read again.

    Args:
        known: items and scores ``(B, W)``, item -1 where there is none.
    """
    items, scores = known
    result = np.full(others.shape, -np.inf, dtype=np.float32)
    size = int(max(others.max(initial=-1), items.max(initial=-1))) + 2  # one more for -1
    users = np.arange(len(others))[:, None] * size
    keys = (items + users + 1).ravel()
    order = np.argsort(keys)
    place, is_known = find(keys[order], others + users + 1)
    is_known &= others >= 0
    result[is_known] = scores.ravel()[order[place[is_known]]]
    is_new = (others >= 0) & ~is_known
    columns = np.argsort(~is_new, axis=1, kind="stable")[:, : int(is_new.sum(axis=1).max(initial=0))]  # (B, n')
    if columns.shape[1]:
        new = np.take_along_axis(np.where(is_new, others, -1), columns, axis=1)
        found = score_batch(steps, tree, trie, new)
        kept = np.take_along_axis(result, columns, axis=1)
        np.put_along_axis(result, columns, np.where(new >= 0, found, kept), axis=1)
    return result


def _distinct(keys: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the distinct keys of each row.

    Args:
        keys: ``(B, n)``, not negative.

    Returns:
        ``(B, n)`` number of each key within its row, and ``(B, W)`` a column where each number occurs,
        rows with fewer than W distinct keys padded with column 0.
    """
    batch, count = keys.shape
    row_keys = keys + np.arange(batch)[:, None] * (int(keys.max(initial=0)) + 1)
    _, first, inverse = np.unique(row_keys.ravel(), return_index=True, return_inverse=True)
    row = first // count
    place = position_among_equal(row)  # rows are sorted: keys grow with them
    columns = np.zeros((batch, int(place.max(initial=0)) + 1), dtype=np.int64)
    columns[row, place] = first % count
    return place[inverse].reshape(batch, count), columns
