"""The value from which a model is trained. It holds all inputs of a training but the weights of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.backbone.load import model_from_config
from semconv.item_head.form import ItemForm
from semconv.item_head.setup import ItemSetup
from semconv.settings.tasks import TaskSettings
from semconv.settings.tuning import TuningSettings
from semconv.tasks.data import TaskData
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.source import PromptSource
from semconv.train.validation import Validation
from semconv.tuning.choices import CodeChoices
from semconv.tuning.code_rows import LAYERS, CodeRows
from semconv.tuning.form import Form, TokenForm
from semconv.tuning.model import prepare


@dataclass(frozen=True)
class TuningTask:
    """The data that a process needs for a training. Model weights are handed over separately, as tensors.

    Attributes:
        config: configuration of the model, with the code tokens.
        encoder: makes the tokens of prompts.
        data: the training sequences, and the texts.
        tasks: which tasks are on, and the shares of their samples.
        history_length: largest number of items of a history that the model reads.
        tuning: settings of the training, with all defaults filled in.
        level_tokens: ``(N, C)`` token of each code, levels by codes.
        item_index: ``(M,)`` all items that have codes.
        codes: ``(M, N)`` their codes.
        pad: the token that fills up short rows.
        setup: the arrays of the item parts; None when histories are code tokens.
        validation: the users whose lists are scored after each epoch; None for a training without validation, and in
            the other processes of a group.
        is_validated: whether the first process validates.
        book_width: length of the code vectors from which a network computes the embeddings of the code tokens; 0 without
            such a network.
    """

    config: Any
    encoder: PromptEncoder
    data: TaskData
    tasks: TaskSettings
    history_length: int
    tuning: TuningSettings
    level_tokens: NDArray[np.int64]
    item_index: NDArray[np.int32]
    codes: NDArray[np.uint16]
    pad: int
    setup: ItemSetup | None
    validation: Validation | None
    is_validated: bool
    book_width: int

    @property
    def added_tokens(self) -> NDArray[np.int64]:
        """The tokens that were added to the tokenizer: of codes, level after level, and of dates."""
        dates = self.encoder.dates
        return np.concatenate([self.level_tokens.ravel(), *([] if dates is None else [dates.ids])])

    def form(self, source: PromptSource) -> Form:
        """Return the form in which the model reads histories, for the training data of ``source``."""
        if self.setup is not None:
            setup, tasks, length = self.setup, source.tasks, source.history_length
            return ItemForm(
                source.data, source.encoder, tasks, length, setup.calendar, self.pad, setup.num_latest, setup.successors
            )
        choices = CodeChoices(self.level_tokens, self.codes) if self.tuning.loss_over == "trie" else None
        return TokenForm(source.rows, self.pad, choices)

    def new_model(self) -> StartModel:
        """Return a model of this task with other weights, which the weights of the task's model must overwrite."""
        model = prepare(model_from_config(self.config), self.added_tokens, self.tuning)
        rows, layers = None, LAYERS.get(self.tuning.code_start)
        if self.book_width and layers is not None:
            books = np.zeros((*self.level_tokens.shape, self.book_width), dtype=np.float32)
            rows = CodeRows(model, self.level_tokens, books, layers, self.tuning.seed)
        if self.setup is not None:
            self.setup.attach(model, self.tuning.seed)
        return StartModel(model, rows)


@dataclass(frozen=True)
class StartModel:
    """A model that is ready for training.

    Attributes:
        model: the model, with its trainable weights chosen.
        rows: the network that computes the embeddings of the code tokens, or None if there is no network. After the
            training, the network's results replace the embeddings.
    """

    model: Any
    rows: CodeRows | None
