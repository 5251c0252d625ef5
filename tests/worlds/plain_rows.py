"""Plans and rows built one at a time by loops: the oracle for the vectorised ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.settings.tasks import TaskSettings
from semconv.tasks.data import TaskData
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.history_tasks import NEGATIVE, SEQUENTIAL
from semconv.tasks.negatives import draw_negatives
from semconv.tasks.plan import EpochPlan, HistoryPlan, TextUnit
from semconv.tasks.rows import PACKED_ROW_TOKENS
from semconv.tasks.text_tasks import QUERY, TEXT
from semconv.tasks.wordings import HISTORY_HEADS


@dataclass
class PlainRow:
    """One row as lists, equal to ``EpochRows.padded`` of that row alone."""

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    spans: list[tuple[int, int, int, int]] = field(default_factory=list)
    label_index: list[int] = field(default_factory=list)
    label_tokens: list[int] = field(default_factory=list)
    history_index: list[int] = field(default_factory=list)
    history_tokens: list[int] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)

    @property
    def num_samples(self) -> int:
        return len(self.tasks)

    def add_trunk(self, tokens: list[int]) -> None:
        """Add the tokens that every branch may see the start of."""
        for position, token in enumerate(tokens):
            self._add(token, position, (0, 0, 0, 0))

    def add_branch(self, task: str, visible: int, tail: list[int], labels: Sequence[list[int]], end: int) -> None:
        """Add a question that sees ``visible`` tokens of the trunk, and its answers."""
        begin = len(self.tokens)
        for offset, token in enumerate(tail):
            self._add(token, visible + offset, (visible, 0, 0, begin))
        stop = len(self.tokens)
        for label in labels:
            start = len(self.tokens)
            for offset, token in enumerate(label):
                self._add(token, visible + len(tail) + offset, (visible, begin, stop, start))
            self.label_index += [stop - 1, *range(start, start + len(label))]
            self.label_tokens += [*label, end]
            self.tasks.append(task)

    def _add(self, token: int, position: int, span: tuple[int, int, int, int]) -> None:
        self.tokens.append(int(token))
        self.positions.append(int(position))
        self.spans.append(span)


@dataclass(frozen=True)
class HistoryUnit:
    """One shared history of a plan, with P positions."""

    user: int
    head: int
    start: int
    positions: NDArray[np.int64]  # (P,)
    tails: NDArray[np.int64]  # (P, 2)
    answers: tuple[NDArray[np.int32], ...]  # (P, 1) and (P, k)


def units_of(plan: HistoryPlan) -> list[HistoryUnit]:
    """Return the shared histories of a plan."""
    found = []
    for row in range(len(plan)):
        at = slice(int(plan.offsets[row]), int(plan.offsets[row + 1]))
        user, head, start = (int(column[row]) for column in (plan.user, plan.head, plan.start))
        answers = tuple(items[at] for items in plan.answers)
        found.append(HistoryUnit(user, head, start, plan.position[at], plan.tails[at], answers))
    return found


def layout(trunk: int, branches: Sequence[tuple[int, int, int]], label_tokens: int) -> PlainRow:
    """Build a row of zeros; a branch is (visible trunk tokens, tokens of the question, answers)."""
    row = PlainRow()
    row.add_trunk([0] * trunk)
    for visible, tail, labels in branches:
        row.add_branch("", visible, [0] * tail, [[0] * label_tokens] * labels, 0)
    return row


def history_row(encoder: PromptEncoder, data: TaskData, unit: HistoryUnit, limit: int) -> tuple[PlainRow | None, int]:
    """Build the row of a shared history, None without a short enough prompt; count the samples that are too long."""
    asked: list[tuple[str, int, list[int], list[list[int]]]] = []
    too_long = 0
    for position, (sequential, negative), hated in zip(unit.positions, unit.tails, unit.answers[1], strict=True):
        before = encoder.trunk(data.items[unit.start : unit.start + position], unit.head)
        questions = []
        if sequential >= 0:
            following = [data.items[unit.start + position]]
            questions.append(("sequential", encoder.tails["sequential"][sequential], following))
        if negative >= 0:
            rejected = [item for item in hated if item >= 0]
            questions.append(("negative", encoder.tails["negative"][negative], rejected))
        for task, tail, answers in questions:
            if len(before) + len(tail) > limit:
                too_long += len(answers)
            else:
                asked.append(
                    (task, len(before), tail.tolist(), [encoder.item_tokens[item].tolist() for item in answers])
                )
    if not asked:
        return None, too_long
    row = PlainRow()
    shown = max(visible for _, visible, _, _ in asked)
    trunk = encoder.trunk(data.items[unit.start : unit.start + unit.positions[-1]], unit.head)[:shown].tolist()
    row.add_trunk(trunk)
    for task, visible, tail, labels in asked:
        row.add_branch(task, visible, tail, labels, encoder.end)
    item = len(encoder.heads[unit.head]) + encoder.num_levels + len(encoder.separator)
    while item < len(trunk):
        for token in range(item, item + encoder.num_levels):
            row.history_index.append(token - 1)
            row.history_tokens.append(trunk[token])
        item += encoder.num_levels + len(encoder.separator)
    return row, too_long


def text_rows(
    encoder: PromptEncoder, data: TaskData, units: Sequence[TextUnit], limit: int
) -> tuple[list[PlainRow], int]:
    """Pack samples with text, as many to a row as fit; count the samples that are too long."""
    rows: list[PlainRow] = []
    too_long = 0
    for unit in units:
        task = {"text": TEXT, "query": QUERY}[unit.task.name]
        prompt = task.prompt([column[unit.sample] for column in data.texts[unit.task.name].words], unit.wording)
        tokens = encoder.tokenize([prompt])[0].tolist()
        if len(tokens) > limit:
            too_long += 1
            continue
        if not rows or len(rows[-1].tokens) + len(tokens) + encoder.num_levels > PACKED_ROW_TOKENS:
            rows.append(PlainRow())
        rows[-1].add_branch(unit.task.name, 0, tokens, [encoder.item_tokens[unit.item].tolist()], encoder.end)
    return rows, too_long


def epoch_rows(
    encoder: PromptEncoder, data: TaskData, plan: EpochPlan, limit: int, rng: np.random.Generator
) -> tuple[list[PlainRow], int]:
    """Build all rows of an epoch; count the samples that are too long."""
    texts = list(plan.texts)
    made = [history_row(encoder, data, unit, limit) for unit in units_of(plan.histories)]
    packed, too_long = text_rows(encoder, data, [texts[index] for index in rng.permutation(len(texts))], limit)
    return [*(row for row, _ in made if row), *packed], too_long + sum(count for _, count in made)


def history_units(data: TaskData, settings: TaskSettings, epoch: int, history_length: int) -> Iterator[tuple[Any, ...]]:
    """Yield user, head, start and (position, sequential tail, negative tail, negatives) of every shared history."""
    rng = np.random.Generator(np.random.Philox(key=[settings.seed, epoch * 16]))
    num_users, num_rows = len(data.offsets) - 1, len(data.items)
    heads = rng.integers(len(HISTORY_HEADS), size=num_users)
    sequential = rng.integers(len(SEQUENTIAL.tails), size=num_rows)
    negative = rng.integers(len(NEGATIVE.tails), size=num_rows)
    asks = rng.random(num_users) < settings.negative_share
    late = rng.random(num_rows) < settings.late_position_share
    negatives = draw_negatives(data, settings.negatives, rng)
    share = 1.0 if settings.position_share is None else settings.position_share
    taken = np.random.Generator(np.random.Philox(key=[settings.seed, epoch * 16 + 5])).random(num_rows)

    def asked(user: int, row: int, position: int) -> list[tuple[Any, ...]]:
        first = sequential[row] if settings.sequential and data.is_label[row] else -1
        second = negative[row] if asks[user] and (negatives[row] >= 0).any() else -1
        return [] if first < 0 and second < 0 else [(position, first, second, tuple(negatives[row].tolist()))]

    for user in range(num_users):
        begin, end = int(data.offsets[user]), int(data.offsets[user + 1])
        latest = min(end - begin - 1, history_length)
        asks_at = [at for at in range(1, latest + 1) if at == latest or taken[begin + at] < share]
        positions = [one for at in asks_at for one in asked(user, begin + at, at)]
        if positions:
            yield user, heads[user], begin, positions
        for row in range(begin + history_length + 1, end):
            if late[row] and (positions := asked(user, row, history_length)):
                yield user, heads[user], row - history_length, positions


def disliked_ahead(data: TaskData, row: int, k: int) -> NDArray[np.int32]:
    """Return the first k disliked items of the row's user at or after the row."""
    end = next(int(stop) for stop in data.offsets[1:] if stop > row)
    return np.array([data.items[at] for at in range(row, end) if not data.is_label[at]][:k], dtype=np.int32)
