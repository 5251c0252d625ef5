"""The list of all tasks, in a fixed order."""

from __future__ import annotations

from typing import Final

from semconv.tasks.history_tasks import HISTORY_TASKS, HistoryTask
from semconv.tasks.text_tasks import TEXT_TASKS, TextTask
from semconv.tasks.wordings import HISTORY_HEADS, SEPARATOR, opening

TASKS: Final[tuple[HistoryTask | TextTask, ...]] = (*HISTORY_TASKS, *TEXT_TASKS)
TASK_NAMES: Final = tuple(task.name for task in TASKS)  # samples are counted in this order


def phrases() -> list[str]:
    """Return every fixed piece of the prompts. The built-in backbone's tokenizer has one token for each piece."""
    pieces = [opening(head) for head in HISTORY_HEADS]
    for task in TASKS:
        pieces += task.phrases()
    return [*dict.fromkeys([*pieces, SEPARATOR])]
