"""Rows of the code tokens made from the codebooks by a small network that is trained with the model (paper, Table 7).

The paper maps the 32-wide code vectors to the model's width by "MLP-Relu-MLP" or "MLP-Relu-MLP-Relu-MLP" and trains
these modules and the code vectors in the fine-tuning. What it leaves open is filled as follows.

- One network for all levels, hidden layers as wide as the model, normal start, no bias at the start; the last layer
  is scaled so that the first rows have the root mean square of the input matrix.
- The rows stay what the network makes of the code vectors to the end of tuning. They are the input rows, and with
  tied matrices the output rows as well; an untied output matrix has rows of its own, drawn and trained as always.
- The network is folded into plain rows before the model is saved.

The model keeps plain matrices all the while: before a forward pass the rows are written into them, and their
gradient is handed on to the network, which by the chain rule is training the network itself. So full tuning and
adapters, search, checkpoints and saving need to know nothing of it.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semconv.backbone.forward import decoder

LAYERS = {"mlp2": 2, "mlp3": 3}
_NAME = "code_rows"


class RowNetwork(nn.Module):
    """Code vectors and the layers that map them: ``forward()`` gives the rows ``(N * C, width)``."""

    def __init__(self, books: NDArray[np.float32], width: int, layers: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.books = nn.Parameter(torch.from_numpy(books.reshape(-1, books.shape[2]).copy()))  # (N * C, D)
        sizes = [books.shape[2], *[width] * layers]
        self.linears = nn.ModuleList(_linear(*pair, generator) for pair in itertools.pairwise(sizes))

    def forward(self) -> Tensor:
        """Rows of all codes, level after level."""
        rows: Tensor = self.books
        for place, linear in enumerate(self.linears):
            rows = linear(torch.relu(rows) if place else rows)
        return rows

    @torch.no_grad()
    def scale_to(self, size: float) -> None:
        """Give the rows the root mean square ``size``; nothing to do while all of them are zero."""
        now = float(self.forward().pow(2).mean().sqrt())
        if now > 0:
            next(self.linears[-1].parameters()).mul_(size / now)  # the weight; the bias is zero


@torch.no_grad()
def _linear(fan_in: int, fan_out: int, generator: torch.Generator) -> nn.Module:
    linear = nn.Linear(fan_in, fan_out, device="meta").to_empty(device="cpu")  # draws nothing of its own
    linear.weight.normal_(0.0, math.sqrt(2.0 / fan_in), generator=generator)
    linear.bias.zero_()
    return linear


class CodeRows:
    """The tie between a model and the network that makes its rows, from ``prepare`` until ``fold``.

    Args:
        model: made ready by ``prepare``; the network becomes a part of it, so that its weights are trained, clipped,
            checkpointed and restored with the others.
        token_ids: ``(N, C)``.
        books: ``(N, C, D)``.
        layers: 2 or 3.
    """

    def __init__(self, model: Any, token_ids: NDArray[np.int64], books: NDArray[np.float32], layers: int, seed: int):
        embedding: Any = decoder(model).embed_tokens
        self.model = model
        self.target, self.index = _trained_rows(embedding, token_ids)
        self.network = RowNetwork(books, self.target.shape[1], layers, seed).to(self.target.device)
        self.network.scale_to(float(embedding.weight.detach().float().pow(2).mean().sqrt()))
        model.add_module(_NAME, self.network)
        self._rows: Tensor | None = None  # with their graph, from a forward pass to its backward pass
        self._handles = [
            embedding.register_forward_pre_hook(lambda *_: self._write()),
            self.target.register_post_accumulate_grad_hook(self._hand_on),  # type: ignore[no-untyped-call]
        ]
        with torch.no_grad():
            self._write()

    def fold(self) -> None:
        """Leave the last rows in the model and take the network out of it."""
        with torch.no_grad():
            self._write()
        for handle in self._handles:
            handle.remove()
        delattr(self.model, _NAME)

    def _write(self) -> None:
        """Bring the model's rows up to date, unless a backward pass through those that were written is still to come.

        An update of the network shows nowhere: fused optimizers leave a tensor's version as it is.
        """
        if self._rows is not None and torch.is_grad_enabled():
            return
        with torch.autocast(self.target.device.type, enabled=False):
            rows = self.network()  # (N * C, width)
        with torch.no_grad():
            self.target[self.index] = rows.to(self.target.dtype)
        self._rows = rows if rows.requires_grad else None

    def _hand_on(self, target: Tensor) -> None:
        """The gradient of the rows is the network's to learn from, and no longer the matrix's."""
        if self._rows is None or target.grad is None:
            return
        rows, self._rows = self._rows, None
        torch.autograd.backward([rows], [target.grad[self.index].to(rows.dtype)])
        target.grad[self.index] = 0


def _trained_rows(embedding: Any, token_ids: NDArray[np.int64]) -> tuple[nn.Parameter, Tensor]:
    """The parameter that holds the input rows of the code tokens, and which of its rows they are."""
    if not hasattr(embedding, "token_adapter"):
        matrix: nn.Parameter = embedding.weight
        return matrix, torch.from_numpy(token_ids.ravel()).to(matrix.device)
    adapter = embedding.token_adapter
    name = adapter.active_adapters[0]
    place = {int(token): row for row, token in enumerate(adapter.token_indices[name])}
    rows: nn.Parameter = adapter.trainable_tokens_delta[name]
    return rows, torch.tensor([place[int(token)] for token in token_ids.ravel()], device=rows.device)
