"""Plans and rows built one at a time by loops, the oracle of the vectorised ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.settings.tasks import TaskSettings
from semconv.tasks import wordings
from semconv.tasks.data import TaskData
from semconv.tasks.encoder import PromptEncoder, query_text, text_text
from semconv.tasks.negatives import draw_negatives
from semconv.tasks.plan import EpochPlan, HistoryUnit, TextUnit
from semconv.tasks.rows import PACKED_ROW_TOKENS


@dataclass
class PlainRow:
    """One row as lists, what ``EpochRows.padded`` gives for it alone."""

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
        """What every branch may see the start of."""
        for position, token in enumerate(tokens):
            self._add(token, position, (0, 0, 0, 0))

    def add_branch(self, task: str, visible: int, tail: list[int], labels: Sequence[list[int]], end: int) -> None:
        """A question that sees ``visible`` tokens of the trunk, and its answers."""
        begin = len(self.tokens)
        for place, token in enumerate(tail):
            self._add(token, visible + place, (visible, 0, 0, begin))
        stop = len(self.tokens)
        for label in labels:
            start = len(self.tokens)
            for place, token in enumerate(label):
                self._add(token, visible + len(tail) + place, (visible, begin, stop, start))
            self.label_index += [stop - 1, *range(start, start + len(label))]
            self.label_tokens += [*label, end]
            self.tasks.append(task)

    def _add(self, token: int, position: int, span: tuple[int, int, int, int]) -> None:
        self.tokens.append(int(token))
        self.positions.append(int(position))
        self.spans.append(span)


def layout(trunk: int, branches: Sequence[tuple[int, int, int]], label_tokens: int) -> PlainRow:
    """A row of zeros; a branch is (visible trunk tokens, tokens of the question, answers)."""
    row = PlainRow()
    row.add_trunk([0] * trunk)
    for visible, tail, labels in branches:
        row.add_branch("", visible, [0] * tail, [[0] * label_tokens] * labels, 0)
    return row


def history_row(encoder: PromptEncoder, data: TaskData, unit: HistoryUnit, limit: int) -> tuple[PlainRow | None, int]:
    """The row of a shared history, None without a short enough prompt, and how many samples are too long."""
    asked: list[tuple[str, int, list[int], list[list[int]]]] = []
    too_long = 0
    for place, sequential, negative, hated in zip(
        unit.places, unit.sequential_tails, unit.negative_tails, unit.negatives, strict=True
    ):
        before = encoder.trunk(data.items[unit.start : unit.start + place], unit.head)
        questions = []
        if sequential >= 0:
            questions.append(("sequential", encoder.sequential_tails[sequential], [data.items[unit.start + place]]))
        if negative >= 0:
            questions.append(("negative", encoder.negative_tails[negative], [item for item in hated if item >= 0]))
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
    trunk = encoder.trunk(data.items[unit.start : unit.start + unit.length], unit.head)[:shown].tolist()
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
    """Item and query samples, as many to a row as fit, and how many samples are too long."""
    rows: list[PlainRow] = []
    too_long = 0
    for unit in units:
        if unit.task == "query":
            prompt = query_text(data.queries[unit.row], unit.wording)
        else:
            prompt = text_text(data.titles[unit.item], data.descriptions[unit.item], unit.wording)
        tokens = encoder.tokenize([prompt])[0].tolist()
        if len(tokens) > limit:
            too_long += 1
            continue
        if not rows or len(rows[-1].tokens) + len(tokens) + encoder.num_levels > PACKED_ROW_TOKENS:
            rows.append(PlainRow())
        rows[-1].add_branch(unit.task, 0, tokens, [encoder.item_tokens[unit.item].tolist()], encoder.end)
    return rows, too_long


def epoch_rows(
    encoder: PromptEncoder, data: TaskData, plan: EpochPlan, limit: int, rng: np.random.Generator
) -> tuple[list[PlainRow], int]:
    """All rows of an epoch, and how many samples are too long."""
    texts = list(plan.texts)
    made = [history_row(encoder, data, unit, limit) for unit in plan.histories]
    packed, too_long = text_rows(encoder, data, [texts[place] for place in rng.permutation(len(texts))], limit)
    return [*(row for row, _ in made if row), *packed], too_long + sum(count for _, count in made)


def history_units(data: TaskData, settings: TaskSettings, epoch: int, history_length: int) -> Iterator[tuple[Any, ...]]:
    """User, head, start and (place, sequential tail, negative tail, negatives) of every shared history."""
    rng = np.random.Generator(np.random.Philox(key=[settings.seed, epoch * 16]))
    num_users, num_rows = len(data.offsets) - 1, len(data.items)
    heads = rng.integers(len(wordings.HISTORY_HEADS), size=num_users)
    sequential = rng.integers(len(wordings.SEQUENTIAL_TAILS), size=num_rows)
    negative = rng.integers(len(wordings.NEGATIVE_TAILS), size=num_rows)
    asks = rng.random(num_users) < settings.negative_share
    late = rng.random(num_rows) < settings.late_position_share
    negatives = draw_negatives(data, settings.negatives, rng)
    share = 1.0 if settings.position_share is None else settings.position_share
    taken = np.random.Generator(np.random.Philox(key=[settings.seed, epoch * 16 + 5])).random(num_rows)

    def asked(user: int, row: int, place: int) -> list[tuple[Any, ...]]:
        first = sequential[row] if settings.sequential and data.is_label[row] else -1
        second = negative[row] if asks[user] and (negatives[row] >= 0).any() else -1
        return [] if first < 0 and second < 0 else [(place, first, second, tuple(negatives[row].tolist()))]

    for user in range(num_users):
        begin, end = int(data.offsets[user]), int(data.offsets[user + 1])
        latest = min(end - begin - 1, history_length)
        asks_at = [at for at in range(1, latest + 1) if at == latest or taken[begin + at] < share]
        places = [one for at in asks_at for one in asked(user, begin + at, at)]
        if places:
            yield user, heads[user], begin, places
        for row in range(begin + history_length + 1, end):
            if late[row] and (places := asked(user, row, history_length)):
                yield user, heads[user], row - history_length, places


def disliked_ahead(data: TaskData, row: int, k: int) -> NDArray[np.int32]:
    """The first k disliked items of the row's user at or after the row."""
    end = next(int(stop) for stop in data.offsets[1:] if stop > row)
    return np.array([data.items[at] for at in range(row, end) if not data.is_label[at]][:k], dtype=np.int32)
