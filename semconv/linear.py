"""Linear layers with random weights. This module needs nothing but torch, so that a machine that only trains can import it."""

from __future__ import annotations

import math

import torch
from torch import nn


@torch.no_grad()
def he_linear(fan_in: int, fan_out: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear layer with the random weights of He et al. for ReLU, and a bias of 0."""
    linear = nn.Linear(fan_in, fan_out, device="meta").to_empty(device="cpu")  # draws no random weights
    linear.weight.normal_(0.0, math.sqrt(2.0 / fan_in), generator=generator)
    linear.bias.zero_()
    return linear
