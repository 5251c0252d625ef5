"""Samples as people read them: prompt, label, task, one at a time, exactly what training sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from semconv.tasks import wordings
from semconv.tasks.plan import EpochPlan, HistoryUnit
from semconv.tasks.rows import RowBuilder

_PROMPTS_AT_ONCE = 4096


@dataclass(frozen=True)
class Sample:
    """One prompt with its label; ``user`` is -1 for the text task."""

    task: str  # 'sequential', 'text', 'query', 'negative'
    prompt: str
    label: str
    user: int
    item: int


def samples(builder: RowBuilder, plan: EpochPlan) -> Iterator[Sample]:
    """Every sample of an epoch; prompts over the limit are left out and counted in ``builder.too_long``."""
    for history in plan.histories:
        yield from _history_samples(builder, history)
    for start in range(0, len(plan.texts), _PROMPTS_AT_ONCE):
        units = list(plan.texts.select(slice(start, start + _PROMPTS_AT_ONCE)))
        prompts = [builder.text_prompt(unit) for unit in units]
        _, lengths = builder.encoder.tokenize_flat(prompts)
        for unit, prompt, length in zip(units, prompts, lengths, strict=True):
            if length <= builder.settings.max_prompt_tokens:
                yield Sample(unit.task, prompt, builder.encoder.item_text(unit.item), unit.user, unit.item)
            else:
                builder.too_long += 1


def _history_samples(builder: RowBuilder, unit: HistoryUnit) -> Iterator[Sample]:
    encoder, items = builder.encoder, builder.data.items
    head = wordings.opening(wordings.HISTORY_HEADS[unit.head])
    for place, sequential, negative, hated in zip(
        unit.places, unit.sequential_tails, unit.negative_tails, unit.negatives, strict=True
    ):
        history = items[unit.start : unit.start + place]
        visible = len(encoder.trunk(history, unit.head))
        asked = []
        if sequential >= 0:
            tail = wordings.closing(wordings.SEQUENTIAL_TAILS[sequential])
            asked.append(
                ("sequential", tail, [int(items[unit.start + place])], len(encoder.sequential_tails[sequential]))
            )
        if negative >= 0:
            tail = wordings.closing(wordings.NEGATIVE_TAILS[negative])
            asked.append(
                ("negative", tail, [int(item) for item in hated if item >= 0], len(encoder.negative_tails[negative]))
            )
        for task, tail, answers, tail_tokens in asked:
            if visible + tail_tokens > builder.settings.max_prompt_tokens:
                builder.too_long += len(answers)
                continue
            prompt = head + encoder.history_text(history) + tail
            for item in answers:
                yield Sample(task, prompt, encoder.item_text(item), unit.user, item)
