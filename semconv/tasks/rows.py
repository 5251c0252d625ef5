"""From a plan to token rows: shared histories as trees, item and query samples packed.

A row is a flat sequence of tokens with positions and, for each token, the spans of the row that it sees. In a history
row the trunk (head and history) stands once; each question is a branch that sees its own prefix of the trunk and
itself, at the positions it would have had alone; each label is a branch of its question. The loss of a row therefore
equals the loss of its samples computed one at a time, at a fraction of the tokens.

An epoch is held as flat arrays, some bytes a sample; token arrays are made for the rows of a batch, when it is due.
"""

from __future__ import annotations

import numpy as np

from semconv.errors import InputError
from semconv.settings.tasks import TaskSettings
from semconv.tasks.data import TaskData
from semconv.tasks.encoder import PromptEncoder, query_text, text_text
from semconv.tasks.padded import EpochRows
from semconv.tasks.plan import EpochPlan, HistoryPlan, TextPlan, TextUnit
from semconv.tasks.trees import TASKS, TextSamples, Trees, history_trees, packed_trees

PACKED_ROW_TOKENS = 256


class RowBuilder:
    """Builds the rows of a plan and counts what it had to leave out."""

    def __init__(self, encoder: PromptEncoder, data: TaskData, settings: TaskSettings) -> None:
        self.encoder = encoder
        self.data = data
        self.settings = settings
        self.too_long = 0

    def history_trees(self, plan: HistoryPlan) -> Trees:
        """One tree a shared history."""
        trees, too_long = history_trees(self.encoder, self.data.items, plan, self.settings.max_prompt_tokens)
        self.too_long += too_long
        return trees

    def text_trees(self, plan: TextPlan) -> Trees:
        """Item and query samples, several to a row."""
        tokens, lengths = self.encoder.tokenize_flat(map(self.text_prompt, plan))
        is_short = lengths <= self.settings.max_prompt_tokens
        self.too_long += int((~is_short).sum())
        tasks = np.where(plan.row < 0, TASKS.index("text"), TASKS.index("query"))
        samples = TextSamples(
            tokens[np.repeat(is_short, lengths)], lengths[is_short], plan.item[is_short], tasks[is_short]
        )
        return packed_trees(samples, self.encoder.num_levels, PACKED_ROW_TOKENS)

    def text_prompt(self, unit: TextUnit) -> str:
        """The prompt of an item or query sample as text."""
        if unit.task == "query":
            return query_text(self.data.queries[unit.row], unit.wording)
        return text_text(self.data.titles[unit.item], self.data.descriptions[unit.item], unit.wording)


def epoch_rows(builder: RowBuilder, plan: EpochPlan, rng: np.random.Generator) -> EpochRows:
    """All rows of an epoch; packed samples in a drawn order, so that no two epochs pack alike.

    Raises:
        InputError: there are prompts, and all of them are too long.
    """
    texts = plan.texts.select(rng.permutation(len(plan.texts)))
    trees = builder.history_trees(plan.histories).joined(builder.text_trees(texts))
    if builder.too_long and not len(trees):
        limit = builder.settings.max_prompt_tokens
        raise InputError(
            f"all {builder.too_long} prompts of an epoch are longer than tasks.max_prompt_tokens = {limit}; raise it, or lower split.history_length"
        )
    return EpochRows(builder.encoder, builder.data.items, trees)
