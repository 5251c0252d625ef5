"""Cross entropy over the label tokens of a batch, as a sum. The sums of all batches of a step can be added up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from semconv.backbone.forward import ModelInput, decode_hidden, output_matrix
from semconv.tasks.registry import TASK_NAMES
from semconv.tuning.batches import Batch
from semconv.tuning.choices import CodeChoices

_LOGITS_AT_ONCE = 8_000_000  # more logits are computed in chunks, and again in the backward pass; so they need 0.1 GB


class LossSums(NamedTuple):
    """Weighted sums of the cross entropies of a batch. Gradients flow through the fields ``label`` and ``history``."""

    label: Tensor  # () sum over label tokens
    history: Tensor  # () sum over the codes of the histories
    by_task: Tensor  # (len(TASK_NAMES),) ``label`` split by task


class LossCounts(NamedTuple):
    """The numbers of tokens in the sums of ``LossSums``, or the sums of their weights if events have weights."""

    label: float
    history: float
    by_task: tuple[float, ...]  # one number for each of TASK_NAMES


class SummedLoss(nn.Module):
    """A model together with its loss. A training with several processes wraps this module for DDP or FSDP.

    Args:
        choices: the codes that a code competes with; None: the full vocabulary and the end token, as in the paper.
        history_weight: weight of a second mean, over the codes of the histories. Each code is predicted from the
            tokens before it in the prompt. The paper uses the labels alone (0). A model that starts from random weights
            learns transitions several times faster with the second mean, and the mean needs no additional tokens.
    """

    def __init__(self, model: Any, choices: CodeChoices | None = None, history_weight: float = 0.0) -> None:
        super().__init__()
        self.model = model
        self.choices = choices
        self.history_weight = history_weight

    def forward(self, batch: Batch) -> LossSums:
        """Return the summed cross entropies of one batch."""
        hidden = decode_hidden(self.model, ModelInput(batch.input_ids, batch.position_ids, batch.mask))  # (B, S, D)
        states = hidden.flatten(0, 1)
        matrix = output_matrix(self.model)  # (V, D)
        labels = self._losses(states, matrix, batch.label_index, batch.label_tokens, 1)
        if batch.sample_weights is not None:
            labels = labels * batch.sample_weights.repeat_interleave(
                len(labels.flatten()) // batch.num_samples
            ).view_as(labels)
        of_samples = labels.detach().view(batch.num_samples, -1).sum(dim=1)
        by_task = labels.new_zeros(len(TASK_NAMES)).index_add(0, batch.sample_tasks, of_samples)
        history = labels.new_zeros(())
        if self.history_weight and len(batch.history_tokens):
            each = self._losses(states, matrix, batch.history_index, batch.history_tokens, 0)
            if batch.history_weights is not None:
                each = each * batch.history_weights.view_as(each)
            history = each.sum()
        return LossSums(labels.sum(), history, by_task)

    def counts(self, batches: Iterable[Batch]) -> LossCounts:
        """Count the tokens in the summed losses of some batches."""
        samples: Any = np.zeros(len(TASK_NAMES), dtype=np.int64)
        history: float = 0
        a_sample = 0
        for batch in batches:
            samples = samples + count_tasks(batch.sample_tasks, batch.sample_weights)
            if self.history_weight:
                history += (
                    len(batch.history_tokens) if batch.history_weights is None else float(batch.history_weights.sum())
                )
            a_sample = len(batch.label_tokens) // batch.num_samples
        tokens = samples * (a_sample if self.choices is None else self.choices.num_levels)
        return LossCounts(tokens.sum().item(), history, tuple(tokens.tolist()))

    def weighted(self, sums: LossSums, counts: LossCounts) -> Tensor:
        """Return a batch's contribution to the mean loss of a step; ``counts`` are the token counts of the step."""
        loss = sums.label / max(1, counts.label)
        return loss + self.history_weight * (sums.history / counts.history) if counts.history else loss

    def _losses(self, states: Tensor, matrix: Tensor, index: Tensor, tokens: Tensor, ends: int) -> Tensor:
        """Return the loss of each token. With ``choices``, leave out the last ``ends`` tokens of each label."""
        if self.choices is None:
            return _in_chunks(states[index], matrix, tokens)
        width = self.choices.num_levels
        index, tokens = (part.view(-1, width + ends)[:, :width] for part in (index, tokens))
        return self.choices.losses(states[index], matrix, tokens)


def count_tasks(sample_tasks: Tensor, sample_weights: Tensor | None) -> NDArray[Any]:
    """Return the number of samples of each task, or the sum of their weights, ``(len(TASK_NAMES),)``."""
    weights = None if sample_weights is None else np.asarray(sample_weights, dtype=np.float64)
    return np.bincount(np.asarray(sample_tasks), weights, len(TASK_NAMES))


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
