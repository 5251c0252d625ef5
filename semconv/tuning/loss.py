"""Cross entropy over the label tokens of a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from semconv.backbone.forward import decode_hidden, output_matrix
from semconv.tuning.batches import Batch
from semconv.tuning.choices import CodeChoices

_LOGITS_AT_ONCE = 64_000_000  # elements; beyond it the logits are computed in chunks and again in the backward pass


def batch_loss(
    model: Any, batch: Batch, history_weight: float = 0.0, choices: CodeChoices | None = None
) -> tuple[Tensor, float]:
    """What is minimised, and the mean cross entropy over label tokens.

    Args:
        choices: what a code competes with; None is the method's full vocabulary, the end token included.
        history_weight: weight of a second mean, over the codes of the histories themselves, each predicted from
            what stands before it in the prompt. The method's loss is the label's alone (0); a model made from
            nothing learns transitions several times faster with it, at no further token.
    """
    hidden = decode_hidden(
        model, batch.input_ids, attention_mask=batch.mask, position_ids=batch.position_ids
    )  # (B, S, D)
    states = hidden.flatten(0, 1)
    matrix = output_matrix(model)  # (V, D)
    loss = label_loss = _part(states, matrix, batch.label_index, batch.label_tokens, choices, 1)
    if history_weight and len(batch.history_tokens):
        loss = loss + history_weight * _part(states, matrix, batch.history_index, batch.history_tokens, choices, 0)
    return loss, float(label_loss.detach())


def _part(
    states: Tensor, matrix: Tensor, index: Tensor, tokens: Tensor, choices: CodeChoices | None, ends: int
) -> Tensor:
    """Loss of one kind of label; ``ends`` tokens close each label, which leave nothing to choose among items."""
    if choices is None:
        return _mean(states[index], matrix, tokens)
    width = choices.num_levels
    index, tokens = (part.view(-1, width + ends)[:, :width] for part in (index, tokens))
    return choices.loss(states[index], matrix, tokens)


def _mean(asked: Tensor, matrix: Tensor, labels: Tensor) -> Tensor:
    chunk = max(1, _LOGITS_AT_ONCE // matrix.shape[0])
    if len(asked) <= chunk:
        return _summed(asked, matrix, labels) / len(asked)
    total = asked.new_zeros((), dtype=torch.float32)
    for start in range(0, len(asked), chunk):
        part = slice(start, start + chunk)
        total = total + checkpoint(_summed, asked[part], matrix, labels[part], use_reentrant=False)
    return total / len(asked)


def _summed(hidden: Tensor, matrix: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy((hidden @ matrix.t()).float(), labels, reduction="sum")
