"""Train a decoder on histories as items: each position predicts the next item among all items.

The tasks with text train the same head: the last token of a prompt predicts its item.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semconv.backbone.forward import ModelInput, decode_hidden, input_matrix
from semconv.data.calendar import Calendar
from semconv.item_head.epoch import (
    ItemBatch,
    ItemRows,
    LabelMoments,
    LabelSuccessors,
    TextSamples,
    windows_with_labels,
)
from semconv.item_head.parts import NAME, ItemInputs, ItemParts
from semconv.item_head.popularity import ItemEvents, MomentTable
from semconv.item_head.recipe import num_sampled
from semconv.item_head.sampler import ItemSampler
from semconv.item_head.sequences import DatedSequences, Windows
from semconv.item_head.softmax import Labels, Popularity, Successors, item_losses, products_in
from semconv.item_head.successors import SuccessorTable
from semconv.settings.tasks import TaskSettings
from semconv.settings.tuning import TuningSettings
from semconv.tasks.data import TaskData
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.history_tasks import HISTORY_TASKS
from semconv.tasks.plan import Stream, continued_epoch, generator, plan_texts
from semconv.tasks.registry import TASK_NAMES
from semconv.tasks.rows import RowBuilder
from semconv.tuning.loss import LossCounts, LossSums, count_tasks


@dataclass(frozen=True)
class ItemForm:
    """Histories as items, with one label at each position.

    Attributes:
        data: the training sequences, and the prompts with text.
        encoder: makes the tokens of the prompts with text.
        tasks: which tasks are on, and the shares of their samples.
        history_length: largest number of items that the decoder reads.
        calendar: the periods of the model.
        pad: the token that fills up short prompts.
        num_latest: number K of latest items whose successors are scored; 0 for none.
        successors: the counts of the training sequences, if they are made already.
    """

    data: TaskData
    encoder: PromptEncoder
    tasks: TaskSettings
    history_length: int
    calendar: Calendar
    pad: int
    num_latest: int = 0
    successors: SuccessorTable | None = None

    @cached_property
    def sequences(self) -> DatedSequences:
        """The training sequences with their dates."""
        data = self.data
        return DatedSequences.of(data.offsets, data.items, data.times, self.calendar, data.weights)

    @cached_property
    def windows(self) -> Windows:
        """The windows of all training sequences."""
        return Windows.of(self.data.offsets, self.history_length)

    @cached_property
    def table(self) -> MomentTable:
        """The popularity of all items at the moments of the training; without dates, only the unknown moment."""
        days, items, weights = self.sequences.days, self.data.items, self.data.weights
        if self.calendar.num_periods == 0:
            days, items, weights = days[:0], items[:0], None
        return MomentTable.on_grid(ItemEvents.of(days, items, self.data.num_items, weights))

    @cached_property
    def labels(self) -> LabelSuccessors:
        """What the labels know of the successors of the items before them.

        A search knows only the items that the decoder reads, so the successors of earlier items do not count here either.
        """
        num_latest = min(self.num_latest, self.history_length)
        return LabelSuccessors.of(self.sequences, self.data.num_items, num_latest, self.successors)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Training interactions of each item ``(I,)``."""
        return np.bincount(self.data.items, minlength=self.data.num_items)

    def rows(self, epoch: int) -> ItemRows:
        """Return the windows and the prompts with text of an epoch."""
        number, seed = continued_epoch(self.data, epoch), self.tasks.seed
        is_label = self.data.is_label if self.tasks.sequential else np.zeros_like(self.data.is_label)
        if self.data.replay is not None:
            users = len(self.data.offsets) - 1
            drawn = generator(seed, number, Stream.REPLAYED_USERS)
            is_label = is_label & self.data.replay.draw_rows(self.data.users(), users, drawn)
        moments = LabelMoments.draw(self.sequences, self.calendar, self.table, generator(seed, number, Stream.MOMENTS))
        windows = windows_with_labels(self.windows, is_label)
        return ItemRows(self.sequences, windows, is_label, moments, self._texts(epoch), self.labels)

    def batches(self, rows: ItemRows, settings: TuningSettings, epoch: int) -> list[list[int]]:
        """Return the row numbers of each batch."""
        return rows.batches(settings.batch_tokens, settings.seed, epoch)

    def collate(self, rows: ItemRows) -> ItemBatch:
        """Return the tensors of some rows."""
        return rows.collate(self.pad)

    def loss(self, model: Any, settings: TuningSettings) -> ItemLoss:
        """Return the cross entropy of the next items."""
        candidates = np.flatnonzero(self.counts)
        sampler = ItemSampler(candidates, self.counts[candidates], num_sampled(settings, len(candidates)))
        features = torch.from_numpy(self.table.features)
        return ItemLoss(model, sampler, features, settings)

    def _texts(self, epoch: int) -> TextSamples:
        """Tokenize the drawn prompts with text. Their items have training interactions, as all items of the softmax."""
        plan = plan_texts(self.data, self.tasks, epoch)
        plan = plan.select(np.flatnonzero(self.counts[plan.item] > 0))
        builder = RowBuilder(self.encoder, self.data, self.tasks)
        tokens, lengths = self.encoder.tokenize(map(builder.text_prompt, plan))
        samples = TextSamples(tokens, lengths, plan.item, len(HISTORY_TASKS) + plan.task)
        return samples.select(np.flatnonzero((lengths > 0) & (lengths <= self.tasks.max_prompt_tokens)))


class ItemLoss(nn.Module):
    """A decoder with its item parts and the loss of the next items.

    Args:
        model: the decoder, with an ``ItemParts`` as its module ``item_parts``.
        sampler: draws the items among which a label is chosen.
        features: ``(M + 1, 4, I)`` of ``MomentTable``.
        settings: dropout of the inputs and of the own rows, and the number format of the scores' factors.
    """

    history_weight = 0.0
    features: Tensor  # (M + 1, 4, I)

    def __init__(self, model: Any, sampler: ItemSampler, features: Tensor, settings: TuningSettings) -> None:
        super().__init__()
        self.model = model
        self._settings = settings
        self._sampler = sampler
        self.register_buffer("features", features, persistent=False)

    def forward(self, batch: ItemBatch) -> LossSums:
        """Return the summed cross entropies of one batch."""
        parts: ItemParts = getattr(self.model, NAME)
        choice = self._sampler.draw(batch.labels)
        items = torch.unique(torch.cat([choice.items, batch.items.flatten()]))
        vectors = parts.vectors(input_matrix(self.model), items, self._settings.own_row_dropout)  # (m, D)
        of_histories = self._history_states(parts, batch, items, vectors)
        states = torch.cat([of_histories, self._text_states(batch, vectors)])  # (n + X, D)
        unknown = len(self.features) - 1
        moments = torch.cat([batch.moments, batch.moments.new_full((len(batch.ends),), unknown)])
        chosen = vectors[torch.searchsorted(items, choice.items)]  # (J, D)
        weights = parts.popularity_weights(states)
        popularity = None if weights is None else Popularity(weights, self.features, moments)
        successors = None
        if (followed := parts.successor_weights(states)) is not None:
            entries = (batch.entries, batch.kinds, batch.followers, batch.values)
            successors = Successors(followed, *entries, self.features.shape[2])
        with products_in(self._settings.score_factors):
            labels = Labels(batch.labels, batch.sample_weights)
            total, each = item_losses(states, chosen, labels, choice, popularity, successors)
        by_task = each.new_zeros(len(TASK_NAMES)).index_add(0, batch.sample_tasks, each)
        return LossSums(total + _touched(parts), total.new_zeros(()), by_task)

    def _history_states(self, parts: ItemParts, batch: ItemBatch, items: Tensor, vectors: Tensor) -> Tensor:
        """Return the hidden states ``(n, D)`` of the positions that predict."""
        if not len(batch.asked):
            return vectors[:0]
        inputs = ItemInputs(torch.searchsorted(items, batch.items), batch.periods, batch.gaps)
        hidden = parts.states(self.model, inputs, vectors, self._settings.dropout or 0.0).flatten(0, 1)
        return parts.at_moments(hidden[batch.asked], batch.waits)

    def _text_states(self, batch: ItemBatch, vectors: Tensor) -> Tensor:
        """Return the hidden states ``(X, D)`` of the X prompts with text, each at its last token."""
        if not len(batch.ends):
            return vectors[:0]
        hidden = decode_hidden(self.model, ModelInput.causal(batch.tokens))
        return hidden[torch.arange(len(batch.ends), device=hidden.device), batch.ends]

    def counts(self, batches: Iterable[ItemBatch]) -> LossCounts:
        """Count the labels of some batches."""
        tasks = [count_tasks(batch.sample_tasks, batch.sample_weights) for batch in batches]
        by_task: Sequence[float] = np.sum(tasks, axis=0).tolist() if tasks else [0] * len(TASK_NAMES)
        return LossCounts(sum(by_task), 0, tuple(by_task))

    def weighted(self, sums: LossSums, counts: LossCounts) -> Tensor:
        """Return a batch's contribution to the mean loss of a step."""
        return sums.label / max(1, counts.label)


def _touched(parts: ItemParts) -> Tensor:
    """Return 0 with a gradient of 0 for every weight, because copies in several processes must agree on used weights."""
    return torch.stack([weight.flatten()[0] * 0.0 for weight in parts.parameters() if weight.requires_grad]).sum()
