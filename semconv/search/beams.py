"""The walks of a search down the code trie: with the best beams of each user, or along the paths of given items.

A walk goes one level of codes at a time, for all users of a batch. At each step ``NodeScorer`` computes the log
probabilities of the children of the nodes that the walk has reached. Both walks get the same scores for the same items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.errors import InputError
from semconv.ragged import find, position_among_equal
from semconv.search.code_scores import CodeScorer
from semconv.search.reader import BeamTree
from semconv.search.seen import SeenItems
from semconv.search.trie import CodeTrie
from semconv.search.trie_tensors import Children, TrieTensors


@dataclass(frozen=True)
class Frontier:
    """The nodes that a walk has reached: W nodes of the same depth for each of B users."""

    nodes: Tensor  # (B, W)
    codes: Tensor  # (B, W) the code that leads to each node
    ancestors: Tensor  # (B, W, depth - 1) cache slots of the earlier codes; slot 0 follows the prompt
    is_alive: Tensor  # (B, W) False for padding

    @classmethod
    def root(cls, batch: int, device: torch.device) -> Frontier:
        """Return the start of a walk: the root of the trie for each user."""
        nodes = torch.zeros((batch, 1), dtype=torch.long, device=device)
        return cls(nodes, nodes, nodes.new_zeros((batch, 1, 0)), torch.ones_like(nodes, dtype=torch.bool))


class Step(NamedTuple):
    """The scored children of the nodes ``(B, W)`` of a frontier."""

    children: Children
    log_probs: Tensor  # (B, W, F) float32 log probability of each child, given its parent
    slots: Tensor  # (B, W, depth) cache slots of the codes that lead to the parents


@dataclass(frozen=True)
class NodeScorer:
    """Computes the log probabilities of the children of nodes: the only source of scores in a search."""

    trie: TrieTensors
    code_scorer: CodeScorer

    def step(self, tree: BeamTree, frontier: Frontier, level: int) -> Step:
        """Score the children of the frontier's nodes, which are the codes of one level.

        The hidden state of the user scores the first codes. For later levels, the model first reads the code that led
        to each node. With ``recommend.scores = trie`` the model skips nodes with a single leaf below them: their only
        child has probability 1, and so has every node below it.
        """
        children = self.trie.children(frontier.nodes, level)
        if level == 0:
            log_probs = self.code_scorer.log_probs(tree.last_hidden[:, None, :], 0, children)
            return Step(children, log_probs, frontier.ancestors)
        tokens = self.code_scorer.tokens[level - 1][frontier.codes]
        if not self.code_scorer.among_siblings:
            hidden, slots = tree.read_nodes(tokens, frontier.ancestors)
            return Step(children, self.code_scorer.log_probs(hidden, level, children), slots)
        undecided = self.trie.has_branches(frontier.nodes, level) & frontier.is_alive
        count = int(undecided.sum(dim=1).max())
        pick = undecided.byte().argsort(dim=1, descending=True, stable=True)[:, :count]  # (B, W')
        log_probs = torch.zeros(children.codes.shape, device=pick.device)
        slots = frontier.ancestors.new_zeros((*frontier.nodes.shape, level))
        if count:
            hidden, picked_slots = tree.read_nodes(tokens.gather(1, pick), _rows(frontier.ancestors, pick))
            picked = Children(*(_rows(part, pick) for part in (children.nodes, children.codes, children.exists)))
            _put_rows(log_probs, pick, self.code_scorer.log_probs(hidden, level, picked))
            _put_rows(slots, pick, picked_slots)
        return Step(children, log_probs, slots)


def best_leaves(
    scorer: NodeScorer, tree: BeamTree, seen: SeenItems, width: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the leaves ``(B, W')`` of the best beams of each user and their scores, best first.

    Args:
        seen: the seen items of each user; a beam never enters a node if the user has seen all items below it.
        width: beam width W; fewer leaves are returned from a trie with fewer leaves.

    Raises:
        InputError: the model yields NaN.
    """
    frontier = Frontier.root(len(tree.lengths), tree.lengths.device)
    scores = torch.zeros(frontier.nodes.shape, device=frontier.nodes.device)  # (B, W)
    for level in range(seen.trie.levels):
        step = scorer.step(tree, frontier, level)
        grown = scores[:, :, None] + step.log_probs  # (B, W, F)
        grown.masked_fill_(~scorer.trie.may_enter(step.children, level), -torch.inf)
        seen.close(grown, frontier.nodes, level)
        scores, frontier = _best_children(grown, step, width)
    require_numbers(scores)
    return frontier.nodes.cpu().numpy(), scores.cpu().numpy()


def require_numbers(scores: Tensor) -> None:
    """Raise InputError if a model's scores contain NaN."""
    if bool(scores.isnan().any()):
        raise InputError(
            "the model yields NaN: its weights are damaged or its training diverged;"
            " `semconv run --refit` tunes a new model"
        )


def _best_children(scores: Tensor, step: Step, width: int) -> tuple[Tensor, Frontier]:
    """Return the ``width`` best children over all beams of each user: scores ``(B, W')``, and the new frontier."""
    flat = scores.flatten(1)  # (B, W * F)
    best, index = flat.topk(min(width, flat.shape[1]), dim=1)
    parent = index // scores.shape[2]
    nodes, codes = (tensor.flatten(1).gather(1, index) for tensor in (step.children.nodes, step.children.codes))
    return best, Frontier(nodes, codes, _rows(step.slots, parent), best > -torch.inf)


def score_given(
    scorer: NodeScorer,
    tree: BeamTree,
    trie: CodeTrie,
    given: NDArray[np.int64],
    found: tuple[NDArray[np.int32], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Return the scores ``(B, n)`` of given items, such as candidates of the blend, -inf for an item without codes.

    The model reads each code prefix of a user's items once.

    Args:
        given: ``(B, n)`` item_index, -1 for none.
        found: item_index ``(B, W)``, -1 for none, and scores of items that the beam search has found. The model does
            not score these items again.
    """
    result, is_new = _found_scores(given, *found)
    columns = np.argsort(~is_new, axis=1, kind="stable")[:, : int(is_new.sum(axis=1).max(initial=0))]  # (B, n')
    if not columns.shape[1]:
        return result
    items = np.take_along_axis(np.where(is_new, given, -1), columns, axis=1)
    rows = trie.row_of(items)
    paths = trie.paths(trie.leaf_of(np.maximum(rows, 0)))  # N x (B, n'); an item without codes takes the path of row 0
    device = tree.lengths.device
    frontier = Frontier.root(len(items), device)
    column = np.zeros(items.shape, dtype=np.int64)  # (B, n') column of the frontier with each item's first codes
    total = torch.zeros(items.shape, device=device)
    users = torch.arange(len(items), device=device)[:, None]
    for level, nodes in enumerate(paths):
        step = scorer.step(tree, frontier, level)
        parent = torch.from_numpy(column).to(device)
        node = torch.from_numpy(nodes.astype(np.int64)).to(device)
        total += step.log_probs[users, parent, node - step.children.nodes[users, parent, 0]]
        column, first = _distinct(nodes)
        chosen = torch.from_numpy(first).to(device)  # (B, W') one item below each new node
        reached = node.gather(1, chosen)
        codes = scorer.trie.child_codes[level][reached].long()
        slots = step.slots[users, parent.gather(1, chosen)]
        frontier = Frontier(reached, codes, slots, torch.ones_like(codes, dtype=torch.bool))
    scores = np.where(rows >= 0, total.cpu().numpy(), -np.inf)
    kept = np.take_along_axis(result, columns, axis=1)
    np.put_along_axis(result, columns, np.where(items >= 0, scores, kept), axis=1)
    return result


def _found_scores(
    given: NDArray[np.int64], items: NDArray[np.int32], scores: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the scores ``(B, n)`` of the given items that are among ``items`` ``(B, W)``, and which ones are not.

    Returns:
        scores, -inf for all other items, and whether there is an item that is not among ``items``.
    """
    result = np.full(given.shape, -np.inf, dtype=np.float32)
    size = int(max(given.max(initial=-1), items.max(initial=-1))) + 2  # one more for -1
    users = np.arange(len(given))[:, None] * size
    keys = (items + users + 1).ravel()
    order = np.argsort(keys)
    index, is_found = find(keys[order], given + users + 1)
    is_found &= given >= 0
    result[is_found] = scores.ravel()[order[index[is_found]]]
    return result, (given >= 0) & ~is_found


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


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """Return the rows ``(B, W', x)`` of a table ``(B, W, x)`` at ``index`` ``(B, W')``."""
    return table.gather(1, index[:, :, None].expand(-1, -1, table.shape[2]))


def _put_rows(table: Tensor, index: Tensor, rows: Tensor) -> None:
    """Write ``rows`` ``(B, W', x)`` into a table at ``index`` ``(B, W')``."""
    table.scatter_(1, index[:, :, None].expand(-1, -1, table.shape[2]), rows)
