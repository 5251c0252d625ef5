"""Plans and rows built one at a time by loops: the oracle for the vectorised ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from semconv.data.calendar import GAP_ROWS, PERIOD_DAYS
from semconv.data.store import DAY, UNKNOWN_TIME
from semconv.settings.tasks import TaskSettings
from semconv.tasks.data import TaskData
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.history_tasks import NEGATIVE, SEQUENTIAL
from semconv.tasks.negatives import draw_negatives
from semconv.tasks.padded import EpochRows, PaddedRows
from semconv.tasks.plan import EpochPlan, HistoryPlan, TextUnit
from semconv.tasks.registry import TASK_NAMES
from semconv.tasks.rows import PACKED_ROW_TOKENS
from semconv.tasks.text_tasks import QUERY, TEXT
from semconv.tasks.wordings import HISTORY_HEADS
from semconv.tuning.batches import span_mask


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
    waits: list[int]  # (P,)


def units_of(plan: HistoryPlan) -> list[HistoryUnit]:
    """Return the shared histories of a plan."""
    found = []
    for row in range(len(plan)):
        at = slice(int(plan.offsets[row]), int(plan.offsets[row + 1]))
        user, head, start = (int(column[row]) for column in (plan.user, plan.head, plan.start))
        answers = tuple(items[at] for items in plan.answers)
        waits = [0] * len(plan.position[at]) if plan.waits is None else plan.waits[at].tolist()
        found.append(HistoryUnit(user, head, start, plan.position[at], plan.tails[at], answers, waits))
    return found


def token_of(encoder: PromptEncoder, kind: str, row: int) -> int:
    """The token of a period or a gap; one that the model does not know counts as the nearest, or as the last period."""
    assert encoder.dates is not None
    known = encoder.dates.range
    if kind == "gap" and row:
        row = min(set(range(1, known.num_gaps)) - set(known.rare_gaps), key=lambda other: (abs(other - row), other))
    if kind == "period":
        row = min(row, known.num_periods) if row or known.has_unknown else known.num_periods
    return int(encoder.tokenizer.convert_tokens_to_ids(f"<{kind}_{row}>"))


def dates_of(encoder: PromptEncoder, data: TaskData) -> NDArray[np.int64] | None:
    """Return the two tokens of the date of every row ``(n, 2)``."""
    if encoder.dates is None:
        return None
    known, found = encoder.dates.range, []
    for begin, end in itertools.pairwise(data.offsets.tolist()):
        before = None
        for time in data.times[begin:end].tolist():
            day = None if time == UNKNOWN_TIME else time // DAY
            period, gap = 0, 0
            if day is not None:
                period = min(max(1 + (day - known.first_day) // PERIOD_DAYS, 1), known.num_periods)
                gap = 0 if before is None or day < before else 1 + min(round(math.log2(day - before + 1)), GAP_ROWS - 2)
            found.append([token_of(encoder, "period", period), token_of(encoder, "gap", gap)])
            before = day
    return np.array(found)


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
    dates = dates_of(encoder, data)
    num_dates = 0 if dates is None else 2

    def trunk_of(length: int) -> NDArray[np.int64]:
        rows = slice(unit.start, unit.start + length)
        return encoder.trunk(data.items[rows], unit.head, None if dates is None else dates[rows])

    of_positions = zip(unit.positions, unit.tails, unit.answers[1], unit.waits, strict=True)
    for position, (sequential, negative), hated, wait in of_positions:
        before = trunk_of(position)
        ahead = [] if dates is None else [token_of(encoder, "gap", wait)]
        questions = []
        if sequential >= 0:
            following = [data.items[unit.start + position]]
            questions.append(("sequential", encoder.tails["sequential"][sequential], following))
        if negative >= 0:
            rejected = [item for item in hated if item >= 0]
            questions.append(("negative", encoder.tails["negative"][negative], rejected))
        for task, words, answers in questions:
            tail = [*ahead, *words.tolist()]
            if len(before) + len(tail) > limit:
                too_long += len(answers)
            else:
                asked.append((task, len(before), tail, [encoder.item_tokens[item].tolist() for item in answers]))
    if not asked:
        return None, too_long
    row = PlainRow()
    shown = max(visible for _, visible, _, _ in asked)
    trunk = trunk_of(unit.positions[-1])[:shown].tolist()
    row.add_trunk(trunk)
    for task, visible, tail, labels in asked:
        row.add_branch(task, visible, tail, labels, encoder.end)
    step = encoder.num_levels + num_dates + len(encoder.separator)
    item = len(encoder.heads[unit.head]) + step
    while item < len(trunk):
        for token in range(item, item + encoder.num_levels):
            row.history_index.append(token - 1)
            row.history_tokens.append(trunk[token])
        item += step
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


def each(rows: EpochRows) -> list[PaddedRows]:
    """Every row by itself."""
    return [rows[index].padded(0) for index in range(len(rows))]


def paths(row: PaddedRows, levels: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Prompt and label of every sample of a row, read from the tokens that the label's last token sees."""
    mask = span_mask(torch.from_numpy(row.spans))[0, 0].numpy()
    tokens, positions = row.tokens[0], row.positions[0]
    found = []
    for at in range(0, len(row.label_tokens), levels + 1):
        index, label = row.label_index[at : at + levels + 1], row.label_tokens[at : at + levels + 1]
        seen = np.flatnonzero(mask[index[-1]])
        order = seen[np.argsort(positions[seen], kind="stable")]
        assert positions[order].tolist() == list(range(len(order)))
        for earlier, token in enumerate(
            order
        ):  # causal along the path: a token sees the path before it and nothing else
            assert set(np.flatnonzero(mask[token])) == set(order[: earlier + 1])
        assert index.tolist() == order[-levels - 1 :].tolist()
        assert tokens[order[-levels:]].tolist() == label[:-1].tolist()
        found.append((tuple(tokens[order[:-levels]].tolist()), tuple(label.tolist())))
    return found


def require_equal(rows: EpochRows, plain: Sequence[PlainRow]) -> None:
    """Require that vectorised rows equal those of loops, one row at a time."""
    assert rows.lengths.tolist() == [len(row.tokens) for row in plain]
    assert rows.num_samples.tolist() == [row.num_samples for row in plain]
    for index, one in enumerate(plain):
        made = rows[index].padded(0)
        assert made.tokens[0].tolist() == one.tokens
        assert made.positions[0].tolist() == one.positions
        assert [tuple(span) for span in made.spans[0].tolist()] == one.spans
        assert made.label_index.tolist() == one.label_index
        assert made.label_tokens.tolist() == one.label_tokens
        assert made.history_index.tolist() == one.history_index
        assert made.history_tokens.tolist() == one.history_tokens
        assert [TASK_NAMES[task] for task in made.sample_tasks] == one.tasks


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
