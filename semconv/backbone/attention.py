"""The attention that a model computes: PyTorch's fused attention under a dense mask, or FlexAttention by blocks.

A row of shared histories is a trunk with many short branches, so most of its mask is empty. FlexAttention skips the
blocks that no query attends to. It has no backward pass on a CPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final, Literal

from torch import Tensor

from semconv.errors import SettingsError

Attention = Literal["sdpa", "flex"]
_NAMES: Final = {"sdpa": "sdpa", "flex": "flex_attention"}  # names in transformers


def inner_model(model: Any) -> Any:
    """Return the causal language model itself, without the wrapper of PEFT if it has one."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def require_attention(kind: Attention, device_type: str) -> None:
    """Refuse an attention that has no backward pass on the device.

    Raises:
        SettingsError: flex without a CUDA GPU.
    """
    if kind == "flex" and device_type != "cuda":
        raise SettingsError(
            f"tuning.attention = flex needs a CUDA GPU, this process computes on {device_type}; set it to sdpa"
        )


@contextlib.contextmanager
def using_attention(model: Any, kind: Attention) -> Iterator[None]:
    """Compute with another attention inside the ``with``, also in backward passes and recomputed activations."""
    config = inner_model(model).config
    before = config._attn_implementation
    config._attn_implementation = _NAMES[kind]
    try:
        yield
    finally:
        config._attn_implementation = before


def mask_for(model: Any, mask: Tensor) -> Any:
    """Return a bool mask ``(B, 1, T, S)`` in the form that the model's attention reads: as it is, or as its non-empty blocks."""
    if inner_model(model).config._attn_implementation != _NAMES["flex"]:
        return mask
    from torch.nn.attention.flex_attention import create_block_mask

    def is_visible(entry: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return mask[entry, 0, query, key]

    entries, _, queries, keys = mask.shape
    return create_block_mask(is_visible, entries, None, queries, keys, device=str(mask.device))
