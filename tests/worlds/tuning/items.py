"""A small training whose histories are items, from the choice of its weights to the file of its item parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from semconv.backbone.code_tokens import add_code_tokens
from semconv.backbone.load import load_backbone
from semconv.data.calendar import Calendar
from semconv.data.histories import Histories
from semconv.data.store import Sequences, day_numbers
from semconv.item_head.form import ItemForm
from semconv.item_head.parts import NAME, ItemParts
from semconv.item_head.prompts import ItemPrompt, Moments, PromptMaker
from semconv.item_head.search import Counted, ItemSearcher
from semconv.item_head.setup import ItemSetup
from semconv.item_head.successors import SuccessorTable
from semconv.item_head.texts import TextBasis
from semconv.search.search import SearchResult, SearchSettings
from semconv.settings.tasks import TaskSettings
from semconv.settings.tuning import TuningSettings
from semconv.tasks.selection import task_data
from semconv.tuning.model import prepare, trainable
from semconv.tuning.step import StepFigures, Stepper
from tests.worlds import prompts as case
from tests.worlds.dated_sequences import dated_sequences

HISTORY, NUM_ITEMS = 4, 20
TASKS = TaskSettings(query=False, negatives=0)
SETTINGS = TuningSettings(
    history="items", learning_rate=1e-3, batch_tokens=64, weight_decay=0.0, dropout=0.0, own_row_dropout=0.0
)


class ItemCase:
    """A model of a saved backbone, ready to be trained on six users with dates."""

    def __init__(self, backbone: Path, settings: TuningSettings = SETTINGS) -> None:
        self.settings = settings
        model, self.tokenizer = load_backbone(backbone)
        self.level_tokens = add_code_tokens(model, self.tokenizer, case.LEVELS, case.CODES)
        self.encoder = case.encoder_of(self.tokenizer, self.level_tokens, NUM_ITEMS)
        self.train: Sequences = dated_sequences([9, 2, 3, 4, 6, 8], NUM_ITEMS)
        titles = [f"item number {item}" for item in range(NUM_ITEMS)]
        data = task_data(self.train, self.encoder.has_codes, titles, [None] * NUM_ITEMS, TASKS)
        calendar = Calendar.of(day_numbers(data.times))
        self.form = ItemForm(data, self.encoder, TASKS, HISTORY, calendar, 0, num_latest=2)
        texts = np.random.default_rng(1).normal(size=(NUM_ITEMS, 3)).astype(np.float32)
        basis = TextBasis(np.zeros(3, np.float32), np.eye(3, dtype=np.float32))
        table = SuccessorTable.count(self.form.sequences, NUM_ITEMS)
        counts = self.form.counts
        self.setup = ItemSetup(self.encoder.item_tokens, texts, counts, calendar, basis, None, 2, table)
        self.model = prepare(model, self.level_tokens, settings)
        self.setup.attach(self.model, settings.seed)

    @property
    def parts(self) -> ItemParts:
        parts: ItemParts = getattr(self.model, NAME)
        return parts

    def step(self, share: float = 1.0) -> StepFigures:
        """Update the weights once from all rows of the first epoch."""
        return Stepper(self.model, self.form, self.settings).step([self.form.rows(0)], 0, share)

    def disturb(self) -> None:
        """Change every weight that is trained, so that each of them matters."""
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in trainable(self.model).values():
                weight += 0.1 * torch.randn(weight.shape, generator=generator)

    def weights(self) -> dict[str, torch.Tensor]:
        """Return a copy of all weights, trained or not, by name."""
        return {name: weight.detach().clone() for name, weight in self.model.named_parameters()}

    def search(self, model: Any, parts: ItemParts) -> SearchResult:
        """Return the lists of all users and of one query in words."""
        coded = np.flatnonzero(self.encoder.has_codes).astype(np.int32)
        counted = Counted(self.form.table, self.setup.successors)
        search = SearchSettings(len(coded), len(coded))
        searcher = ItemSearcher(model, parts, coded, np.ones(NUM_ITEMS, dtype=bool), counted, search)
        return searcher.search(self.prompts(), None)

    def prompts(self) -> list[ItemPrompt]:
        """Return the inputs of all users, and of a query that holds code tokens."""
        train = self.train
        histories = Histories(train.offsets[:-1], np.diff(train.offsets), train.items, train.times)
        moments = Moments(self.form.table, day_numbers(train.times[train.offsets[1:] - 1]) + 3)
        maker = PromptMaker(self.setup.calendar, self.encoder.has_codes, HISTORY)
        users = maker.prompts(histories, np.arange(len(train), dtype=np.int32), moments)
        query = np.concatenate([np.arange(5), self.level_tokens[:, 1]])
        return [*users, ItemPrompt.of_query(query)]
