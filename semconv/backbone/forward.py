"""The forward pass of training and search: hidden states under a 4D attention mask, and the output matrix.

The pass calls the model's own decoder and reimplements no layer. The pass does not support sliding windows, ALiBi or
state-space caches, so ``load_backbone`` refuses models that use them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from semconv.backbone.attention import inner_model, mask_for


def decoder(model: Any) -> nn.Module:
    """Return the decoder of a model, with or without a PEFT wrapper: all layers below the output matrix."""
    result: nn.Module = inner_model(model).get_decoder()
    return result


class _LastMlp(nn.Module):
    """The last layer's MLP in a compiled decoder, which can compute one position of each sequence only.

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
    """Compile the decoder in place, for any number of prompts of any length. The first forward passes compile it.

    Compiled code adds numbers in another order, so hidden states differ by rounding errors. Compile a model for search
    only: do not save or train it afterwards.
    """
    stack: Any = decoder(model)
    stack.layers[-1].mlp = _LastMlp(stack.layers[-1].mlp)
    stack.compile(dynamic=True, backend=backend)


def decode_hidden(
    model: Any,
    input_ids: Tensor | None,
    *,
    attention_mask: Tensor | None,
    position_ids: Tensor,
    cache: Any | None = None,
    embedded: Tensor | None = None,
) -> Tensor:
    """Compute the hidden states after the final norm, ``(B, T, D)``.

    Args:
        input_ids: ``(B, T)``; None with ``embedded``.
        attention_mask: bool ``(B, 1, T, P + T)``, True where a query attends to a key; P tokens are in the cache
            already. None for a plain causal mask.
        position_ids: ``(B, T)``.
        cache: a cache of transformers, extended in place; None for no cache.
        embedded: ``(B, T, D)`` input embeddings that are read instead of those of tokens.
    """
    output = decoder(model)(
        input_ids=input_ids,
        inputs_embeds=embedded,
        attention_mask=None if attention_mask is None else mask_for(model, attention_mask),
        position_ids=position_ids,
        past_key_values=cache,
        use_cache=cache is not None,
    )
    hidden: Tensor = output.last_hidden_state
    return hidden


def decode_last(
    model: Any, input_ids: Tensor, ends: Tensor, *, attention_mask: Tensor | None, position_ids: Tensor, cache: Any
) -> Tensor:
    """Compute the hidden state ``(B, D)`` at one position of each sequence; ``cache`` gets the keys and values of all.

    The output of the last layer is not needed at other positions, so its MLP computes the chosen positions only.

    Args:
        ends: ``(B,)`` the position, within ``input_ids``.
        input_ids, attention_mask, position_ids, cache: see ``decode_hidden``.
    """
    layers: Any = decoder(model).layers
    last, entries = layers[-1].mlp, torch.arange(len(ends), device=ends.device)
    with _only_at_ends(last, entries, ends):
        hidden = decode_hidden(
            model, input_ids, attention_mask=attention_mask, position_ids=position_ids, cache=cache
        )  # (B, T, D)
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


def output_matrix(model: Any) -> Tensor:
    """Return the output matrix ``(V, D)``, with the trained token rows of an adapter merged in. It has gradients."""
    head = inner_model(model).get_output_embeddings()
    if hasattr(head, "token_adapter"):  # PEFT keeps the trained rows apart from the frozen matrix
        merged: Tensor = head.token_adapter.get_merged_weights(head.token_adapter.active_adapters)
        return merged
    weight: Tensor = head.weight
    return weight


def model_device(model: Any) -> torch.device:
    """Return the device that holds the model's weights."""
    device: torch.device = next(model.parameters()).device
    return device
