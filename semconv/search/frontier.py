"""The trie nodes that the beams of a batch of users have reached, and the log probabilities of their children."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semconv.search.beam_tree import BeamTree
from semconv.search.code_scores import CodeScorer
from semconv.search.trie_tensors import Children, TrieTensors


@dataclass
class Frontier:
    """W trie nodes of the same depth for each of B users: one for each beam."""

    nodes: Tensor  # (B, W)
    codes: Tensor  # (B, W) the code that leads to each node
    ancestors: Tensor  # (B, W, depth - 1) cache slots of the earlier codes; slot 0 follows the prompt
    is_alive: Tensor  # (B, W) False for padding

    @classmethod
    def root(cls, batch: int, device: torch.device) -> Frontier:
        """Return the start of a search: one beam for each user, at the root of the trie."""
        nodes = torch.zeros((batch, 1), dtype=torch.long, device=device)
        return cls(nodes, nodes, nodes.new_zeros((batch, 1, 0)), torch.ones_like(nodes, dtype=torch.bool))


@dataclass(frozen=True)
class ChildScorer:
    """Computes the log probabilities of the children of a frontier's nodes."""

    trie: TrieTensors
    code_scorer: CodeScorer

    def log_probs(self, tree: BeamTree, frontier: Frontier, children: Children, level: int) -> Tensor:
        """Return the log probabilities ``(B, W, F)`` of the children of the frontier's nodes.

        The model first reads the code that led to each node. The cache slots of these codes are added to
        ``frontier.ancestors``. With ``recommend.scores = trie`` the model skips nodes with a single leaf below them:
        their only child has probability 1, and so has every node below it.
        """
        if level == 0:
            return self.code_scorer.log_probs(tree.last_hidden[:, None, :], 0, children)
        tokens = self.code_scorer.tokens[level - 1][frontier.codes]
        if not self.code_scorer.among_siblings:
            hidden, frontier.ancestors = tree.read_nodes(tokens, frontier.ancestors)
            return self.code_scorer.log_probs(hidden, level, children)
        undecided = self.trie.has_branches(frontier.nodes, level) & frontier.is_alive
        count = int(undecided.sum(dim=1).max())
        pick = undecided.byte().argsort(dim=1, descending=True, stable=True)[:, :count]  # (B, W')
        result = torch.zeros(children.codes.shape, device=pick.device)
        paths = frontier.ancestors.new_zeros((*frontier.nodes.shape, level))
        if count:
            hidden, picked_paths = tree.read_nodes(tokens.gather(1, pick), _rows(frontier.ancestors, pick))
            picked = Children(*(_rows(part, pick) for part in (children.nodes, children.codes, children.exists)))
            _put_rows(result, pick, self.code_scorer.log_probs(hidden, level, picked))
            _put_rows(paths, pick, picked_paths)
        frontier.ancestors = paths
        return result


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """Return the rows ``(B, W', x)`` of a table ``(B, W, x)`` at ``index`` ``(B, W')``."""
    return table.gather(1, index[:, :, None].expand(-1, -1, table.shape[2]))


def _put_rows(table: Tensor, index: Tensor, rows: Tensor) -> None:
    """Write ``rows`` ``(B, W', x)`` into a table at ``index`` ``(B, W')``."""
    table.scatter_(1, index[:, :, None].expand(-1, -1, table.shape[2]), rows)
