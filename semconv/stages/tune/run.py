"""The stage that tunes the backbone on the current codes."""

from __future__ import annotations

import copy
import itertools
import os
import shutil
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import write_arrays, write_json
from semconv.errors import InputError
from semconv.item_head.recipe import with_epochs
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.files import FIGURES, ITEM_PARTS, MODEL_FOLDER, TUNED_CODES
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.settings.tuning import TuningSettings
from semconv.stages import stage_settings
from semconv.stages.agreement import code_scores
from semconv.stages.codes.assign import assign_run
from semconv.stages.codes.item_codes import ItemCodes
from semconv.stages.embed.backbone import backbone_path
from semconv.stages.stage_settings import resolved_tuning
from semconv.stages.tune.chosen_epochs import chosen_epochs
from semconv.stages.tune.figures import CHOSEN_BY, EPOCHS_BEFORE, TRAIN_INTERACTIONS, epochs_trained
from semconv.stages.tune.group import Leader, TuningTask
from semconv.stages.tune.inputs import TuningInputs
from semconv.stages.tune.item_setup import ItemSetup
from semconv.stages.tune.prompts import PromptSource, prepared_backbone, prompt_source, training_data
from semconv.stages.tune.start import check_start, has_work, record_samples
from semconv.stages.tune.tuned import tuned_digest, tuned_folder
from semconv.stages.tune.validation import search_validation
from semconv.tokenization.code_set import CodeSet


def finetune_run(workspace: Workspace, inputs: TuningInputs, leader: Leader | None = None) -> Outcome:
    """Tune the backbone on the current codes, or continue an earlier tuning on the same code set.

    A tuning that continues an earlier tuning has the same mode: it trains the whole model, or an adapter of the same
    shape. A continued tuning trains on all data that is new since the earlier tuning, and on a share of the old data,
    at a lower learning rate. New items get codes before the training. If nothing is new, the result is the earlier
    tuning.

    Args:
        leader: the first process that torchrun started; None to train in this process alone.

    Raises:
        InputError: the earlier run is not a finished tuning on this code set, or its codes have changed.
        SettingsError: the settings have another mode or adapter than the earlier run, or ``recommend.scores`` differs
            from the loss.
    """
    start = inputs.start
    if start is not None:
        inputs = _with_new_codes(workspace, inputs, start)
        codes_now = ItemCodes.read(workspace, inputs.codes.code_runs)
        if not has_work(workspace, start.run, training_data(workspace, codes_now, start)):
            return Outcome(workspace.book.take_up(start.run), True, 0.0)
    goes_on = start is not None
    tuning = resolved_tuning(workspace, inputs.backbone, inputs.codes.codebook, goes_on=goes_on)
    code_scores(workspace.settings.recommend, asdict(tuning))  # refuses other scores of lists before the training
    chosen = chosen_epochs(workspace, inputs)
    if chosen is not None:
        tuning = replace(tuning, epochs=chosen[1])

    def compute(folder: Path) -> dict[str, pa.Table]:
        work = _Tuning(workspace, inputs, tuning, ItemCodes.read(workspace, inputs.codes.code_runs))
        model, figures = work.train(folder, leader)
        work.save(folder, model, figures if chosen is None else {**figures, CHOSEN_BY: chosen[0].run_id})
        return {}

    read = stage_settings.finetune(workspace, inputs.backbone, inputs.codes.codebook, goes_on=goes_on)
    if chosen is not None:  # beside the settings, so that a run is not stale because of it
        read["chosen"] = {"epochs": chosen[1]}
    request = StageRequest(columns.FINETUNE, read, inputs.runs, ("item", "interaction"))
    return workspace.book.execute(request, compute)


def _with_new_codes(workspace: Workspace, inputs: TuningInputs, start: Lineage) -> TuningInputs:
    """Give codes to new items and return the new inputs. Refuse the earlier tuning if its codes have changed since."""
    from semconv.tuning.model import tuned_manifest

    # Called here only so that wrong settings raise an error early.
    resolved_tuning(workspace, inputs.backbone, inputs.codes.codebook, goes_on=True)
    check_start(workspace, start, inputs.codes.codebook)
    digest = tuned_digest(workspace, start, ItemCodes.read(workspace, start.code_runs))
    tuned_manifest(workspace.book.folder(start.run) / MODEL_FOLDER, digest)
    assign_run(workspace, inputs.codes)
    return TuningInputs(inputs.backbone, Lineage.current(workspace.store, inputs.codes.codebook), start)


@dataclass(frozen=True)
class _Tuning:
    """One tuning: it loads a model, trains it and saves it."""

    workspace: Workspace
    inputs: TuningInputs
    tuning: TuningSettings
    codes: ItemCodes

    @cached_property
    def loaded(self) -> tuple[Any, Any, NDArray[np.int64]]:
        """The model, the tokenizer, and the token of each code ``(N, C)``, levels by codes."""
        return prepared_backbone(self.workspace, self.inputs)

    @cached_property
    def source(self) -> PromptSource:
        """The source that builds the training prompts."""
        return prompt_source(self.workspace, self.inputs, self.loaded, self.codes)

    @cached_property
    def setup(self) -> ItemSetup | None:
        """The arrays of the item parts of the model; None when histories are code tokens."""
        if self.tuning.history != "items":
            return None
        start = self.inputs.start
        folder = None if start is None else self.workspace.intact(start.run, ITEM_PARTS).parent
        return ItemSetup.of(self.workspace, self.inputs.codes, self.source.encoder, self.source.data, folder)

    def train(self, folder: Path, leader: Leader | None) -> tuple[Any, dict[str, Any]]:
        """Train the model. Return the model, moved to the CPU, and the figures from ``tune``."""
        from semconv.tuning.processes import connect
        from semconv.tuning.train import Training, tune

        workspace, source = self.workspace, self.source
        tuning = with_epochs(self.tuning, len(source.data.items))
        model, tokenizer, level_tokens = self.loaded
        _check_context(model, source)
        config = copy.deepcopy(model.config)
        model, rows = self._prepared()
        if self.setup is not None:
            self.setup.attach(model, tuning.seed)
        pad = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
        validate = search_validation(workspace, source, self.codes, level_tokens, tuning, self.setup)
        task = TuningTask(
            config, source.encoder, source.data, source.settings, tuning,
            level_tokens, self.codes.codes, pad, validate is not None, self.setup,
        )  # fmt: skip
        training = Training(task.form(source), validate, folder, workspace.progress)
        group = leader or Leader(connect())
        group.start(task)
        figures = tune(model, training, tuning, group.processes)
        if figures["samples"] == 0:
            raise InputError(
                "the tasks gave no training sample in any epoch; raise tasks.negative_share, tasks.text_share or"
                " tasks.query_share"
            )
        if rows is not None:
            rows.fold()
        return model.to("cpu"), figures

    def _prepared(self) -> tuple[Any, Any]:
        """Return the model with its trainable weights chosen and the embeddings of its code tokens initialised.

        Returns:
            the model, and the network that computes the embeddings of the code tokens, or None if there is no network.
            After the training, the network's results replace the embeddings.
        """
        from semconv.backbone.code_tokens import start_from_books
        from semconv.tuning.code_rows import LAYERS, CodeRows
        from semconv.tuning.model import prepare, take_adapter

        tuning, start = self.tuning, self.inputs.start
        model, _, level_tokens = self.loaded
        if start is not None:
            model = prepare(model, level_tokens, tuning)
            if tuning.mode == "lora":
                take_adapter(model, tuned_folder(self.workspace, start))
            return model, None
        if tuning.code_start == "random":
            return prepare(model, level_tokens, tuning), None
        books = CodeSet.load(self.workspace.intact(self.inputs.codes.codebook)).books
        if tuning.code_start == "codebook":
            start_from_books(model, level_tokens, books, tuning.seed)
        model = prepare(model, level_tokens, tuning)
        layers = LAYERS.get(tuning.code_start)
        return model, None if layers is None else CodeRows(model, level_tokens, books, layers, tuning.seed)

    def save(self, folder: Path, model: Any, figures: dict[str, Any]) -> None:
        """Write the tuned model and its figures."""
        from semconv.tuning.model import save_tuned

        _, tokenizer, _ = self.loaded
        shutil.rmtree(folder / MODEL_FOLDER, ignore_errors=True)
        if self.setup is not None:
            self.setup.detach(model, folder)
        write_arrays(folder / TUNED_CODES, {"item_index": self.codes.item_index})
        record_samples(folder, self.source.data)
        save_tuned(model, tokenizer, folder / MODEL_FOLDER, self._manifest(folder / MODEL_FOLDER))
        touched = len(self.source.data.touched.items)
        figures = {**figures, "prompts_too_long": dict(self.source.too_long), TRAIN_INTERACTIONS: touched}
        if self.inputs.start is not None:
            figures[EPOCHS_BEFORE] = epochs_trained(self.workspace, self.inputs.start.run)
        write_json(folder / FIGURES, figures)

    def _manifest(self, folder: Path) -> dict[str, Any]:
        from semconv.tuning.model import codes_digest

        workspace, codebook = self.workspace, self.inputs.codes.codebook
        shape, settings = codebook.settings["codebook"], workspace.settings
        path = backbone_path(workspace, self.inputs.backbone)
        is_inside = Path(path).is_relative_to(workspace.root)  # so that it stays valid when the project folder is moved
        return {
            "mode": settings.tuning.mode,
            "history": self.tuning.history,
            "dtype": settings.tuning.dtype,
            "backbone": os.path.relpath(path, folder) if is_inside else path,
            "trust_remote_code": settings.backbone.trust_remote_code,
            "levels": shape["levels"],
            "codes": shape["codes"],
            "codes_digest": codes_digest(self.codes.item_index, self.codes.codes),
            "code_set_run_id": codebook.run_id,
            "train_cut": settings.split.train_cut,
            "settings": stage_settings.finetune(workspace, self.inputs.backbone, codebook),
        }


def _check_context(model: Any, source: PromptSource) -> None:
    """Refuse a history length whose prompts are longer than the backbone's context."""
    encoder, length = source.encoder, source.settings.split.history_length
    tokens_per_item = encoder.num_levels + len(encoder.separator)
    tail = max(len(tokens) for tokens in itertools.chain(*encoder.tails.values()))
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
