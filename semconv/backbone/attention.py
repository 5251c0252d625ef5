"""Which attention a model computes: PyTorch's fused one under a dense mask, or FlexAttention by blocks.

A row of shared histories is a trunk with many short branches: most of its mask is empty. FlexAttention neither reads nor
computes blocks that no query looks at. It has no backward pass on a CPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final, Literal

from torch import Tensor

from semconv.errors import SettingsError

Attention = Literal["sdpa", "flex"]
_NAMES: Final = {"sdpa": "sdpa", "flex": "flex_attention"}  # as transformers calls them


def inner_model(model: Any) -> Any:
    """The causal language model itself, of a plain one or of one wrapped by PEFT."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def require_attention(kind: Attention, device_type: str) -> None:
    """Refuse to train with an attention that the device has no backward pass for.

    Raises:
        SettingsError: flex on anything but a GPU.
    """
    if kind == "flex" and device_type != "cuda":
        raise SettingsError(
            f"tuning.attention = flex needs a CUDA GPU, this process computes on {device_type}; leave it at sdpa"
        )


@contextlib.contextmanager
def attending(model: Any, kind: Attention) -> Iterator[None]:
    """The model with another attention, backward passes and recomputed activations included."""
    config = inner_model(model).config
    before = config._attn_implementation
    config._attn_implementation = _NAMES[kind]
    try:
        yield
    finally:
        config._attn_implementation = before


def mask_for(model: Any, mask: Tensor) -> Any:
    """A bool mask ``(B, 1, T, S)`` in the form that the model's attention reads: itself, or its non-empty blocks."""
    if inner_model(model).config._attn_implementation != _NAMES["flex"]:
        return mask
    from torch.nn.attention.flex_attention import create_block_mask

    def looks_at(entry: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return mask[entry, 0, query, key]

    entries, _, queries, keys = mask.shape
    return create_block_mask(looks_at, entries, None, queries, keys, device=str(mask.device))
