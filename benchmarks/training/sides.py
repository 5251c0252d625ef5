"""The two sides of the benchmark of training: rows of shared histories, and one padded prompt for each sample.

``semconv.tuning.step`` updates the built-in backbone model on both sides. The peer's batches hold prompts of similar
length, padded on the right, so it needs no mask and uses the plain causal kernel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.data import games_sequences, make_sequences
from semconv.backbone.code_tokens import add_code_tokens
from semconv.backbone.create import create_backbone
from semconv.backbone.load import load_backbone
from semconv.data.core import train_part
from semconv.data.store import Sequences
from semconv.settings.backbone import BackboneSettings
from semconv.settings.tasks import TaskSettings
from semconv.settings.tuning import TuningSettings
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.history_tasks import HISTORY_TASKS
from semconv.tasks.padded import EpochRows
from semconv.tasks.plan import EpochPlan, plan_epoch
from semconv.tasks.registry import phrases
from semconv.tasks.rows import RowBuilder, epoch_rows
from semconv.tasks.selection import task_data
from semconv.tuning.batches import Batch, batch_order, collate
from semconv.tuning.choices import CodeChoices
from semconv.tuning.form import TokenForm
from semconv.tuning.model import prepare
from semconv.tuning.step import Stepper

# Lengths of the training histories of Games: quantiles in steps of 1/40.
GAMES_LENGTHS = [3] * 13 + [4] * 8 + [5] * 4 + [6] * 4 + [7, 7, 8, 8, 9, 10, 11, 12, 15, 18, 26, 40]
NUM_ITEMS, LEVELS, CODES, HISTORY, BATCH_TOKENS = 16_859, 4, 256, 20, 2048  # items of Games, otherwise defaults
TUNING = TuningSettings(learning_rate=3e-3, history_loss=0.0, batch_tokens=BATCH_TOKENS)

Shape = tuple[int, int, int]  # of a batch: rows, tokens of the longest row, label tokens


@dataclass(frozen=True)
class Side:
    """One way to train on the samples. A batch is made when it is needed."""

    samples: int
    lengths: NDArray[np.int64]  # (R,) tokens of each row
    collate: Callable[[list[int]], Batch]

    def batches(self) -> list[list[int]]:
        """Return the rows of each batch, batches of short rows first."""
        order = batch_order(self.lengths, BATCH_TOKENS, seed=0, epoch=0)
        return sorted(order, key=lambda members: int(self.lengths[members].max()))


@dataclass
class Timed:
    """Times of some steps of one side: making the batch, forward, backward and optimizer."""

    samples: float = 0.0  # counts the mean number of samples for each batch, as a few batches may differ from it
    cpu: float = 0.0  # seconds of this process
    wall: float = 0.0  # seconds
    shapes: list[Shape] = field(default_factory=list)


def make_backbone(folder: Path) -> None:
    """Make a built-in backbone with a full vocabulary, from drawn words."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghijklmnop"), size=7)) for _ in range(2000)]
    texts = [" ".join(rng.choice(words, size=8)) for _ in range(1500)]
    create_backbone(folder, texts, [], phrases(), BackboneSettings())


class Bench:
    """A backbone with code tokens, and drawn codes of as many items as Games has."""

    def __init__(self, folder: Path) -> None:
        """Load the backbone of ``make_backbone`` from its folder."""
        self.model, tokenizer = load_backbone(folder)
        self.level_tokens = add_code_tokens(self.model, tokenizer, LEVELS, CODES)
        rng = np.random.default_rng(0)
        flat = rng.choice(CODES**2, NUM_ITEMS, replace=False) * CODES**2 + rng.integers(CODES**2, size=NUM_ITEMS)
        self.codes = np.stack([flat // CODES**level % CODES for level in reversed(range(LEVELS))], axis=1)
        index = np.arange(NUM_ITEMS, dtype=np.int32)
        self.encoder = PromptEncoder(tokenizer, self.level_tokens, index, self.codes.astype(np.uint16), NUM_ITEMS)
        self.model = prepare(self.model, self.level_tokens, TUNING)
        self.score_over("codes")

    def score_over(self, what: str) -> None:
        """Choose the tokens that a code competes with in the loss: the whole 'vocabulary', or only existing 'codes'."""
        choices = CodeChoices(self.level_tokens, self.codes) if what == "codes" else None
        self.stepper = Stepper(self.model, TokenForm(_no_epoch, 0, choices), TUNING)

    def epoch(self, train: Sequences, tasks: TaskSettings) -> tuple[RowBuilder, EpochPlan]:
        """Draw the samples of an epoch of some users."""
        titles = [None] * NUM_ITEMS
        data = task_data(train, self.encoder.has_codes, titles, titles, tasks)
        return RowBuilder(self.encoder, data, tasks), plan_epoch(data, tasks, 0, HISTORY)

    def timed(
        self, both: Mapping[str, Side], steps: int, beside: Callable[[Shape], None] = lambda shape: None
    ) -> dict[str, Timed]:
        """Measure steps of the sides in turn, so that a busy moment affects both.

        The batches are spread evenly over the lengths. A first step of each side is not measured. ``beside`` is called
        with the shape of each batch of the first side.
        """
        orders = {which: side.batches() for which, side in both.items()}
        found = {which: Timed() for which in both}
        for number in range(-1, steps):
            for which, side in both.items():
                order, of = orders[which], found[which]
                wall, cpu = time.perf_counter(), time.process_time()
                batch = side.collate(order[int((max(number, 0) + 0.5) / steps * len(order))])
                self.stepper.update([(batch, 1.0)], number + 1, 1e-4)
                if number >= 0:
                    of.cpu += time.process_time() - cpu
                    of.wall += time.perf_counter() - wall
                    of.samples += side.samples / len(order)
                    of.shapes.append((*batch.input_ids.shape, len(batch.label_tokens)))
            if number >= 0:
                beside(next(iter(found.values())).shapes[-1])
        return found

    @torch.no_grad()
    def loss(self, side: Side) -> float:
        """Return the mean cross entropy over all label tokens, without dropout."""
        self.model.eval()
        sums, count = 0.0, 0
        for members in side.batches():
            batch = side.collate(members)
            sums += float(self.stepper.loss(batch).label)
            count += self.stepper.loss.counts([batch]).label
        return sums / count


def _no_epoch(_epoch: int) -> EpochRows:
    raise AssertionError("the batches of the sides are measured, no epoch")


def shared(builder: RowBuilder, plan: EpochPlan) -> Side:
    """Make our side: rows of shared histories."""
    rows = epoch_rows(builder, plan, np.random.default_rng(0))
    return Side(int(rows.num_samples.sum()), rows.lengths, lambda members: collate(rows[members], 0))


def padded(builder: RowBuilder, plan: EpochPlan) -> Side:
    """Make the peer's side: one prompt for each sample."""
    encoder, items = builder.encoder, builder.data.items
    prompts: list[tuple[NDArray[np.int64], NDArray[np.int64], int]] = []
    for asked in plan.histories.questions():
        trunk = encoder.trunk(items[asked.start : asked.start + asked.position], asked.head)
        question = np.concatenate([trunk, encoder.tails[asked.task.name][asked.tail]])
        prompts += [(question, encoder.item_tokens[item], HISTORY_TASKS.index(asked.task)) for item in asked.answers]
    lengths = np.array([len(question) + LEVELS for question, _, _ in prompts])
    return Side(len(prompts), lengths, lambda members: padded_batch([prompts[index] for index in members], encoder.end))


def padded_batch(prompts: Sequence[tuple[NDArray[np.int64], NDArray[np.int64], int]], end: int) -> Batch:
    """Make a batch of prompts with their labels, padded on the right; causal attention never sees the padding."""
    longest = max(len(question) for question, _, _ in prompts) + LEVELS
    tokens = np.zeros((len(prompts), longest), dtype=np.int64)
    last = np.array([len(question) - 1 for question, _, _ in prompts])
    for row, (question, label, _) in enumerate(prompts):
        tokens[row, : len(question)] = question
        tokens[row, len(question) : len(question) + LEVELS] = label
    index = (np.arange(len(prompts)) * longest + last)[:, None] + np.arange(LEVELS + 1)
    labels = np.concatenate([np.stack([label for _, label, _ in prompts]), np.full((len(prompts), 1), end)], axis=1)
    nothing = torch.zeros(0, dtype=torch.long)
    return Batch(
        torch.from_numpy(tokens),
        torch.arange(longest).expand(len(prompts), longest),
        None,
        torch.from_numpy(index.ravel()),
        torch.from_numpy(labels.ravel()),
        nothing,
        nothing,
        torch.tensor([task for _, _, task in prompts]),
    )


def games_train() -> Sequences | None:
    """Return the train cut of Games, None without the data."""
    found = games_sequences()
    return None if found is None else train_part(found[0], "[:-2]", 2, len(found[1]))


def drawn(lengths: NDArray[np.int64]) -> Sequences:
    """Draw users with histories of these lengths."""
    items = np.random.default_rng(2).integers(NUM_ITEMS, size=int(lengths.sum()))
    return make_sequences([""] * len(lengths), lengths, items)


def some_users(train: Sequences, count: int) -> Sequences:
    """Return a fixed sample of the users."""
    keep = np.zeros(len(train), dtype=bool)
    keep[np.random.default_rng(3).permutation(len(train))[:count]] = True
    return train.select_rows(np.repeat(keep, train.lengths))
