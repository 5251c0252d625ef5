"""Nodes of one depth that a batch has reached, and the log probabilities of their children."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semconv.search.levels import LevelScorer
from semconv.search.tree import Tree
from semconv.search.trie_tensors import Children, TrieTensors


@dataclass
class Frontier:
    """W nodes of each of B users at one depth."""

    nodes: Tensor  # (B, W)
    codes: Tensor  # (B, W) code that led here
    ancestors: Tensor  # (B, W, depth - 1) cache slot, after the prompt, of each earlier code
    is_alive: Tensor  # (B, W) False where there is no node

    @classmethod
    def root(cls, batch: int, device: torch.device) -> Frontier:
        """Everyone at the root."""
        nodes = torch.zeros((batch, 1), dtype=torch.long, device=device)
        return cls(nodes, nodes, nodes.new_zeros((batch, 1, 0)), torch.ones_like(nodes, dtype=torch.bool))


@dataclass(frozen=True)
class Steps:
    """What a step down needs besides the user's own tree."""

    model: Any
    trie: TrieTensors
    scorer: LevelScorer

    def log_probs(self, tree: Tree, frontier: Frontier, children: Children, level: int) -> Tensor:
        """``(B, W, F)`` log probabilities of the frontier's children.

        The model reads the frontier's codes first, except those of nodes with one leaf below where siblings
        alone compete: their only child has probability 1, and so have all after it. The frontier's ancestors
        gain their own slots.
        """
        if level == 0:
            return self.scorer.log_probs(tree.prompts.last_hidden[:, None, :], 0, children)
        tokens = self.scorer.tokens[level - 1][frontier.codes]
        if not self.scorer.among_siblings:
            hidden, frontier.ancestors = tree.descend(self.model, tokens, frontier.ancestors)
            return self.scorer.log_probs(hidden, level, children)
        undecided = self.trie.has_branches(frontier.nodes, level) & frontier.is_alive
        count = int(undecided.sum(dim=1).max())
        pick = undecided.byte().argsort(dim=1, descending=True, stable=True)[:, :count]  # (B, W')
        result = torch.zeros(children.codes.shape, device=pick.device)
        lines = frontier.ancestors.new_zeros((*frontier.nodes.shape, level))
        if count:
            hidden, own = tree.descend(self.model, tokens.gather(1, pick), _rows(frontier.ancestors, pick))
            some = Children(*(_rows(part, pick) for part in (children.nodes, children.codes, children.exists)))
            _put_rows(result, pick, self.scorer.log_probs(hidden, level, some))
            _put_rows(lines, pick, own)
        frontier.ancestors = lines
        return result


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """``(B, W, x)`` and ``(B, W')`` -> ``(B, W', x)``."""
    return table.gather(1, index[:, :, None].expand(-1, -1, table.shape[2]))


def _put_rows(table: Tensor, index: Tensor, rows: Tensor) -> None:
    """Write ``rows`` ``(B, W', x)`` where ``_rows`` would read them."""
    table.scatter_(1, index[:, :, None].expand(-1, -1, table.shape[2]), rows)
