"""Turn the training samples of an epoch into readable prompts and labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from semconv.tasks.plan import EpochPlan, Question
from semconv.tasks.rows import RowBuilder
from semconv.tasks.wordings import HISTORY_HEADS, closing, opening

_PROMPTS_AT_ONCE = 4096


@dataclass(frozen=True)
class Sample:
    """One prompt with its label."""

    task: str  # name of the task
    prompt: str
    label: str
    user: int  # -1 for words that belong to an item
    item: int


def samples(builder: RowBuilder, plan: EpochPlan) -> Iterator[Sample]:
    """Yield every sample that training uses in an epoch. ``builder.too_long`` then counts prompts that are too long."""
    for question in plan.histories.questions():
        yield from _history_samples(builder, question)
    for start in range(0, len(plan.texts), _PROMPTS_AT_ONCE):
        units = list(plan.texts.select(slice(start, start + _PROMPTS_AT_ONCE)))
        prompts = [builder.text_prompt(unit) for unit in units]
        _, lengths = builder.encoder.tokenize(prompts)
        for unit, prompt, length in zip(units, prompts, lengths, strict=True):
            if length <= builder.settings.max_prompt_tokens:
                yield Sample(unit.task.name, prompt, builder.encoder.item_text(unit.item), unit.user, unit.item)
            else:
                builder.too_long += 1


def _history_samples(builder: RowBuilder, asked: Question) -> Iterator[Sample]:
    encoder, task = builder.encoder, asked.task
    rows = slice(asked.start, asked.start + asked.position)
    history, dates = builder.data.items[rows], None if builder.dates is None else builder.dates[rows]
    num_tokens = len(encoder.trunk(history, asked.head)) + len(encoder.tail(task.name, asked.tail))
    if num_tokens > builder.settings.max_prompt_tokens:
        builder.too_long += len(asked.answers)
        return
    history_text = encoder.history_text(history, dates, asked.wait)
    prompt = opening(HISTORY_HEADS[asked.head]) + history_text + closing(task.tails[asked.tail])
    for item in asked.answers:
        yield Sample(task.name, prompt, encoder.item_text(item), asked.user, item)
