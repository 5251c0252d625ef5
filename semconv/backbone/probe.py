"""Whether a backbone computes branches of a shared prompt as it computes them one after the other.

Everything here rests on 4D masks and explicit positions. An attention that reads a boolean mask as
numbers, or positions that it counts by itself, gives wrong figures and no error.
"""

from __future__ import annotations

from typing import Any

import torch

from semconv.backbone.forward import decode_hidden, model_device
from semconv.errors import InputError

_TRUNK, _BRANCH = 5, 3  # tokens
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 1e-1, torch.float16: 3e-2}  # share of the states' deviation


@torch.no_grad()
def check_branches(model: Any, name: str) -> None:
    """Compare two branches on one trunk with two plain passes.

    Raises:
        InputError: the hidden states differ.
    """
    device = model_device(model)
    tokens = torch.arange(1, _TRUNK + 2 * _BRANCH + 1, device=device) % model.get_input_embeddings().weight.shape[0]
    trunk, first, second = tokens.split([_TRUNK, _BRANCH, _BRANCH])
    mask = torch.ones(len(tokens), len(tokens), dtype=torch.bool, device=device).tril()
    mask[_TRUNK + _BRANCH :, _TRUNK : _TRUNK + _BRANCH] = False
    ahead = torch.arange(_TRUNK, _TRUNK + _BRANCH, device=device)
    positions = torch.cat([torch.arange(_TRUNK, device=device), ahead, ahead])
    shared = decode_hidden(model, tokens[None], attention_mask=mask[None, None], position_ids=positions[None])[
        0
    ]  # (S, D)
    for branch, states in ((first, shared[_TRUNK : _TRUNK + _BRANCH]), (second, shared[_TRUNK + _BRANCH :])):
        alone = torch.cat([trunk, branch])[None]
        plain = decode_hidden(
            model, alone, attention_mask=None, position_ids=torch.arange(alone.shape[1], device=device)[None]
        )
        difference = (plain[0, _TRUNK:] - states).float().abs().max() / plain.float().std().clamp_min(1e-6)
        if not difference <= _TOLERANCE.get(plain.dtype, 1e-3):
            raise InputError(
                f"backbone {name}: branches of a shared prompt come out otherwise than alone; "
                "its attention takes no 4D mask or no given positions, and it cannot be used"
            )
