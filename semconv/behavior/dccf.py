"""The model and loss of DCCF, the graph recommender from which the paper takes its behaviour vectors.

A layer takes the embeddings E of users and items, and returns the sum of five terms (docs/method.md, stage one). Here
A is the matrix of interactions, and D the diagonal matrix of degrees.

- the graph view g = D^-1/2 A D^-1/2 E;
- the intent view n = softmax(E C) C^T, with one matrix of intents C for users and one for items;
- A times E, where each edge of A has the weight (c + 1) / 2 with c the cosine of its user and item in g; the weights of
  a row are scaled to the sum 1;
- the same product, with the cosines in n instead of g;
- E itself.

The final vectors are the sum of E and the results of all layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

from semconv.behavior.graph import EdgeDots, EdgeSums, InteractionGraph
from semconv.settings.behavior import DccfSettings

_TINY = 1e-12
_ROWS = 512  # number of rows of scores that the contrastive loss computes at once; these fit into the CPU cache


@dataclass(frozen=True)
class Pair:
    """The vectors of all users and of all items."""

    users: Tensor  # (V, D)
    items: Tensor  # (M, D)

    def __add__(self, other: Pair) -> Pair:
        return Pair(self.users + other.users, self.items + other.items)


@dataclass(frozen=True)
class Triples:
    """A training batch: users, each with an item of an interaction (positive) and an item of none (negative)."""

    users: Tensor  # (B,)
    positives: Tensor  # (B,)
    negatives: Tensor  # (B,)


class Dccf(nn.Module):
    """The DCCF model: two embedding tables and two sets of intents."""

    def __init__(self, graph: InteractionGraph, dimensions: int, settings: DccfSettings, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self.graph = graph
        self.degree_values = graph.degree_values()
        generator = torch.Generator().manual_seed(seed)
        num_users, num_items = graph.shape

        def start(rows: int, columns: int) -> nn.Parameter:
            weights = torch.empty(rows, columns)
            nn.init.xavier_normal_(weights, generator=generator)
            return nn.Parameter(weights.to(graph.user_starts.device))

        self.users = start(num_users, dimensions)
        self.items = start(num_items, dimensions)
        self.user_intents = start(dimensions, settings.intents)
        self.item_intents = start(dimensions, settings.intents)

    def forward(self) -> tuple[Pair, list[tuple[Pair, list[Pair]]]]:
        """Return the final vectors, and the four views of each layer: the graph view, and a list of the others."""
        ego = Pair(self.users, self.items)
        total, views = ego, []
        for _ in range(self.settings.layers):
            by_graph = self._graph_view(ego)
            by_intent = Pair(_intent_view(ego.users, self.user_intents), _intent_view(ego.items, self.item_intents))
            masked = [self._masked_view(by_graph, ego), self._masked_view(by_intent, ego)]
            ego = by_graph + by_intent + masked[0] + masked[1] + ego
            total = total + ego
            views.append((by_graph, [by_intent, *masked]))
        return total, views

    def loss(self, batch: Triples) -> Tensor:
        """Return the loss, a scalar: the sum of its four terms."""
        settings = self.settings
        final, views = self()
        users = final.users.index_select(0, batch.users)  # (B, D)
        margin = (
            (final.items.index_select(0, batch.negatives) - final.items.index_select(0, batch.positives)) * users
        ).sum(1)
        ego = (
            self.users.index_select(0, batch.users).square().sum()
            + self.items.index_select(0, torch.cat([batch.positives, batch.negatives])).square().sum()
        )
        intents = self.user_intents.square().sum() + self.item_intents.square().sum()
        total: Tensor = softplus(margin).mean() + settings.ego_weight * ego + settings.intent_weight * intents
        if settings.contrast_weight > 0:
            total = total + settings.contrast_weight * self._contrast(views, batch)
        return total

    def _graph_view(self, ego: Pair) -> Pair:
        return Pair(
            _apply(EdgeSums, self.degree_values, ego.items, self.graph, True),
            _apply(EdgeSums, self.degree_values, ego.users, self.graph, False),
        )

    def _masked_view(self, view: Pair, ego: Pair) -> Pair:
        """Return the mean of the neighbours' vectors; weights grow with the cosine of user and item in ``view``."""
        cosines = _apply(EdgeDots, normalize(view.users), normalize(view.items), self.graph)
        weights = ((cosines + 1) / 2).clamp_min(0)  # (E,)
        return Pair(
            _weighted_mean(_apply(EdgeSums, weights, _with_ones(ego.items), self.graph, True)),
            _weighted_mean(_apply(EdgeSums, weights, _with_ones(ego.users), self.graph, False)),
        )

    def _contrast(self, views: list[tuple[Pair, list[Pair]]], batch: Triples) -> Tensor:
        """Return the sum of the InfoNCE losses that compare each of the three other views with the graph view.

        Each loss is the mean over the distinct users, or over the distinct items, of the batch.
        """
        users, items = torch.unique(batch.users), torch.unique(batch.positives)
        terms = []
        for by_graph, others in views:
            for other in others:
                for rows, anchor, view in ((users, by_graph.users, other.users), (items, by_graph.items, other.items)):
                    pair = (normalize(anchor.index_select(0, rows)), normalize(view.index_select(0, rows)))
                    terms.append(_apply(InfoNCE, *pair, self.settings.temperature))
        return torch.stack(terms).sum()


class InfoNCE(torch.autograd.Function):
    """The InfoNCE loss of anchors and other vectors, where row i of both belongs to the same user or item.

    The loss is the mean over anchors of -log p. Here p is the softmax, over an anchor's scores with all other vectors,
    of the score with the other vector in the anchor's row. Scores and derivatives are computed together in chunks of
    rows, so memory never holds all scores.
    """

    @staticmethod
    def forward(ctx: Any, anchors: Tensor, others: Tensor, temperature: float) -> Tensor:
        """Return the loss, a scalar, of anchors ``(n, D)`` and other vectors ``(n, D)``, all of length 1."""
        count = len(anchors)
        scale = 1.0 / (temperature * count)
        to_anchors, to_others = -others * scale, -anchors * scale
        total = -(anchors * others).sum() / temperature
        for start in range(0, count, _ROWS):
            rows = anchors[start : start + _ROWS]
            scores = (rows @ others.t()) / temperature  # (rows, n)
            highest = scores.amax(dim=1, keepdim=True)
            shares = scores.sub_(highest).exp_()
            sums = shares.sum(dim=1, keepdim=True)
            total = total + (sums.log() + highest).sum()
            shares.div_(sums)
            to_anchors[start : start + _ROWS] += (shares @ others) * scale
            to_others += (shares.t() @ rows) * scale
        ctx.save_for_backward(to_anchors, to_others)
        return total / count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Return the gradients of the loss with respect to the anchors and to the other vectors."""
        to_anchors, to_others = ctx.saved_tensors
        return gradients[0] * to_anchors, gradients[0] * to_others, None


def _apply(function: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    return cast("Tensor", function.apply(*arguments))  # type: ignore[no-untyped-call]


def _intent_view(rows: Tensor, intents: Tensor) -> Tensor:
    return torch.softmax(rows @ intents, dim=1) @ intents.t()


def _with_ones(rows: Tensor) -> Tensor:
    """Append a column of ones, whose weighted sum is the sum of the weights."""
    return torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)


def _weighted_mean(sums: Tensor) -> Tensor:
    return sums[:, :-1] / sums[:, -1:].clamp_min(_TINY)
