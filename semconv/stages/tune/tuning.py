"""Stage two, tuning, as a run."""

from __future__ import annotations

import copy
import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import read_json, write_arrays, write_json
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.workspace import Context, ItemCodes
from semconv.settings.tuning import TuningSettings
from semconv.stages import stage_settings
from semconv.stages.codes.tokenizing import assign_run
from semconv.stages.embed.embedding import backbone_path
from semconv.stages.stage_settings import resolved_tuning
from semconv.stages.tune.group import Leader, TuningTask
from semconv.stages.tune.prompt_source import (
    MODEL_FOLDER,
    PromptSource,
    prepared_backbone,
    prompt_source,
    training_data,
    tuned_folder,
)
from semconv.stages.tune.start import (
    EPOCHS_BEFORE,
    FIGURES_FILE,
    check_start,
    epochs_before,
    has_work,
    keep_tuned_on,
)
from semconv.stages.tune.validation import search_validation
from semconv.tokenization.code_set import CodeSet

if TYPE_CHECKING:
    from semconv.tuning.code_rows import CodeRows

TUNED_CODES = "tuned_codes.safetensors"
TRAIN_INTERACTIONS = "train_interactions"  # among the figures: of the train cut, in the core or not


def _made_ready(
    model: Any, level_tokens: NDArray[np.int64], books: NDArray[np.float32] | None, tuning: TuningSettings
) -> tuple[Any, CodeRows | None]:
    """The model with what is trained chosen and token rows started from the books, where there are any.

    Returns:
        with it the network that makes the rows, if one does: to be folded when the model is tuned.
    """
    from semconv.backbone.code_tokens import start_from_books
    from semconv.tuning.code_rows import LAYERS, CodeRows
    from semconv.tuning.model import prepare

    if books is not None and tuning.code_start == "codebook":
        start_from_books(model, level_tokens, books, tuning.seed)
    model = prepare(model, level_tokens, tuning)
    layers = LAYERS.get(tuning.code_start)
    if books is None or layers is None:
        return model, None
    return model, CodeRows(model, level_tokens, books, layers, tuning.seed)


def finetune_run(
    context: Context,
    backbone: RunRecord,
    codebook: RunRecord,
    start: RunRecord | None = None,
    leader: Leader | None = None,
) -> Outcome:
    """Tune the backbone on the codes in force, or go on from the weights of ``start``, tuned on the same code set.

    ``start`` was tuned in the same mode: whole, or by an adapter of the same shape, which is trained further. Going on is tuning on what is new since ``start`` and a share of the rest, at a lower rate; new items get codes
    first, and ``start`` itself is the outcome when nothing is new.

    ``leader`` leads the other processes of a launch by torchrun; without one, this process trains alone.

    Raises:
        InputError: ``start`` is no finished tuning of this code set, or codes that it was tuned on have changed.
        SettingsError: the settings ask for another mode or adapter than that of ``start``.
    """
    from semconv.tuning.model import tuned_manifest

    tuning = resolved_tuning(context, backbone, codebook, goes_on=start is not None)
    if start is not None:
        check_start(context, start, codebook)
        tuned_manifest(context.book.folder(start) / MODEL_FOLDER, tuned_codes(context, start)[1])
        assign_run(context, codebook)
        codes_now = ItemCodes.read(context, (codebook, *context.assigns_of(codebook)))
        if not has_work(context, start, training_data(context, codes_now, start)):
            return Outcome(context.book.take_up(start), True, 0.0)
    code_runs = (codebook, *context.assigns_of(codebook))

    def compute(folder: Path) -> dict[str, pa.Table]:
        work = _Tuning(context, backbone, codebook, start, tuning, ItemCodes.read(context, code_runs))
        work.keep(folder, work.train(folder, leader))
        return {}

    inputs = (backbone, *code_runs, *([] if start is None else [start]))
    read = stage_settings.finetune(context, backbone, codebook, goes_on=start is not None)
    return context.book.execute(StageRequest(columns.FINETUNE, read, inputs, ("item", "interaction")), compute)


@dataclass(frozen=True)
class _Tuning:
    """One tuning: what it reads, trains and keeps."""

    context: Context
    backbone: RunRecord
    codebook: RunRecord
    start: RunRecord | None
    tuning: TuningSettings
    codes: ItemCodes

    @cached_property
    def loaded(self) -> tuple[Any, Any, NDArray[np.int64]]:
        """Model, tokenizer and code tokens ``(N, C)``."""
        return prepared_backbone(self.context, self.backbone, self.codebook, self.start)

    @cached_property
    def source(self) -> PromptSource:
        """What its prompts are built from."""
        return prompt_source(self.context, self.backbone, self.loaded, self.codes, self.start)

    def train(self, folder: Path, leader: Leader | None) -> tuple[Any, dict[str, Any]]:
        """The tuned model, and what ``tune`` says of it."""
        from semconv.tuning.choices import CodeChoices
        from semconv.tuning.model import take_adapter
        from semconv.tuning.processes import connect
        from semconv.tuning.train import Training, tune

        context, tuning, source = self.context, self.tuning, self.source
        model, tokenizer, level_tokens = self.loaded
        _check_context(model, source)
        config = copy.deepcopy(model.config)
        has_start = self.start is not None or tuning.code_start == "random"
        books = None if has_start else CodeSet.load(context.intact(self.codebook)).books
        model, rows = _made_ready(model, level_tokens, books, tuning)
        if self.start is not None and tuning.mode == "lora":
            take_adapter(model, tuned_folder(context, self.start))
        pad = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
        validate = search_validation(context, source, self.codes, level_tokens, tuning.loss_over)
        choices = CodeChoices(level_tokens, self.codes.codes) if tuning.loss_over == "trie" else None
        training = Training(source.rows, validate, pad, folder, context.progress, choices)
        group = leader or Leader(connect())
        group.start(
            TuningTask(
                config, source.encoder, source.data, source.settings, tuning,
                level_tokens, self.codes.codes, pad, validate is not None,
            )
        )  # fmt: skip
        figures = tune(model, training, tuning, group.processes)
        if figures["samples"] == 0:
            raise InputError(
                "no epoch drew a sample: raise tasks.negative_share, tasks.text_share or tasks.query_share"
            )
        if rows is not None:
            rows.fold()
        return model.to("cpu"), figures

    def keep(self, folder: Path, trained: tuple[Any, dict[str, Any]]) -> None:
        """Write the model, complete, and the figures."""
        from semconv.tuning.model import save_tuned

        (model, figures), (_, tokenizer, _) = trained, self.loaded
        shutil.rmtree(folder / MODEL_FOLDER, ignore_errors=True)
        write_arrays(folder / TUNED_CODES, {"item_index": self.codes.item_index})
        keep_tuned_on(folder, self.source.data)
        manifest = _manifest(self.context, self.backbone, self.codebook, self.codes, folder / MODEL_FOLDER)
        save_tuned(model, tokenizer, folder / MODEL_FOLDER, manifest)
        touched = len(self.source.data.touched.items)
        figures = {**figures, "prompts_too_long": dict(self.source.too_long), TRAIN_INTERACTIONS: touched}
        if self.start is not None:
            figures[EPOCHS_BEFORE] = epochs_before(self.context, self.start)
        write_json(folder / FIGURES_FILE, figures)


def _check_context(model: Any, source: PromptSource) -> None:
    """The longest prompt of a history must fit; InputError says how many tokens it has."""
    encoder, length = source.encoder, source.settings.split.history_length
    a_piece = encoder.num_levels + len(encoder.separator)
    tail = max(len(tokens) for tokens in (*encoder.sequential_tails, *encoder.negative_tails))
    needed = max(map(len, encoder.heads)) + length * a_piece + tail + encoder.num_levels
    context = getattr(model.config, "max_position_embeddings", None)
    if context is not None and needed > context:
        fits = length - -(-(needed - context) // a_piece)
        raise InputError(
            f"a history of {length} items makes prompts of {needed} tokens, the backbone's context is {context}; "
            + (
                f"lower split.history_length to {fits}"
                if fits > 0
                else "no history fits into it, take another backbone"
            )
        )


def _manifest(
    context: Context, backbone: RunRecord, codebook: RunRecord, codes: ItemCodes, folder: Path
) -> dict[str, Any]:
    from semconv.tuning.model import codes_digest

    shape, tuning = codebook.settings["codebook"], context.settings.tuning
    path = backbone_path(context, backbone)
    inside = Path(path).is_relative_to(context.root)  # of the project, which may be moved as a whole
    return {
        "mode": tuning.mode,
        "dtype": tuning.dtype,
        "backbone": os.path.relpath(path, folder) if inside else path,
        "trust_remote_code": context.settings.backbone.trust_remote_code,
        "levels": shape["levels"],
        "codes": shape["codes"],
        "codes_digest": codes_digest(codes.item_index, codes.codes),
        "code_set_run_id": codebook.run_id,
        "train_cut": context.settings.split.train_cut,
        "settings": stage_settings.finetune(context, backbone, codebook),
    }


def tuned_codes(context: Context, finetune: RunRecord) -> tuple[ItemCodes, str]:
    """Codes in force for a tuned model, and the digest of those it was tuned on.

    The digest is computed from today's codes, so that a model refuses codes that changed under it.
    """
    from semconv.artifacts import read_arrays
    from semconv.tuning.model import codes_digest

    codebook = context.input_of(finetune, columns.CODEBOOK)
    codes = ItemCodes.read(context, (codebook, *context.assigns_of(codebook)))
    index = read_arrays(context.intact(finetune, TUNED_CODES))["item_index"]
    return codes, codes_digest(index, codes.of(index))


def tuning_figures(context: Context, finetune: RunRecord) -> dict[str, Any]:
    """What ``tune`` returned for a run."""
    figures: dict[str, Any] = read_json(context.intact(finetune, FIGURES_FILE))
    return figures
