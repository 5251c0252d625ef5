"""The source of an epoch's training rows: the training data, the encoder of prompts, and the settings of the tasks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from semconv.progress import Progress
from semconv.settings.tasks import TaskSettings
from semconv.tasks.data import TaskData
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.padded import EpochRows
from semconv.tasks.plan import plan_epoch
from semconv.tasks.rows import RowBuilder, epoch_rows


@dataclass(frozen=True)
class PromptSource:
    """Builds the token rows of an epoch. Every process of a training builds the same rows."""

    encoder: PromptEncoder
    data: TaskData
    tasks: TaskSettings
    history_length: int  # largest number of items of a history in a prompt
    progress: Progress
    too_long: dict[int, int] = field(default_factory=dict)  # epoch -> number of left-out prompts

    def builder(self) -> RowBuilder:
        """Return a new row builder, which counts too long prompts from 0."""
        return RowBuilder(self.encoder, self.data, self.tasks)

    def rows(self, epoch: int) -> EpochRows:
        """Return the token rows of an epoch."""
        plan = plan_epoch(self.data, self.tasks, epoch, self.history_length, self.encoder.dates)
        builder = self.builder()
        rows = epoch_rows(builder, plan, np.random.default_rng([self.tasks.seed, epoch]))
        if builder.too_long and not self.too_long:
            self.progress.say(
                f"{builder.too_long} prompts of each epoch are left out, because they are longer than tasks.max_prompt_tokens or the backbone's context"
            )
        self.too_long[epoch] = builder.too_long
        return rows
