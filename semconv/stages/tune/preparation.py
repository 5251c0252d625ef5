"""Prepare a tuning: read everything that the training needs as one value, and load the model that it starts from."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.backbone.code_tokens import start_from_books
from semconv.errors import InputError
from semconv.item_head.recipe import with_epochs
from semconv.item_head.setup import ItemSetup
from semconv.runs.files import ITEM_PARTS
from semconv.runs.workspace import Workspace
from semconv.settings.tuning import TuningSettings
from semconv.stages.codes.item_codes import ItemCodes
from semconv.stages.tune.inputs import TuningInputs
from semconv.stages.tune.item_setup import item_setup
from semconv.stages.tune.prompts import prepared_backbone, prompt_source
from semconv.stages.tune.tuned import tuned_folder
from semconv.stages.tune.validation import ValidationUsers, read_validation
from semconv.tasks.source import PromptSource
from semconv.tokenization.code_set import CodeSet
from semconv.train.task import StartModel, TuningTask
from semconv.tuning.code_rows import LAYERS, CodeRows
from semconv.tuning.model import prepare, take_adapter


@dataclass(frozen=True)
class Preparation:
    """The inputs of one tuning, read from the project."""

    workspace: Workspace
    inputs: TuningInputs
    tuning: TuningSettings
    codes: ItemCodes

    @cached_property
    def _loaded(self) -> tuple[Any, Any, NDArray[np.int64]]:
        """The model, the tokenizer, and the token of each code ``(N, C)``, levels by codes."""
        return prepared_backbone(self.workspace, self.inputs)

    @cached_property
    def _source(self) -> PromptSource:
        return prompt_source(self.workspace, self.inputs, self._loaded, self.codes)

    @cached_property
    def _books(self) -> NDArray[np.float32] | None:
        """The code vectors ``(N, C, D)`` from which the embeddings of the code tokens start; None for random ones."""
        if self.inputs.start is not None or self.tuning.code_start == "random":
            return None
        return CodeSet.load(self.workspace.intact(self.inputs.codes.codebook)).books

    @cached_property
    def _setup(self) -> ItemSetup | None:
        """The arrays of the item parts of the model; None when histories are code tokens."""
        if self.tuning.history != "items":
            return None
        start, source = self.inputs.start, self._source
        folder = None if start is None else self.workspace.intact(start.run, ITEM_PARTS).parent
        return item_setup(self.workspace, self.inputs.codes, source.encoder, source.data, self.tuning, folder)

    @cached_property
    def validation(self) -> ValidationUsers | None:
        """The users who are validated; None for a training without validation."""
        inputs = self.inputs
        before = [*inputs.codes.runs, *(() if inputs.start is None else inputs.start.runs)]
        return read_validation(self.workspace, self._source.encoder, self.codes, self.tuning, self._setup, before)

    @cached_property
    def _resolved(self) -> TuningSettings:
        """The settings with a number of epochs.

        A continued tuning without validation users has nothing to choose the factor of the successors by, so it keeps
        that of the earlier tuning.
        """
        tuning = with_epochs(self.tuning, len(self._source.data.items))
        before = None if self._setup is None else self._setup.start
        if before is None or self.validation is not None or tuning.successor_factor is not None:
            return tuning
        return replace(tuning, successor_factor=before.successor_factor)

    @cached_property
    def task(self) -> TuningTask:
        """Everything that the training needs but the weights of the model.

        Raises:
            InputError: prompts are longer than the backbone's context.
        """
        source, books = self._source, self._books
        model, tokenizer, level_tokens = self._loaded
        _check_context(model, source)
        has_network = self.tuning.code_start in LAYERS
        return TuningTask(
            config=copy.deepcopy(model.config),
            encoder=source.encoder,
            data=source.data,
            tasks=source.tasks,
            history_length=source.history_length,
            tuning=self._resolved,
            level_tokens=level_tokens,
            item_index=self.codes.item_index,
            codes=self.codes.codes,
            pad=int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id),
            setup=self._setup,
            validation=None if self.validation is None else self.validation.data,
            is_validated=self.validation is not None,
            book_width=books.shape[2] if books is not None and has_network else 0,
        )

    def start_model(self) -> StartModel:
        """Return the model with its trainable weights chosen and the embeddings of its code tokens initialised."""
        tuning, start, setup, books = self.task.tuning, self.inputs.start, self._setup, self._books
        model, _, level_tokens = self._loaded
        if books is not None and tuning.code_start == "codebook":
            start_from_books(model, level_tokens, books, tuning.seed)
        model, rows = prepare(model, self.task.added_tokens, tuning), None
        if start is not None and tuning.mode == "lora":
            take_adapter(model, tuned_folder(self.workspace, start))
        layers = LAYERS.get(tuning.code_start)
        if books is not None and layers is not None:
            rows = CodeRows(model, level_tokens, books, layers, tuning.seed)
        if setup is not None:
            setup.attach(model, tuning.seed)
        return StartModel(model, rows)


def _check_context(model: Any, source: PromptSource) -> None:
    """Refuse a history length whose prompts are longer than the backbone's context."""
    encoder, length = source.encoder, source.history_length
    tokens_per_item = encoder.separated_tokens.shape[1]
    tail = max(len(encoder.tail(name, number)) for name, tails in encoder.tails.items() for number in range(len(tails)))
    needed = max(map(len, encoder.heads)) + length * tokens_per_item + tail + encoder.num_levels
    context = getattr(model.config, "max_position_embeddings", None)
    if context is not None and needed > context:
        fits = length - -(-(needed - context) // tokens_per_item)
        raise InputError(
            f"a history of {length} items makes prompts of {needed} tokens, but the backbone's context is {context}; "
            + (
                f"lower split.history_length to {fits}"
                if fits > 0
                else "no history fits into it, so choose another backbone"
            )
        )
