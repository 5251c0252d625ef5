"""Make the token arrays of a batch from the trees of an epoch (``semconv.tasks.trees``)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.ragged import Ints, lengths_of, offsets_of, position_of, ranges, row_of
from semconv.tasks.dates import TOKENS_OF_EVENT
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.trees import Trees


@dataclass(frozen=True)
class PaddedRows:
    """B rows of S tokens each, including padding. A padding token attends to itself, so that no softmax is empty."""

    tokens: Ints  # (B, S)
    positions: Ints  # (B, S)
    # (B, S, 4) the numbers a, b, c, d: token q attends to the tokens 0 .. a - 1, b .. c - 1 and d .. q of its row
    spans: NDArray[np.int32]
    label_index: Ints  # (L,) index, in the flattened (B * S) tokens, of the token that predicts a label token
    label_tokens: Ints  # (L,) the label tokens
    history_index: Ints  # (H,) like label_index, for the codes of all history items after the first
    history_tokens: Ints  # (H,) those codes
    sample_tasks: Ints  # (num_samples,) index into TASK_NAMES, in the order of the labels
    sample_weights: NDArray[np.float32] | None = None  # (num_samples,) weight of each label's loss; None: all weigh 1
    history_weights: NDArray[np.float32] | None = None  # (H,) the same of the history items


class EpochRows:
    """The R token rows of an epoch, or some of these. Row lengths are known in advance; ``padded`` makes token arrays.

    An index (a number, a slice or a list) returns some of the rows, without copying data of the epoch.
    """

    def __init__(
        self,
        encoder: PromptEncoder,
        items: NDArray[np.int32],
        trees: Trees,
        weights: NDArray[np.float64] | None = None,
        dates: Ints | None = None,
    ) -> None:
        """Prepare the rows of ``trees``. The histories of the trees are ranges of ``items`` from ``TaskData``.

        Args:
            weights: weight of the loss of each of ``items``; None: all weigh 1.
            dates: ``(n, 2)`` tokens of the date of each of ``items``; None without dates.
        """
        self._encoder, self._items, self._trees, self._weights = encoder, items, trees, weights
        self._dates = dates
        self._branch_at = offsets_of(trees.branches)  # (R + 1,)
        self._answer_at = offsets_of(trees.labels)  # (B + 1,)
        self._size_at = offsets_of(trees.tail + trees.labels * encoder.num_levels)  # (B + 1,)
        self._head_at = offsets_of(lengths_of(encoder.heads))
        self._head_tokens = np.concatenate(encoder.heads)
        self.lengths: Ints = trees.trunk + np.diff(self._size_at[self._branch_at])  # (R,) number of tokens
        self.num_samples: Ints = np.diff(self._answer_at[self._branch_at])  # (R,)
        self._rows = np.arange(len(trees), dtype=np.int64)  # (R,) index of each row's tree

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, which: int | slice | Sequence[int]) -> EpochRows:
        if isinstance(which, int):
            which = [range(len(self))[which]]
        some = copy(self)
        some._rows, some.lengths = self._rows[which], self.lengths[which]
        some.num_samples = self.num_samples[which]
        return some

    def padded(self, pad: int) -> PaddedRows:
        """Return the token arrays of these rows. Shorter rows are filled up with the token ``pad``."""
        rows = self._rows
        sheet = _Sheet(len(rows), int(self.lengths.max(initial=0)), pad)
        history, history_weights = self._put_trunks(sheet, rows)
        label_index, label_tokens, sample_tasks, sample_weights = self._put_branches(sheet, rows)
        shape = len(rows), sheet.longest
        return PaddedRows(
            sheet.tokens.reshape(shape),
            sheet.positions.reshape(shape),
            sheet.spans.reshape(*shape, 4),
            label_index,
            label_tokens,
            history - 1,
            sheet.tokens[history],
            sample_tasks,
            sample_weights,
            history_weights,
        )

    def _put_trunks(self, sheet: _Sheet, rows: Ints) -> tuple[Ints, NDArray[np.float32] | None]:
        """Write heads and histories. Return index and weight of the code tokens of all history items after the first."""
        head, trunk = self._trees.head[rows], self._trees.trunk[rows]
        width, levels = self._encoder.separated_tokens.shape[1], self._encoder.num_levels
        opening = np.where(trunk > 0, np.diff(self._head_at)[head], 0)  # (B,) tokens of the head
        body = trunk - opening  # (B,) tokens of the history
        sheet.tokens[ranges(sheet.row_at, opening)] = self._head_tokens[ranges(self._head_at[head], opening)]
        step = position_of(body)  # index of a token in its history
        event, part = np.repeat(self._trees.start[rows], body) + step // width, step % width
        tokens = self._encoder.separated_tokens[self._items[event], part]
        if self._dates is not None:
            is_date = (part >= levels) & (part < levels + TOKENS_OF_EVENT)
            tokens[is_date] = self._dates[event[is_date], part[is_date] - levels]
        sheet.tokens[ranges(sheet.row_at + opening, body)] = tokens
        where = ranges(sheet.row_at, trunk)
        sheet.positions[where] = position_of(trunk)
        sheet.spans[where, 3] = 0
        others = np.maximum((body + len(self._encoder.separator)) // width - 1, 0)  # (B,) items after the first
        first = np.repeat(sheet.row_at + opening, others) + (position_of(others) + 1) * width
        codes: Ints = (first[:, None] + np.arange(levels)).ravel()
        if self._weights is None:
            return codes, None
        of_items = self._weights[np.repeat(self._trees.start[rows], others) + position_of(others) + 1]
        return codes, np.repeat(of_items, levels).astype(np.float32)

    def _put_branches(self, sheet: _Sheet, rows: Ints) -> tuple[Ints, Ints, Ints, NDArray[np.float32] | None]:
        """Write the tails and labels of all prompts.

        Return ``label_index``, ``label_tokens``, ``sample_tasks`` and ``sample_weights``.
        """
        trees, levels = self._trees, self._encoder.num_levels
        branch = ranges(self._branch_at[rows], trees.branches[rows])  # (b,)
        row = row_of(trees.branches[rows])  # (b,) its row in the sheet
        begin = trees.trunk[rows][row] + self._size_at[branch] - self._size_at[self._branch_at[rows]][row]
        visible, tail = trees.visible[branch], trees.tail[branch]
        stop = begin + tail  # the start of the labels
        where = ranges(sheet.row_at[row] + begin, tail)
        sheet.tokens[where] = trees.tails[ranges(trees.tail_start[branch], tail)]
        sheet.positions[where] = ranges(visible, tail)
        sheet.spans[where, 0] = np.repeat(visible, tail)
        sheet.spans[where, 3] = np.repeat(begin, tail)

        answer = ranges(self._answer_at[branch], trees.labels[branch])  # (a,)
        of = row_of(trees.labels[branch])  # (a,) its branch
        start = stop[of] + (answer - self._answer_at[branch][of]) * levels  # in its row
        at = (sheet.row_at[row[of]] + start)[:, None] + np.arange(levels)  # (a, N)
        tokens = self._encoder.item_tokens[trees.answers[answer]]  # (a, N)
        sheet.tokens[at] = tokens
        sheet.positions[at] = (visible + tail)[of][:, None] + np.arange(levels)
        sheet.spans[at] = np.stack([visible[of], begin[of], stop[of], start], axis=1)[:, None]
        index = np.concatenate([(sheet.row_at[row] + stop - 1)[of][:, None], at], axis=1)
        labels = np.pad(tokens, ((0, 0), (0, 1)), constant_values=self._encoder.end)  # (a, N + 1)
        weights = None if trees.weights is None else trees.weights[answer].astype(np.float32)
        return index.ravel(), labels.ravel(), trees.task[branch][of], weights


class _Sheet:
    """Flat arrays into which the rows of a batch are written."""

    def __init__(self, num_rows: int, longest: int, pad: int) -> None:
        self.longest = longest
        self.row_at = np.arange(num_rows, dtype=np.int64) * longest  # (B,)
        self.tokens = np.full(num_rows * longest, pad, dtype=np.int64)
        self.positions = np.zeros(num_rows * longest, dtype=np.int64)
        self.spans = np.zeros((num_rows * longest, 4), dtype=np.int32)
        self.spans[:, 3] = np.tile(np.arange(longest), num_rows)
