"""From a plan to token rows: shared histories as trees, item and query samples packed.

A row is a flat sequence of tokens with positions and, for each token, the spans of the row that it sees. In a history row the trunk (head and
history) stands once; each question is a branch that sees its own prefix of the trunk and itself, at
the positions it would have had alone; each label is a branch of its question. The loss of a row
therefore equals the loss of its samples computed one at a time, at a fraction of the tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from semconv.config import TaskSettings
from semconv.tasks.encoder import PromptEncoder, query_text, text_text
from semconv.tasks.plan import EpochPlan, HistoryUnit, TaskData, TextUnit

PACKED_ROW_TOKENS = 256
TASKS = ("sequential", "negative", "text", "query")  # what a row's samples are counted by
_MAX_LAYOUTS = 512


def _nothing() -> NDArray[np.int64]:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Layout:
    """What of a row depends on lengths alone, shared by all rows of the same shape."""

    positions: NDArray[np.int64]  # (S,)
    spans: NDArray[np.int64]  # (S, 4) a, b, c, d: token q sees the tokens before a, from b to before c, and from d to q
    label_index: NDArray[np.int64]  # (L,) token whose hidden state predicts a label token


@dataclass(frozen=True)
class Row:
    """One row of a batch."""

    tokens: NDArray[np.int64]  # (S,)
    layout: Layout
    label_tokens: NDArray[np.int64]  # (L,) what is predicted
    num_samples: int
    # (H,) trunk token before each code of the history but the first item's, and those codes
    history_index: NDArray[np.int64] = field(default_factory=_nothing)
    history_tokens: NDArray[np.int64] = field(default_factory=_nothing)
    sample_tasks: NDArray[np.int64] = field(default_factory=_nothing)  # (num_samples,) place in TASKS, in label order

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Branch:
    """A question of ``tail`` tokens after ``visible`` trunk tokens, with ``labels`` answers."""

    visible: int
    tail: int
    labels: int


def tree_layout(trunk: int, branches: Sequence[Branch], label_tokens: int) -> Layout:
    """Positions, spans and label places of a trunk with its branches.

    Spans instead of a mask: an epoch's rows lie in memory together, and a mask grows with the square of a row.

    Args:
        trunk: tokens of head and history, may be 0.
        label_tokens: tokens N of a label without its end token; the last one predicts the end.
    """
    size = trunk + sum(branch.tail + branch.labels * label_tokens for branch in branches)
    positions = np.arange(size, dtype=np.int64)
    spans = np.zeros((size, 4), dtype=np.int64)
    label_index = []
    at = trunk
    for branch in branches:
        question = slice(at, at + branch.tail)
        positions[question] = branch.visible + np.arange(branch.tail)
        spans[question] = branch.visible, 0, 0, question.start
        at += branch.tail
        for _ in range(branch.labels):
            label = slice(at, at + label_tokens)
            positions[label] = branch.visible + branch.tail + np.arange(label_tokens)
            spans[label] = branch.visible, question.start, question.stop, label.start
            label_index.append(np.concatenate([[question.stop - 1], np.arange(label.start, label.stop)]))
            at += label_tokens
    return Layout(positions, spans, np.concatenate(label_index) if label_index else _nothing())


class RowBuilder:
    """Builds the rows of a plan and counts what it had to leave out."""

    def __init__(self, encoder: PromptEncoder, data: TaskData, settings: TaskSettings) -> None:
        self.encoder = encoder
        self.data = data
        self.settings = settings
        self.too_long = 0
        self._layouts: dict[tuple[int, tuple[Branch, ...]], Layout] = {}

    def history_rows(self, units: Sequence[HistoryUnit]) -> Iterator[Row]:
        """One row a shared history."""
        for unit in units:
            row = self.history_row(unit)
            if row is not None:
                yield row

    def history_row(self, unit: HistoryUnit) -> Row | None:
        """The row of one shared history, None when every prompt is over the limit."""
        encoder = self.encoder
        trunk = encoder.trunk(self.data.items[unit.start : unit.start + unit.length], unit.head)
        width = encoder.num_levels + len(encoder.separator)
        branches: list[Branch] = []
        pieces = [trunk]
        targets: list[NDArray[np.int64]] = []
        asked: list[int] = []  # task of each branch
        for place, sequential, negative, hated in zip(
            unit.places, unit.sequential_tails, unit.negative_tails, unit.negatives, strict=True
        ):
            visible = len(encoder.heads[unit.head]) + int(place) * width - len(encoder.separator)
            if sequential >= 0:
                answers = self.data.items[unit.start + place : unit.start + place + 1]
                self._branch(branches, pieces, targets, visible, encoder.sequential_tails[sequential], answers)
                asked += [TASKS.index("sequential")] * (len(branches) - len(asked))
            if negative >= 0:
                self._branch(branches, pieces, targets, visible, encoder.negative_tails[negative], hated[hated >= 0])
                asked += [TASKS.index("negative")] * (len(branches) - len(asked))
        if not branches:
            return None
        pieces[0] = trunk = trunk[
            : max(branch.visible for branch in branches)
        ]  # items that no question sees are not read
        layout = self._layout(len(trunk), tuple(branches))
        samples = sum(branch.labels for branch in branches)
        shown = (len(trunk) - len(encoder.heads[unit.head]) + len(encoder.separator)) // width
        first_code = len(encoder.heads[unit.head]) + np.arange(1, shown) * width  # (items - 1,)
        history = (first_code[:, None] + np.arange(encoder.num_levels)).ravel()
        tasks = np.repeat(asked, [branch.labels for branch in branches])
        return Row(np.concatenate(pieces), layout, np.concatenate(targets), samples, history - 1, trunk[history], tasks)

    def text_rows(self, units: Sequence[TextUnit]) -> list[Row]:
        """Item and query samples, several to a row."""
        prompts = self.encoder.tokenize([self.text_prompt(unit) for unit in units])
        rows: list[Row] = []
        pending: list[tuple[TextUnit, NDArray[np.int64]]] = []
        used = 0
        for unit, prompt in zip(units, prompts, strict=True):
            if len(prompt) > self.settings.max_prompt_tokens:
                self.too_long += 1
                continue
            size = len(prompt) + self.encoder.num_levels
            if pending and used + size > PACKED_ROW_TOKENS:
                rows.append(self._packed_row(pending))
                pending, used = [], 0
            pending.append((unit, prompt))
            used += size
        if pending:
            rows.append(self._packed_row(pending))
        return rows

    def text_prompt(self, unit: TextUnit) -> str:
        """The prompt of an item or query sample as text."""
        if unit.task == "query":
            return query_text(self.data.queries[unit.row], unit.wording)
        return text_text(self.data.titles[unit.item], self.data.descriptions[unit.item], unit.wording)

    def _packed_row(self, samples: list[tuple[TextUnit, NDArray[np.int64]]]) -> Row:
        branches, pieces, targets = [], [], []
        for unit, prompt in samples:
            label = self.encoder.item_tokens[unit.item]
            branches.append(Branch(0, len(prompt), 1))
            pieces += [prompt, label]
            targets += [label, np.array([self.encoder.end])]
        layout = tree_layout(0, branches, self.encoder.num_levels)
        tasks = np.array([TASKS.index(unit.task) for unit, _ in samples], dtype=np.int64)
        return Row(np.concatenate(pieces), layout, np.concatenate(targets), len(samples), sample_tasks=tasks)

    def _branch(
        self,
        branches: list[Branch],
        pieces: list[NDArray[np.int64]],
        targets: list[NDArray[np.int64]],
        visible: int,
        tail: NDArray[np.int64],
        answers: NDArray[np.int32],
    ) -> None:
        if visible + len(tail) > self.settings.max_prompt_tokens:
            self.too_long += len(answers)
            return
        labels = self.encoder.item_tokens[answers]  # (labels, N)
        branches.append(Branch(visible, len(tail), len(answers)))
        pieces += [tail, labels.ravel()]
        targets.append(np.pad(labels, ((0, 0), (0, 1)), constant_values=self.encoder.end).ravel())

    def _layout(self, trunk: int, branches: tuple[Branch, ...]) -> Layout:
        key = (trunk, branches)
        if key not in self._layouts:
            if len(self._layouts) >= _MAX_LAYOUTS:
                self._layouts.clear()
            self._layouts[key] = tree_layout(trunk, branches, self.encoder.num_levels)
        return self._layouts[key]


def epoch_rows(builder: RowBuilder, plan: EpochPlan, rng: np.random.Generator) -> list[Row]:
    """All rows of an epoch; packed samples in a drawn order, so that no two epochs pack alike."""
    order = rng.permutation(len(plan.texts))
    return [*builder.history_rows(plan.histories), *builder.text_rows([plan.texts[place] for place in order])]
