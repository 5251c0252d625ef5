"""The attention kernels of training, which are PyTorch's fused attention (dense mask) and FlexAttention (block mask).

A training row holds one history and the ends of many prompts that begin with this history. So most entries of the
row's attention mask are False.
FlexAttention skips empty blocks of the mask. FlexAttention has no backward pass on a CPU.
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
    """Return the causal language model inside a PEFT wrapper, or the model itself if it has no wrapper."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def require_attention(kind: Attention, device_type: str) -> None:
    """Raise an error if the attention kernel has no backward pass on the device.

    Raises:
        SettingsError: the kernel is flex and there is no CUDA GPU.
    """
    if kind == "flex" and device_type != "cuda":
        raise SettingsError(
            f"tuning.attention = flex needs a CUDA GPU, but this process computes on {device_type}; set it to sdpa"
        )


@contextlib.contextmanager
def using_attention(model: Any, kind: Attention) -> Iterator[None]:
    """Switch the model to an attention kernel inside the ``with`` block. Backward passes must run in the block, too."""
    config = inner_model(model).config
    before = config._attn_implementation
    config._attn_implementation = _NAMES[kind]
    try:
        yield
    finally:
        config._attn_implementation = before


def mask_for(model: Any, mask: Tensor) -> Any:
    """Return a bool mask ``(B, 1, T, S)`` as the attention kernel reads it; FlexAttention reads a block mask."""
    if inner_model(model).config._attn_implementation != _NAMES["flex"]:
        return mask
    from torch.nn.attention.flex_attention import create_block_mask

    def is_visible(entry: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return mask[entry, 0, query, key]

    entries, _, queries, keys = mask.shape
    return create_block_mask(is_visible, entries, None, queries, keys, device=str(mask.device))
