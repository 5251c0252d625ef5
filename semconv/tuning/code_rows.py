"""A small network that computes the embedding rows of the code tokens from the codebooks (paper, Table 7).

The paper maps the 32-dimensional code vectors to the model's width by "MLP-Relu-MLP" or "MLP-Relu-MLP-Relu-MLP". The
paper trains these networks and the code vectors together with the model, and gives no further details.

In semconv, one network serves all levels. The hidden layers of the network are as wide as the model. Initial weights
are normally distributed and initial biases are zero. The last layer is scaled so that the initial rows have the same
root mean square as the input matrix.

The network computes the rows of code tokens in the input matrix until tuning ends. If input and output matrix are tied,
these rows are also rows of the output matrix. An untied output matrix has its own rows, which are drawn and trained in
the same way as without the network. Before the model is saved, the final rows are written into it and the network is
removed.

During tuning, the model's embedding matrices stay ordinary parameters. Before each forward pass, and before
``input_matrix`` reads the input matrix, the network's rows are written into the model's matrices. After the backward
pass the gradient of the rows is passed on to the network. So full tuning, adapters, search, checkpoints and saving need
no special code for the network.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semconv.backbone.forward import WRITE_ROWS, decoder
from semconv.linear import he_linear

LAYERS = {"mlp2": 2, "mlp3": 3}
_NAME = "code_rows"


class RowNetwork(nn.Module):
    """The code vectors, and the layers that map code vectors to embedding rows ``(N * C, width)``."""

    def __init__(self, books: NDArray[np.float32], width: int, layers: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.books = nn.Parameter(torch.from_numpy(books.reshape(-1, books.shape[2]).copy()))  # (N * C, D)
        sizes = [books.shape[2], *[width] * layers]
        self.linears = nn.ModuleList(he_linear(*pair, generator) for pair in itertools.pairwise(sizes))

    def forward(self) -> Tensor:
        """Return the embedding rows of all codes, level after level."""
        rows: Tensor = self.books
        for index, linear in enumerate(self.linears):
            rows = linear(torch.relu(rows) if index else rows)
        return rows

    @torch.no_grad()
    def scale_to(self, size: float) -> None:
        """Scale the rows to the root mean square ``size``, unless all rows are zero."""
        current = float(self.forward().pow(2).mean().sqrt())
        if current > 0:
            next(self.linears[-1].parameters()).mul_(size / current)  # the weight; the bias is zero


class CodeRows:
    """A link between a model and the network that computes the rows of code tokens; ``fold`` ends the link.

    Args:
        model: the result of ``prepare``. The network becomes a part of the model, so that the network's weights are
            trained, clipped, saved and restored like all other weights.
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
        self._embedding = embedding
        setattr(embedding, WRITE_ROWS, self._write)
        self._rows: Tensor | None = None  # the rows with their graph, between a forward pass and its backward pass
        self._handles = [
            embedding.register_forward_pre_hook(lambda *_: self._write()),
            self.target.register_post_accumulate_grad_hook(self._pass_gradient),  # type: ignore[no-untyped-call]
        ]
        with torch.no_grad():
            self._write()

    def fold(self) -> None:
        """Write the final rows into the model and remove the network from it."""
        with torch.no_grad():
            self._write()
        for handle in self._handles:
            handle.remove()
        delattr(self._embedding, WRITE_ROWS)
        delattr(self.model, _NAME)

    def _write(self) -> None:
        """Write the network's rows into the model, unless a backward pass through the current rows is still to come.

        The rows are written before every forward pass, because changed network weights cannot be detected: fused
        optimizers do not raise the version number of a tensor.
        """
        if self._rows is not None and torch.is_grad_enabled():
            return
        with torch.autocast(self.target.device.type, enabled=False):
            rows = self.network()  # (N * C, width)
        with torch.no_grad():
            self.target[self.index] = rows.to(self.target.dtype)
        self._rows = rows if rows.requires_grad else None

    def _pass_gradient(self, target: Tensor) -> None:
        """Pass the gradient of the rows on to the network, and set the rows of the matrix's gradient to zero."""
        if self._rows is None or target.grad is None:
            return
        rows, self._rows = self._rows, None
        torch.autograd.backward([rows], [target.grad[self.index].to(rows.dtype)])
        target.grad[self.index] = 0


def _trained_rows(embedding: Any, token_ids: NDArray[np.int64]) -> tuple[nn.Parameter, Tensor]:
    """Return the parameter that contains the input rows of the code tokens, and the indices of these rows in it."""
    if not hasattr(embedding, "token_adapter"):
        matrix: nn.Parameter = embedding.weight
        return matrix, torch.from_numpy(token_ids.ravel()).to(matrix.device)
    adapter = embedding.token_adapter
    name = adapter.active_adapters[0]
    row_of = {int(token): row for row, token in enumerate(adapter.token_indices[name])}
    rows: nn.Parameter = adapter.trainable_tokens_delta[name]
    return rows, torch.tensor([row_of[int(token)] for token in token_ids.ravel()], device=rows.device)
