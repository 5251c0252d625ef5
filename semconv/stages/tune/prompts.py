"""Make training prompts from the training data, the item codes, and a backbone with a token for each code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.columns import TrainCut
from semconv.data.core import core_rows, train_part
from semconv.data.splits import train_rejections
from semconv.data.store import Sequences
from semconv.runs.files import MODEL_FOLDER
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages.codes.item_codes import ItemCodes
from semconv.stages.embed.backbone import load_run_backbone
from semconv.stages.stage_settings import resolved_form, resolved_tasks
from semconv.stages.tune.inputs import TuningInputs
from semconv.stages.tune.item_setup import say_ignored_dates
from semconv.stages.tune.start import since_start
from semconv.stages.tune.tuned import prompt_dates, tuned_folder
from semconv.tasks.data import Rejected, TaskData
from semconv.tasks.dates import DateRange, DateTokens
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.selection import task_data, tasks_without_samples
from semconv.tasks.source import PromptSource


def training_data(workspace: Workspace, codes: ItemCodes, start: Lineage | None = None) -> TaskData:
    """Read the training data, and mark all samples that are new since the tuning ``start``."""
    settings = workspace.settings
    with workspace.store.snapshot():
        catalog, sequences = workspace.store.catalog(), workspace.sequences(queries=settings.tasks.query)
    cut = settings.split.train_cut
    kept = core_rows(sequences, cut, settings.split.k_core, len(catalog))
    train = sequences.select_rows(kept)
    touched = train_part(sequences, cut, 1, len(catalog))
    has_codes = np.zeros(len(catalog), dtype=bool)
    has_codes[codes.item_index] = True
    data = task_data(
        train, has_codes, catalog.titles, catalog.descriptions, settings.tasks, touched, _rejected(sequences, cut, kept)
    )
    return data if start is None else since_start(workspace, start.run, data)


def _rejected(sequences: Sequences, cut: TrainCut, kept: NDArray[np.bool_]) -> Rejected:
    """Return the items that users returned or disliked before the train cut, with rows of the training sequences."""
    if sequences.weights is None:
        return Rejected.none()
    rows = np.flatnonzero(train_rejections(sequences, cut))
    users = np.searchsorted(sequences.offsets, rows, side="right") - 1
    return Rejected(users, rows, sequences.items[rows]).among(kept)


def prompt_source(
    workspace: Workspace, inputs: TuningInputs, loaded: tuple[Any, Any, NDArray[np.int64]], codes: ItemCodes
) -> PromptSource:
    """Read the training data, and return the source of its prompts.

    If prompts have dates, their tokens are added to the tokenizer and the model. A prompt that does not fit into the
    backbone's context together with its label is left out.

    Args:
        loaded: the result of ``prepared_backbone``.
        codes: the current codes of the inputs.
    """
    model, tokenizer, level_tokens = loaded
    tasks, most = resolved_tasks(workspace, inputs.backbone), getattr(model.config, "max_position_embeddings", None)
    if most is not None:
        tasks = replace(tasks, max_prompt_tokens=min(tasks.max_prompt_tokens, most - len(level_tokens)))
    data = training_data(workspace, codes, inputs.start)
    dates = _dates(workspace, inputs, data)
    tokens = None if dates is None else DateTokens.add(model, tokenizer, dates, workspace.settings.tuning.seed)
    encoder = PromptEncoder(tokenizer, level_tokens, codes.item_index, codes.codes, data.num_items, tokens)
    for line in tasks_without_samples(data, tasks):
        workspace.progress.say(line)
    return PromptSource(encoder, data, tasks, workspace.settings.split.history_length, workspace.progress)


def _dates(workspace: Workspace, inputs: TuningInputs, data: TaskData) -> DateRange | None:
    """Return the dates in the prompts of a tuning: those of its training data, or of the model that it continues."""
    from semconv.tuning.model import tuned_manifest

    tuning = resolved_form(workspace, inputs.backbone)
    if tuning.history != "tokens":
        return None
    wanted = DateRange.of(data) if tuning.dates else None
    if inputs.start is None:
        return wanted
    found = prompt_dates(tuned_manifest(workspace.book.folder(inputs.start.run) / MODEL_FOLDER, None))
    say_ignored_dates(workspace, tuning, wanted=wanted is not None, found=found is not None)
    return found


def prepared_backbone(workspace: Workspace, inputs: TuningInputs) -> tuple[Any, Any, NDArray[np.int64]]:
    """Load the model and tokenizer that a tuning trains, and the token of each code ``(N, C)``, levels by codes.

    A tuning that continues an earlier one in the mode ``full`` loads the earlier model. In the mode ``lora`` such a
    tuning loads the backbone, and the adapter of the earlier model is added later.

    Raises:
        InputError: a file is damaged, or the codes changed since the earlier tuning.
    """
    from semconv.backbone.code_tokens import add_code_tokens
    from semconv.tuning.model import load_tuned

    if inputs.start is not None and inputs.start.run.settings["tuning"]["mode"] == "full":
        trust = workspace.settings.backbone.trust_remote_code
        tuned = load_tuned(tuned_folder(workspace, inputs.start), trust_remote_code=trust)
        return tuned.model, tuned.tokenizer, tuned.level_tokens
    model, tokenizer = load_run_backbone(workspace, inputs.backbone)
    shape = inputs.codes.codebook.settings["codebook"]
    seed = workspace.settings.tuning.seed
    return model, tokenizer, add_code_tokens(model, tokenizer, shape["levels"], shape["codes"], seed)
