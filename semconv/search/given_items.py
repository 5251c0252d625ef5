"""Scores of given items, such as candidates of the blend, after prompts that the model has read already.

A score is the sum of the log probabilities of an item's codes (``code_scores``). The search gives the same items the
same scores.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from semconv.ragged import find, position_among_equal
from semconv.search.beam_tree import BeamTree
from semconv.search.frontier import ChildScorer, Frontier
from semconv.search.trie import CodeTrie


def score_others(
    scorer: ChildScorer,
    tree: BeamTree,
    trie: CodeTrie,
    others: NDArray[np.int64],
    known: tuple[NDArray[Any], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Return the scores ``(B, n)`` of the given items, -inf for an item without codes.

    Args:
        others: ``(B, n)`` item_index of the given items, -1 for none.
        known: item_index ``(B, W)``, -1 for none, and scores of items that the search has found. The model does not
            score these items again.
    """
    items, scores = known
    result = np.full(others.shape, -np.inf, dtype=np.float32)
    size = int(max(others.max(initial=-1), items.max(initial=-1))) + 2  # one more for -1
    users = np.arange(len(others))[:, None] * size
    keys = (items + users + 1).ravel()
    order = np.argsort(keys)
    index, is_known = find(keys[order], others + users + 1)
    is_known &= others >= 0
    result[is_known] = scores.ravel()[order[index[is_known]]]
    is_new = (others >= 0) & ~is_known
    columns = np.argsort(~is_new, axis=1, kind="stable")[:, : int(is_new.sum(axis=1).max(initial=0))]  # (B, n')
    if columns.shape[1]:
        new = np.take_along_axis(np.where(is_new, others, -1), columns, axis=1)
        found = _score(scorer, tree, trie, new)
        kept = np.take_along_axis(result, columns, axis=1)
        np.put_along_axis(result, columns, np.where(new >= 0, found, kept), axis=1)
    return result


def _score(scorer: ChildScorer, tree: BeamTree, trie: CodeTrie, items: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the scores ``(B, n)`` of items ``(B, n)``; the model reads each code prefix of a user's items once."""
    rows = trie.row_of(items)
    paths = trie.paths(trie.leaf_of(np.maximum(rows, 0)))  # N x (B, n); an item without codes takes the path of row 0
    batch, device = len(items), tree.lengths.device
    frontier = Frontier.root(batch, device)
    column = np.zeros(items.shape, dtype=np.int64)  # (B, n) column of the frontier with each item's first codes
    total = torch.zeros(items.shape, device=device)
    users = torch.arange(batch, device=device)[:, None]
    for level, nodes in enumerate(paths):
        children = scorer.trie.children(frontier.nodes, level)
        log_probs = scorer.log_probs(tree, frontier, children, level)  # (B, W, F)
        parent = torch.from_numpy(column).to(device)
        node = torch.from_numpy(nodes.astype(np.int64)).to(device)
        total += log_probs[users, parent, node - children.nodes[users, parent, 0]]
        column, first = _distinct(nodes)
        chosen = torch.from_numpy(first).to(device)  # (B, W') one item below each new node
        next_nodes = node.gather(1, chosen)
        codes = scorer.trie.child_codes[level][next_nodes].long()
        frontier = Frontier(
            next_nodes,
            codes,
            frontier.ancestors[users, parent.gather(1, chosen)],
            torch.ones_like(codes, dtype=torch.bool),
        )
    return np.where(rows >= 0, total.cpu().numpy(), -np.inf).astype(np.float32)


def _distinct(keys: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the distinct keys of each row.

    Args:
        keys: ``(B, n)``, not negative.

    Returns:
        numbers ``(B, n)``: equal keys of a row have equal numbers, from 0; and columns ``(B, W)``: for each number of a
        row, a column of ``keys`` with that key. Rows with fewer than W distinct keys are padded with column 0.
    """
    batch, count = keys.shape
    row_keys = keys + np.arange(batch)[:, None] * (int(keys.max(initial=0)) + 1)
    _, first, inverse = np.unique(row_keys.ravel(), return_index=True, return_inverse=True)
    row = first // count  # ascending, because the keys of a row are larger than those of earlier rows
    number = position_among_equal(row)
    columns = np.zeros((batch, int(number.max(initial=0)) + 1), dtype=np.int64)
    columns[row, number] = first % count
    return number[inverse].reshape(batch, count), columns
