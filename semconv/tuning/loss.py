"""Cross entropy over the label tokens of a batch, as sums that batches of one step can be added up from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from semconv.backbone.forward import decode_hidden, output_matrix
from semconv.tasks.trees import TASKS
from semconv.tuning.batches import Batch
from semconv.tuning.choices import CodeChoices

_LOGITS_AT_ONCE = 64_000_000  # elements; beyond it the logits are computed in chunks and again in the backward pass


class LossSums(NamedTuple):
    """Summed cross entropies of a batch; the first two are differentiable."""

    label: Tensor  # () over label tokens
    history: Tensor  # () over the codes of the histories themselves
    by_task: Tensor  # (len(TASKS),) the first one, by task


class LossCounts(NamedTuple):
    """How many tokens the sums of a batch are over."""

    label: int
    history: int
    by_task: tuple[int, ...]  # as long as TASKS


class SummedLoss(nn.Module):
    """A model with its loss on top: what is wrapped when several processes train it.

    Args:
        choices: what a code competes with; None is the method's full vocabulary, the end token included.
        history_weight: weight of a second mean, over the codes of the histories themselves, each predicted from
            what stands before it in the prompt. The method's loss is the label's alone (0); a model made from
            nothing learns transitions several times faster with it, at no further token.
    """

    def __init__(self, model: Any, choices: CodeChoices | None = None, history_weight: float = 0.0) -> None:
        super().__init__()
        self.model = model
        self.choices = choices
        self.history_weight = history_weight

    def forward(self, batch: Batch) -> LossSums:
        """Sums over one batch."""
        hidden = decode_hidden(
            self.model, batch.input_ids, attention_mask=batch.mask, position_ids=batch.position_ids
        )  # (B, S, D)
        states = hidden.flatten(0, 1)
        matrix = output_matrix(self.model)  # (V, D)
        labels = self._losses(states, matrix, batch.label_index, batch.label_tokens, 1)
        of_samples = labels.detach().view(batch.num_samples, -1).sum(dim=1)
        by_task = labels.new_zeros(len(TASKS)).index_add(0, batch.sample_tasks, of_samples)
        history = labels.new_zeros(())
        if self.history_weight and len(batch.history_tokens):
            history = self._losses(states, matrix, batch.history_index, batch.history_tokens, 0).sum()
        return LossSums(labels.sum(), history, by_task)

    def counts(self, parts: Iterable[Batch]) -> LossCounts:
        """Tokens that the loss of batches is over."""
        samples, history, a_sample = np.zeros(len(TASKS), dtype=np.int64), 0, 0
        for part in parts:
            samples += np.bincount(np.asarray(part.sample_tasks), minlength=len(TASKS))
            history += len(part.history_tokens) if self.history_weight else 0
            a_sample = len(part.label_tokens) // part.num_samples
        tokens = samples * (a_sample if self.choices is None else self.choices.num_levels)
        return LossCounts(int(tokens.sum()), history, tuple(tokens.tolist()))

    def weighted(self, sums: LossSums, counts: LossCounts) -> Tensor:
        """The share of a batch in the loss of all tokens that are counted."""
        loss = sums.label / max(1, counts.label)
        return loss + self.history_weight * (sums.history / counts.history) if counts.history else loss

    def _losses(self, states: Tensor, matrix: Tensor, index: Tensor, tokens: Tensor, ends: int) -> Tensor:
        """Loss of each token; ``ends`` tokens close each label, which leave nothing to choose among items."""
        if self.choices is None:
            return _in_chunks(states[index], matrix, tokens)
        width = self.choices.num_levels
        index, tokens = (part.view(-1, width + ends)[:, :width] for part in (index, tokens))
        return self.choices.losses(states[index], matrix, tokens)


def batch_loss(
    model: Any, batch: Batch, history_weight: float = 0.0, choices: CodeChoices | None = None
) -> tuple[Tensor, float]:
    """The loss of one batch alone, and the mean cross entropy over its label tokens (``SummedLoss`` says of what)."""
    summed = SummedLoss(model, choices, history_weight)
    sums, counts = summed(batch), summed.counts([batch])
    return summed.weighted(sums, counts), float(sums.label.detach() / counts.label)


def _in_chunks(asked: Tensor, matrix: Tensor, labels: Tensor) -> Tensor:
    chunk = max(1, _LOGITS_AT_ONCE // matrix.shape[0])
    if len(asked) <= chunk:
        return _each(asked, matrix, labels)
    parts = [
        checkpoint(_each, asked[start : start + chunk], matrix, labels[start : start + chunk], use_reentrant=False)
        for start in range(0, len(asked), chunk)
    ]
    return torch.cat(parts)


def _each(hidden: Tensor, matrix: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy((hidden @ matrix.t()).float(), labels, reduction="none")
