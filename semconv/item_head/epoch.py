"""The training rows of an epoch whose histories are items: windows of sequences, and prompts of the tasks with text."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.data.calendar import Calendar, gap_rows
from semconv.item_head.popularity import MomentTable
from semconv.item_head.sequences import DatedSequences, Windows
from semconv.item_head.successors import SuccessorNumbers, SuccessorTable, latest_items, own_pairs
from semconv.ragged import Ints, offsets_of, padded, position_of, ranges
from semconv.tasks.plan import Stream, generator
from semconv.tuning.batches import batch_order

_TEXT_TOKENS: Final = 8  # largest number of tokens of prompts with text in a batch, for each position of its windows


@dataclass(frozen=True)
class ItemBatch:
    """The tensors of a batch: histories as items, and prompts with text as tokens.

    Attributes:
        items, periods, gaps: ``(B, T)`` of the histories, 0 in the padding.
        asked: ``(n,)`` the positions that predict, as indices into the flattened (B * T) positions.
        waits: ``(n,)`` row of the days between the event at the position and the moment of the prediction.
        moments: ``(n,)`` row of the moment in the table of popularity.
        tokens: ``(X, S)`` tokens of the prompts with text, padded.
        ends: ``(X,)`` index of the last token of each prompt.
        labels: ``(n + X,)`` item index that follows each position, then that of each prompt.
        sample_tasks: ``(n + X,)`` index into TASK_NAMES.
        entries: ``(n + X,)`` number of entries of ``SuccessorNumbers`` of each label, 0 for a prompt with text.
        kinds, followers, values: ``(z,)`` the kinds, items and values of ``SuccessorNumbers``.
        sample_weights: ``(n + X,)`` weight of the loss of each label; None: all weigh 1.
    """

    items: Tensor
    periods: Tensor
    gaps: Tensor
    asked: Tensor
    waits: Tensor
    moments: Tensor
    tokens: Tensor
    ends: Tensor
    labels: Tensor
    sample_tasks: Tensor
    entries: Tensor
    kinds: Tensor
    followers: Tensor
    values: Tensor
    sample_weights: Tensor | None = None

    @property
    def num_samples(self) -> int:
        """The number of labels."""
        return len(self.labels)

    @property
    def num_tokens(self) -> int:
        """The number of positions and tokens that the model reads, padding included."""
        return self.items.numel() + self.tokens.numel()

    def to(self, device: torch.device) -> ItemBatch:
        """Return the batch on another device."""
        return replace(self, **{name: value.to(device) for name, value in vars(self).items() if value is not None})


@dataclass(frozen=True)
class TextSamples:
    """X prompts with text.

    Attributes:
        tokens: tokens of all prompts, one after the other.
        lengths: ``(X,)`` number of tokens of each prompt.
        items: ``(X,)`` item index of the label.
        tasks: ``(X,)`` index into TASK_NAMES.
    """

    tokens: Ints
    lengths: Ints
    items: NDArray[np.int32]
    tasks: Ints

    def select(self, which: Ints) -> TextSamples:
        """Return some of the samples, by an array of indices."""
        starts = offsets_of(self.lengths)[:-1][which]
        lengths = self.lengths[which]
        return TextSamples(self.tokens[ranges(starts, lengths)], lengths, self.items[which], self.tasks[which])


@dataclass(frozen=True)
class LabelMoments:
    """The moment of each prediction: the day on which the model is supposed to predict a row of the sequences.

    Attributes:
        moments: ``(n,)`` row of the moment in the table of popularity.
        waits: ``(n,)`` row of the days between the event before and the moment.
    """

    moments: Ints
    waits: Ints

    @classmethod
    def draw(
        cls, sequences: DatedSequences, calendar: Calendar, table: MomentTable, rng: np.random.Generator
    ) -> LabelMoments:
        """Draw each row's moment (``Calendar.draw_moments``)."""
        before, day = calendar.draw_moments(sequences.days, rng)
        return cls(table.rows(day), gap_rows(before, day))


@dataclass(frozen=True)
class LabelSuccessors:
    """The counts of successors that each label may see: all, less the pairs with the label and the 4 items after it.

    Attributes:
        sequences: the training sequences.
        table: the counts of all training sequences; None without latest items.
        num_latest: number K of latest items.
        starts, ends: ``(n,)`` first row, and row after the last row, of the sequence of each row.
    """

    sequences: DatedSequences
    table: SuccessorTable | None
    num_latest: int
    starts: Ints
    ends: Ints

    @classmethod
    def of(
        cls, sequences: DatedSequences, num_items: int, num_latest: int, table: SuccessorTable | None = None
    ) -> LabelSuccessors:
        """Count the successors of all items, unless ``table`` has the counts already."""
        if table is None and num_latest:
            table = SuccessorTable.count(sequences, num_items)
        starts, ends = (
            np.repeat(edges, sequences.lengths) for edges in (sequences.offsets[:-1], sequences.offsets[1:])
        )
        return cls(sequences, table, num_latest, starts, ends)

    def numbers(self, rows: Ints) -> SuccessorNumbers:
        """Return the numbers for the labels in some rows ``(n,)``."""
        if self.table is None:
            none = np.zeros(0, dtype=np.int64)
            return SuccessorNumbers(np.zeros(len(rows), dtype=np.int64), none, none, none.astype(np.float32))
        starts, ends = self.starts[rows], self.ends[rows]
        latest = latest_items(self.sequences.items, starts, rows, self.num_latest)
        return self.table.numbers(latest, own_pairs(self.sequences, starts, ends, rows, latest))


class ItemRows:
    """The rows of an epoch: W windows, then X prompts with text. Indexing returns some of the rows."""

    def __init__(
        self,
        sequences: DatedSequences,
        windows: Windows,
        is_label: NDArray[np.bool_],
        asking: LabelMoments,
        texts: TextSamples,
        successors: LabelSuccessors,
    ) -> None:
        """Prepare the rows.

        Args:
            is_label: ``(n,)`` rows of the sequences that are predicted.
        """
        self._weights, self._successors = sequences.weights, successors
        self._sequences, self._windows, self._asking, self._texts = sequences, windows, asking, texts
        self._is_label = is_label
        total = offsets_of(is_label)
        ends = windows.start + windows.length
        of_windows = total[ends] - total[windows.start + windows.first_label]
        self.lengths: Ints = np.concatenate([windows.length - 1, texts.lengths])  # (W + X,) positions or tokens
        self.num_samples: Ints = np.concatenate([of_windows, np.ones(len(texts.lengths), dtype=np.int64)])
        self._rows = np.arange(len(self.lengths), dtype=np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, which: int | slice | Sequence[int]) -> ItemRows:
        if isinstance(which, int):
            which = [range(len(self))[which]]
        some = copy(self)
        some._rows, some.lengths, some.num_samples = self._rows[which], self.lengths[which], self.num_samples[which]
        return some

    def batches(self, batch_tokens: int, seed: int, epoch: int) -> list[list[int]]:
        """Return the row numbers of each batch: windows of similar length, and an equal part of the prompts with text.

        The prompts with text in a batch have together at most ``8 * batch_tokens`` tokens. Prompts beyond that make
        batches of their own, so that long texts beside few interactions do not fill the memory.

        Args:
            batch_tokens: largest number of positions in the windows of a batch, padding included.
            seed, epoch: they determine the order.
        """
        num_windows = len(self._windows)
        found = batch_order(self.lengths[:num_windows], batch_tokens, seed, epoch)
        if not found:
            return batch_order(self.lengths, batch_tokens, seed, epoch)
        texts = num_windows + generator(seed, epoch, Stream.TEXT_BATCHES).permutation(len(self) - num_windows)
        most, left = batch_tokens * _TEXT_TOKENS, []
        for batch, part in zip(found, np.array_split(texts, len(found)), strict=True):
            fits = np.maximum.accumulate(self.lengths[part]) * np.arange(1, len(part) + 1) <= most
            batch.extend(part[fits].tolist())
            left.append(part[~fits])
        rest = np.concatenate(left)
        if not len(rest):
            return found
        found += [rest[rows].tolist() for rows in batch_order(self.lengths[rest], most, seed, epoch)]
        order = generator(seed, epoch, Stream.TEXT_BATCHES).permutation(len(found))
        return [found[number] for number in order.tolist()]

    def collate(self, pad: int) -> ItemBatch:
        """Return the tensors of all rows; short prompts are filled up with the token ``pad``."""
        num_windows = len(self._windows)
        windows = self._windows.select(self._rows[self._rows < num_windows])
        texts = self._texts.select(self._rows[self._rows >= num_windows] - num_windows)
        read = windows.length - 1  # (B,) the last row of a window is not read
        rows = ranges(windows.start, read)
        sequences = self._sequences
        width = int(read.max(initial=0))
        # Each read row predicts the row after it, unless another window or no window predicts that row.
        is_own = position_of(read) >= np.repeat(windows.first_label - 1, read)
        is_predicting = is_own & self._is_label[rows + 1]
        flat = ranges(np.arange(len(read)) * width, read)[is_predicting]
        label_rows = rows[is_predicting] + 1
        numbers = self._successors.numbers(label_rows)
        columns: dict[str, Any] = {
            **{
                name: padded(np.asarray(values[rows], dtype=np.int64), read, 0)
                for name, values in (
                    ("items", sequences.items),
                    ("periods", sequences.periods),
                    ("gaps", sequences.gaps),
                )
            },
            "asked": flat,
            "waits": self._asking.waits[label_rows],
            "moments": self._asking.moments[label_rows],
            "tokens": padded(texts.tokens, texts.lengths, pad),
            "ends": texts.lengths - 1,
            "labels": np.concatenate([sequences.items[label_rows], texts.items]).astype(np.int64),
            "sample_tasks": np.concatenate([np.zeros(len(flat), dtype=np.int64), texts.tasks]),
            "entries": np.concatenate([numbers.lengths, np.zeros(len(texts.items), dtype=np.int64)]),
            "kinds": numbers.kinds,
            "followers": numbers.items,
            "values": numbers.values,
        }
        if self._weights is not None:
            weights = np.concatenate([self._weights[label_rows], np.ones(len(texts.items))])
            columns["sample_weights"] = weights.astype(np.float32)
        return ItemBatch(**{name: torch.from_numpy(np.ascontiguousarray(column)) for name, column in columns.items()})


def windows_with_labels(windows: Windows, is_label: NDArray[np.bool_]) -> Windows:
    """Return the windows in which any row is predicted."""
    total = offsets_of(is_label)
    return windows.select(total[windows.start + windows.length] > total[windows.start + windows.first_label])
