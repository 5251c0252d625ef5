"""The interaction graph of the train cut as sparse matrices, and the two products that run over its edges.

Edges are held once, users by items; the way back is the transposed matrix. The two products are each
other's derivatives: dot products of the ends of every edge, and sums over the neighbours weighted by a
value an edge. Nothing of size edges x width is ever held.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.data.store import Sequences
from semconv.errors import InputError
from semconv.ragged import offsets_of, row_of


@dataclass(frozen=True)
class InteractionGraph:
    """Distinct interactions, in the order of user and item."""

    user_index: NDArray[np.int32]  # (V,) users with an edge, ascending
    item_index: NDArray[np.int32]  # (M,) items with an edge, ascending
    user_starts: Tensor  # (V + 1,) first edge of each user
    item_of_edge: Tensor  # (E,) row of the item
    item_starts: Tensor  # (M + 1,) the same edges by item
    user_of_edge: Tensor  # (E,) row of the user, in the items' order
    by_item: Tensor  # (E,) which edge stands at each place of the items' order

    @classmethod
    def build(cls, sequences: Sequences, num_items: int) -> InteractionGraph:
        """The graph of ``sequences``, the train part alone; an item met twice is one edge.

        Raises:
            InputError: there is no interaction, or an index outside the catalogue.
        """
        if len(sequences.items) == 0:
            raise InputError("no interaction is left to train on; ingest more, or lower split.k_core")
        outside = (sequences.items >= num_items) | (sequences.items < 0)
        if outside.any():
            raise InputError(
                f"item_index {sequences.items[outside][0]} lies outside the {num_items} items of the catalogue"
            )
        users = row_of(sequences.lengths)
        pairs = np.unique(np.stack([users, sequences.items], axis=1), axis=0)  # (E, 2)
        user_index, rows = np.unique(pairs[:, 0], return_inverse=True)
        item_index, columns = np.unique(pairs[:, 1], return_inverse=True)
        by_item = np.argsort(columns, kind="stable")
        _quiet_beta_warning()
        return cls(
            user_index.astype(np.int32),
            item_index.astype(np.int32),
            _starts(rows, len(user_index)),
            torch.from_numpy(columns.astype(np.int32)),
            _starts(columns, len(item_index)),
            torch.from_numpy(rows[by_item].astype(np.int32)),
            torch.from_numpy(by_item),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Users and items, ``(V, M)``."""
        return len(self.user_index), len(self.item_index)

    @property
    def num_edges(self) -> int:
        """Distinct interactions E."""
        return len(self.item_of_edge)

    def to(self, device: torch.device) -> InteractionGraph:
        """The graph on a device."""
        names = ("user_starts", "item_of_edge", "item_starts", "user_of_edge", "by_item")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def degree_values(self) -> Tensor:
        """``(E,)`` 1 / sqrt(degree of the user x degree of the item)."""
        users, items = torch.diff(self.user_starts).float(), torch.diff(self.item_starts).float()
        user_rows = torch.repeat_interleave(torch.arange(len(users), device=users.device), users.long())
        return (users[user_rows] * items[self.item_of_edge.long()]).rsqrt()

    def sum_items(self, values: Tensor, items: Tensor) -> Tensor:
        """``(V, D)`` sum over a user's edges of value x item row."""
        matrix = torch.sparse_csr_tensor(
            self.user_starts, self.item_of_edge, values, self.shape, check_invariants=False
        )
        return matrix @ items

    def sum_users(self, values: Tensor, users: Tensor) -> Tensor:
        """``(M, D)`` sum over an item's edges of value x user row."""
        shape = self.shape[::-1]
        matrix = torch.sparse_csr_tensor(
            self.item_starts, self.user_of_edge, values[self.by_item], shape, check_invariants=False
        )
        return matrix @ users

    def dots(self, users: Tensor, items: Tensor) -> Tensor:
        """``(E,)`` dot product of the two ends of every edge."""
        pattern = torch.sparse_csr_tensor(
            self.user_starts,
            self.item_of_edge,
            torch.zeros(self.num_edges, dtype=users.dtype, device=users.device),
            self.shape,
            check_invariants=False,
        )
        products: Tensor = torch.sparse.sampled_addmm(pattern, users.contiguous(), items.t(), beta=0.0).values()
        return products


class EdgeDots(torch.autograd.Function):
    """``graph.dots`` with derivatives."""

    @staticmethod
    def forward(ctx: Any, users: Tensor, items: Tensor, graph: InteractionGraph) -> Tensor:
        """``(V, D), (M, D) -> (E,)``."""
        ctx.save_for_backward(users, items)
        ctx.graph = graph
        return graph.dots(users, items)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """To both ends of every edge."""
        users, items = ctx.saved_tensors
        values = gradients[0]
        return ctx.graph.sum_items(values, items), ctx.graph.sum_users(values, users), None


class SumItems(torch.autograd.Function):
    """``graph.sum_items`` with derivatives."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, items: Tensor, graph: InteractionGraph) -> Tensor:
        """``(E,), (M, D) -> (V, D)``."""
        ctx.save_for_backward(values, items)
        ctx.graph = graph
        return graph.sum_items(values, items)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """To the values, where wanted, and to the items."""
        values, items = ctx.saved_tensors
        to_users = gradients[0].contiguous()
        to_values = ctx.graph.dots(to_users, items) if ctx.needs_input_grad[0] else None
        return to_values, ctx.graph.sum_users(values, to_users), None


class SumUsers(torch.autograd.Function):
    """``graph.sum_users`` with derivatives."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, users: Tensor, graph: InteractionGraph) -> Tensor:
        """``(E,), (V, D) -> (M, D)``."""
        ctx.save_for_backward(values, users)
        ctx.graph = graph
        return graph.sum_users(values, users)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """To the values, where wanted, and to the users."""
        values, users = ctx.saved_tensors
        to_items = gradients[0].contiguous()
        to_values = ctx.graph.dots(users, to_items) if ctx.needs_input_grad[0] else None
        return to_values, ctx.graph.sum_items(values, to_items), None


def _starts(rows: NDArray[np.int64], count: int) -> Tensor:
    return torch.from_numpy(offsets_of(np.bincount(rows, minlength=count)).astype(np.int32))


def _quiet_beta_warning() -> None:
    """torch says once a process that sparse rows are in beta; nobody who uses this program can act on it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor(torch.tensor([0, 1]), torch.tensor([0]), torch.ones(1), (1, 1))
