"""Turn the plan of an epoch into token rows. Prompts with the same history share a row, and so do prompts with text.

A row is a flat sequence of tokens. Each token has a position and the spans of the row to which it attends. In a row of
prompts with the same history, the trunk (head and history) is written once. The tail of each prompt is a branch: it
attends to its own prefix of the trunk and to itself, and its tokens have the same positions as in a separate row. Each
label attends to its own prompt and to itself. So the loss of a row equals the loss of its samples computed one at a
time, with far fewer tokens.

Flat arrays store the samples of an epoch with a few bytes for each sample. Token arrays are made batch by batch.
"""

from __future__ import annotations

import numpy as np

from semconv.data.store import day_numbers
from semconv.errors import InputError
from semconv.settings.tasks import TaskSettings
from semconv.tasks.data import TaskData
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.padded import EpochRows
from semconv.tasks.plan import EpochPlan, HistoryPlan, TextPlan, TextUnit
from semconv.tasks.trees import Trees, history_trees, packed_trees

PACKED_ROW_TOKENS = 256


class RowBuilder:
    """A builder of the token rows of a plan.

    Attributes:
        dates: ``(n, 2)`` tokens of the dates of ``data.items``; None without dates.
        too_long: number of samples whose prompts are too long, so far.
    """

    def __init__(self, encoder: PromptEncoder, data: TaskData, settings: TaskSettings) -> None:
        self.encoder = encoder
        self.data = data
        self.settings = settings
        self.dates = None if encoder.dates is None else encoder.dates.of_events(day_numbers(data.times), data.offsets)
        self.too_long = 0

    def history_trees(self, plan: HistoryPlan) -> Trees:
        """Build one tree for each history. The branches of the tree are all prompts with this history."""
        trees, too_long = history_trees(self.encoder, plan, self.settings.max_prompt_tokens)
        self.too_long += too_long
        return trees

    def text_trees(self, plan: TextPlan) -> Trees:
        """Pack the samples with text into rows, several samples in each row."""
        tokens, lengths = self.encoder.tokenize(map(self.text_prompt, plan))
        is_short = lengths <= self.settings.max_prompt_tokens
        self.too_long += int((~is_short).sum())
        tokens = tokens[np.repeat(is_short, lengths)]
        return packed_trees(
            tokens, lengths[is_short], plan.select(is_short), self.encoder.num_levels, PACKED_ROW_TOKENS
        )

    def text_prompt(self, unit: TextUnit) -> str:
        """Return the prompt of a sample with text."""
        return unit.task.prompt(self.data.texts[unit.task.name].words_of(unit.sample), unit.wording)


def epoch_rows(builder: RowBuilder, plan: EpochPlan, rng: np.random.Generator) -> EpochRows:
    """Build all rows of an epoch. Samples with text are shuffled, so different samples share a row in each epoch.

    Raises:
        InputError: there are prompts, but all of them are too long.
    """
    texts = plan.texts.select(rng.permutation(len(plan.texts)))
    trees = builder.history_trees(plan.histories).joined(builder.text_trees(texts))
    if builder.too_long and not len(trees):
        limit = builder.settings.max_prompt_tokens
        raise InputError(
            f"all {builder.too_long} prompts of an epoch are longer than tasks.max_prompt_tokens = {limit}; raise it, or lower split.history_length"
        )
    return EpochRows(builder.encoder, builder.data.items, trees, builder.data.weights, builder.dates)
