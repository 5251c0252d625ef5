"""The forward pass that training and search share: hidden states under a 4D mask, rows of the output matrix.

It calls the model's own decoder, so no layer is written again here. What it does not know: masks of
sliding windows, ALiBi, state-space caches. Backbones with those are refused at load.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from semconv.backbone.attention import inner_model, mask_for


def decoder(model: Any) -> nn.Module:
    """The stack of layers below the output matrix, of a plain causal language model or of one wrapped by PEFT."""
    result: nn.Module = inner_model(model).get_decoder()
    return result


class _LastMlp(nn.Module):
    """The last layer's MLP in compiled code, where a hook would not do: torch does not look at hooks again."""

    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.mlp = mlp
        self.ends: Tensor | None = None  # (B,) the only places that are asked for, None for all

    def forward(self, hidden: Tensor) -> Tensor:
        """``(B, T, D)``, or ``(B, 1, D)`` of the ends."""
        if self.ends is not None:
            hidden = hidden[torch.arange(len(self.ends), device=hidden.device), self.ends][:, None]
        output: Tensor = self.mlp(hidden)
        return output


def compile_decoder(model: Any, backend: str = "inductor") -> None:
    """Compile the decoder in place, at its first passes, for any number of prompts of any length.

    Hidden states differ from those of the model as it is by the rounding of another order of sums. For search alone:
    the model is not to be saved or trained afterwards.
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
    """Last hidden states after the final norm, ``(B, T, D)``.

    Args:
        input_ids: ``(B, T)``.
        attention_mask: bool ``(B, 1, T, P + T)``, True where a query may look, P tokens being in the
            cache already; None for a plain causal mask.
        position_ids: ``(B, T)``.
        cache: a transformers cache that is extended in place, or None.
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
    """Last hidden state ``(B, D)`` at one place of each sequence, and all keys and values in ``cache``.

    Nothing looks at the last layer's output elsewhere, so its MLP, most of a layer's work, is given that place alone.

    Args:
        ends: ``(B,)`` the place, within ``input_ids``.
        input_ids, attention_mask, position_ids, cache: as of ``decode_hidden``.
    """
    layers: Any = decoder(model).layers
    last, entries = layers[-1].mlp, torch.arange(len(ends), device=ends.device)
    with _at_ends_alone(last, entries, ends):
        hidden = decode_hidden(
            model, input_ids, attention_mask=attention_mask, position_ids=position_ids, cache=cache
        )  # (B, T, D)
    return hidden[entries, ends]


@contextlib.contextmanager
def _at_ends_alone(mlp: nn.Module, entries: Tensor, ends: Tensor) -> Iterator[None]:
    """The last MLP is given one place of each sequence; its sum with ``(B, T, D)`` is right at that place."""
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
    """The output matrix ``(V, D)`` as the model applies it, adapters on token rows included; differentiable."""
    head = inner_model(model).get_output_embeddings()
    if hasattr(head, "token_adapter"):  # PEFT: the trained rows lie apart from the frozen matrix
        merged: Tensor = head.token_adapter.get_merged_weights(head.token_adapter.active_adapters)
        return merged
    weight: Tensor = head.weight
    return weight


def output_rows(model: Any, token_ids: Tensor) -> Tensor:
    """Rows ``(n, D)`` of the output matrix."""
    return output_matrix(model)[token_ids]


def model_device(model: Any) -> torch.device:
    """Where the weights lie."""
    device: torch.device = next(model.parameters()).device
    return device
