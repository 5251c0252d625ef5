"""The forward pass of training and search: hidden states under a 4D attention mask, and the input and output matrices.

The forward pass calls the model's own decoder and reimplements no layer. This pass does not support sliding windows,
ALiBi or state-space caches, so ``load_backbone`` refuses models that use one of these.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from semconv.backbone.attention import inner_model, mask_for

WRITE_ROWS = "write_rows"  # attribute of an embedding layer: called before its matrix is read without a forward pass


@dataclass(frozen=True)
class ModelInput:
    """The input of one forward pass: T positions of each of B sequences.

    Attributes:
        tokens: ``(B, T)`` token ids, or None if ``embedded`` is given.
        positions: ``(B, T)`` position of each token in its sequence, from 0.
        mask: bool ``(B, 1, T, P + T)``, True where a query attends to a key; P tokens are in the cache already. None
            for a plain causal mask.
        embedded: ``(B, T, D)`` input embeddings instead of tokens.
    """

    tokens: Tensor | None
    positions: Tensor
    mask: Tensor | None = None
    embedded: Tensor | None = None

    @classmethod
    def causal(cls, tokens: Tensor | None, embedded: Tensor | None = None) -> ModelInput:
        """Return tokens ``(B, T)``, or input embeddings ``(B, T, D)``, that all begin at position 0."""
        read = tokens if embedded is None else embedded
        assert read is not None
        positions = torch.arange(read.shape[1], device=read.device).expand(read.shape[0], -1)
        return cls(tokens, positions, embedded=embedded)


def decoder(model: Any) -> nn.Module:
    """Return the decoder of a model, with or without a PEFT wrapper: all layers below the output matrix."""
    result: nn.Module = inner_model(model).get_decoder()
    return result


class _LastMlp(nn.Module):
    """The last layer's MLP in a compiled decoder. This MLP can compute one position of each sequence, or all.

    A forward hook cannot choose the position here, because compiled code ignores hooks that are added later.
    """

    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.mlp = mlp
        self.ends: Tensor | None = None  # (B,) the only positions to compute; None for all

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the MLP's output ``(B, T, D)``, or ``(B, 1, D)`` if ``ends`` chooses one position of each sequence."""
        if self.ends is not None:
            hidden = hidden[torch.arange(len(self.ends), device=hidden.device), self.ends][:, None]
        output: Tensor = self.mlp(hidden)
        return output


def compile_decoder(model: Any, backend: str = "inductor") -> None:
    """Compile the decoder in place, for any number of prompts of any length. The compiler runs during the first forward
    passes.

    Compiled code adds numbers in a different order, so hidden states change by rounding errors. Compile a model only
    for search: do not save or train a compiled model.
    """
    stack: Any = decoder(model)
    stack.layers[-1].mlp = _LastMlp(stack.layers[-1].mlp)
    stack.compile(dynamic=True, backend=backend)


def decode_hidden(model: Any, inputs: ModelInput, cache: Any | None = None) -> Tensor:
    """Compute the hidden states after the final norm, ``(B, T, D)``.

    Args:
        cache: a cache of transformers, extended in place; None for no cache.
    """
    output = decoder(model)(
        input_ids=inputs.tokens,
        inputs_embeds=inputs.embedded,
        attention_mask=None if inputs.mask is None else mask_for(model, inputs.mask),
        position_ids=inputs.positions,
        past_key_values=cache,
        use_cache=cache is not None,
    )
    hidden: Tensor = output.last_hidden_state
    return hidden


def decode_last(model: Any, inputs: ModelInput, ends: Tensor, cache: Any) -> Tensor:
    """Compute the hidden state ``(B, D)`` at one position of each sequence; ``cache`` gets the keys and values of all.

    The output of the last layer is not needed at other positions, so its MLP computes only the chosen positions.

    Args:
        ends: ``(B,)`` the index of the position among the T positions of ``inputs``.
    """
    layers: Any = decoder(model).layers
    last, entries = layers[-1].mlp, torch.arange(len(ends), device=ends.device)
    with _only_at_ends(last, entries, ends):
        hidden = decode_hidden(model, inputs, cache)  # (B, T, D)
    return hidden[entries, ends]


@contextlib.contextmanager
def _only_at_ends(mlp: nn.Module, entries: Tensor, ends: Tensor) -> Iterator[None]:
    """Compute the last layer's MLP only at the positions ``ends``; hidden states are wrong at all other positions."""
    if isinstance(mlp, _LastMlp):
        mlp.ends = ends
        try:
            yield
        finally:
            mlp.ends = None
        return
    hook = mlp.register_forward_pre_hook(lambda _, inputs: (inputs[0][entries, ends][:, None], *inputs[1:]))
    try:
        yield
    finally:
        hook.remove()


def input_matrix(model: Any) -> Tensor:
    """Return the input embeddings ``(V, D)``, with the token rows that an adapter trained, and with gradients.

    If a network computes rows of the matrix (``tuning.code_rows``), it writes them first.
    """
    layer = inner_model(model).get_input_embeddings()
    if (write_rows := getattr(layer, WRITE_ROWS, None)) is not None:
        write_rows()
    return _matrix(layer)


def output_matrix(model: Any) -> Tensor:
    """Return the output matrix ``(V, D)``, with the token rows that an adapter trained, and with gradients."""
    return _matrix(inner_model(model).get_output_embeddings())


def _matrix(layer: Any) -> Tensor:
    if hasattr(layer, "token_adapter"):  # PEFT keeps the trained rows apart from the frozen matrix
        merged: Tensor = layer.token_adapter.get_merged_weights(layer.token_adapter.active_adapters)
        return merged
    weight: Tensor = layer.weight
    return weight


def model_device(model: Any) -> torch.device:
    """Return the device that holds the model's weights."""
    device: torch.device = next(model.parameters()).device
    return device
