"""Test that one forward pass for two prompts with a shared beginning gives the same hidden states as separate passes.

Training and search compute prompts with a shared beginning in one pass, with a 4D mask and explicit positions. A model
that adds a boolean mask as numbers, or that ignores given positions, would give wrong results without an error.
"""

from __future__ import annotations

from typing import Any

import torch

from semconv.backbone.forward import ModelInput, decode_hidden, model_device
from semconv.errors import InputError

_TRUNK, _BRANCH = 5, 3  # number of tokens of the shared beginning, and of each end
_TOLERANCE = {
    torch.float32: 1e-3,
    torch.bfloat16: 1e-1,
    torch.float16: 3e-2,
}  # as a share of the states' standard deviation


@torch.no_grad()
def check_branches(model: Any, name: str) -> None:
    """Compute two prompts with a shared beginning in one pass and in separate passes, and compare the hidden states.

    Raises:
        InputError: the hidden states differ or are not finite.
    """
    device = model_device(model)
    tokens = torch.arange(1, _TRUNK + 2 * _BRANCH + 1, device=device) % model.get_input_embeddings().weight.shape[0]
    trunk, first, second = tokens.split([_TRUNK, _BRANCH, _BRANCH])
    mask = torch.ones(len(tokens), len(tokens), dtype=torch.bool, device=device).tril()
    mask[_TRUNK + _BRANCH :, _TRUNK : _TRUNK + _BRANCH] = False
    ahead = torch.arange(_TRUNK, _TRUNK + _BRANCH, device=device)
    positions = torch.cat([torch.arange(_TRUNK, device=device), ahead, ahead])
    shared = decode_hidden(model, ModelInput(tokens[None], positions[None], mask[None, None]))  # (1, S, D)
    if not torch.isfinite(shared).all():
        raise InputError(
            f"backbone {name}: it computes NaN or infinity, so its weights are damaged or too large for their number"
            " format; download the model again, or use another backbone"
        )
    for branch, states in ((first, shared[0, _TRUNK : _TRUNK + _BRANCH]), (second, shared[0, _TRUNK + _BRANCH :])):
        alone = torch.cat([trunk, branch])[None]
        plain = decode_hidden(model, ModelInput(alone, torch.arange(alone.shape[1], device=device)[None]))
        difference = (plain[0, _TRUNK:] - states).float().abs().max() / plain.float().std().clamp_min(1e-6)
        if not difference <= _TOLERANCE.get(plain.dtype, 1e-3):
            raise InputError(
                f"backbone {name}: prompts with a shared beginning get different hidden states in one pass than alone, because"
                " the model's attention ignores 4D masks or given positions; use another backbone"
            )
