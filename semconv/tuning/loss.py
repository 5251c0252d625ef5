"""Cross entropy over the label tokens of a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from semconv.backbone.forward import decode_hidden, output_matrix
from semconv.tuning.batches import Batch

_LOGITS_AT_ONCE = 64_000_000  # elements; beyond it the logits are computed in chunks and again in the backward pass


def batch_loss(model: Any, batch: Batch) -> Tensor:
    """Mean cross entropy over label tokens, the full vocabulary as the choice."""
    hidden = decode_hidden(model, batch.input_ids, attention_mask=batch.mask, position_ids=batch.position_ids)  # (B, S, D)
    asked = hidden.flatten(0, 1)[batch.label_index]  # (L, D)
    matrix = output_matrix(model)  # (V, D)
    chunk = max(1, _LOGITS_AT_ONCE // matrix.shape[0])
    if len(asked) <= chunk:
        return _summed(asked, matrix, batch.label_tokens) / len(asked)
    total = asked.new_zeros((), dtype=torch.float32)
    for start in range(0, len(asked), chunk):
        part = slice(start, start + chunk)
        total = total + checkpoint(_summed, asked[part], matrix, batch.label_tokens[part], use_reentrant=False)
    return total / len(asked)


def _summed(hidden: Tensor, matrix: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy((hidden @ matrix.t()).float(), labels, reduction="sum")
