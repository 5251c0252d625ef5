"""The forward pass that training and search share: hidden states under a 4D mask, and the output matrix.

It calls the model's own decoder, so it repeats no layer. It does not support sliding windows, ALiBi and state-space
caches; loading refuses backbones that use them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from semconv.backbone.attention import inner_model, mask_for


def decoder(model: Any) -> nn.Module:
    """Return the stack of layers below the output matrix, with or without a wrapper of PEFT around the model."""
    result: nn.Module = inner_model(model).get_decoder()
    return result


class _LastMlp(nn.Module):
    """The last layer's MLP in a compiled decoder. A hook does not work there: compiled code ignores hooks added later."""

    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.mlp = mlp
        self.ends: Tensor | None = None  # (B,) the only positions to compute; None for all

    def forward(self, hidden: Tensor) -> Tensor:
        """Return ``(B, T, D)``, or ``(B, 1, D)`` at the ends."""
        if self.ends is not None:
            hidden = hidden[torch.arange(len(self.ends), device=hidden.device), self.ends][:, None]
        output: Tensor = self.mlp(hidden)
        return output


def compile_decoder(model: Any, backend: str = "inductor") -> None:
    """Compile the decoder in place, for any number of prompts of any length. The first passes do the compiling.

    Compiled code sums in another order, so hidden states differ by rounding. Only for search: do not save or train the
    model afterwards.
    """
    stack: Any = decoder(model)
    stack.layers[-1].mlp = _LastMlp(stack.layers[-1].mlp)
    stack.compile(dynamic=True, backend=backend)


def decode_hidden(
    model: Any,
    input_ids: Tensor,
    *,
    attention_mask: Tensor | None,
    position_ids: Tensor,
    cache: Any | None = None,
) -> Tensor:
    """Compute the hidden states after the final norm, ``(B, T, D)``.

    Args:
        input_ids: ``(B, T)``.
        attention_mask: bool ``(B, 1, T, P + T)``, True where a query attends to a key; P tokens are in the cache
            already. None for a plain causal mask.
        position_ids: ``(B, T)``.
        cache: a cache of transformers, extended in place; None for no cache.
    """
    output = decoder(model)(
        input_ids=input_ids,
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

    The last layer's output is not needed elsewhere. So its MLP, most of a layer's work, only computes these positions.

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
    """Compute the last MLP only at the ends. It is added to ``(B, T, D)``, and the sum is correct at the ends only."""
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
    """Return the output matrix ``(V, D)`` as the model applies it, including adapters on token rows. Differentiable."""
    head = inner_model(model).get_output_embeddings()
    if hasattr(head, "token_adapter"):  # PEFT keeps the trained rows apart from the frozen matrix
        merged: Tensor = head.token_adapter.get_merged_weights(head.token_adapter.active_adapters)
        return merged
    weight: Tensor = head.weight
    return weight


def model_device(model: Any) -> torch.device:
    """Return the device of the weights."""
    device: torch.device = next(model.parameters()).device
    return device
