"""Stage two as runs: prompts and tuning."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import read_json, write_arrays, write_json
from semconv.config import Settings, TuningSettings
from semconv.errors import InputError
from semconv.metrics import ndcg, target_ranks
from semconv.pipeline import stage_settings
from semconv.pipeline.context import Context, ItemCodes
from semconv.pipeline.embedding import backbone_path, load_run_backbone
from semconv.pipeline.histories import shown
from semconv.pipeline.stage_settings import resolved_tuning
from semconv.pipeline.tokenizing import assign_run
from semconv.pipeline.tuning_group import Leader, TuningTask
from semconv.pipeline.tuning_start import (
    EPOCHS_BEFORE,
    FIGURES_FILE,
    check_start,
    epochs_before,
    has_work,
    keep_tuned_on,
    since_start,
)
from semconv.progress import Progress
from semconv.runs import Outcome, StageRequest
from semconv.splits import history_lengths, targets, train_part
from semconv.store import RunRecord, Sequences
from semconv.tasks.data import TaskData, task_data
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.padded import EpochRows
from semconv.tasks.plan import plan_epoch
from semconv.tasks.rows import RowBuilder, epoch_rows
from semconv.tokenization.code_set import CodeSet

if TYPE_CHECKING:
    from semconv.tuning.code_rows import CodeRows

MODEL_FOLDER = "model"
TUNED_CODES = "tuned_codes.safetensors"
TRAIN_INTERACTIONS = "train_interactions"  # among the figures: of the train cut, in the core or not


@dataclass(frozen=True)
class PromptSource:
    """Everything that prompts are built from."""

    encoder: PromptEncoder
    data: TaskData
    settings: Settings
    progress: Progress
    too_long: dict[int, int] = field(default_factory=dict)  # prompts left out, by epoch that this process trained

    def builder(self) -> RowBuilder:
        """A fresh builder with its own counts."""
        return RowBuilder(self.encoder, self.data, self.settings.tasks)

    def rows(self, epoch: int) -> EpochRows:
        """Rows of an epoch."""
        tasks = self.settings.tasks
        plan = plan_epoch(self.data, tasks, epoch, self.settings.split.history_length)
        builder = self.builder()
        rows = epoch_rows(builder, plan, np.random.default_rng([tasks.seed, epoch]))
        if builder.too_long and not self.too_long:
            why = "longer than tasks.max_prompt_tokens or the backbone's context"
            self.progress.say(f"{builder.too_long} prompts an epoch are left out: {why}")
        self.too_long[epoch] = builder.too_long
        return rows


def training_data(context: Context, codes: ItemCodes, start: RunRecord | None = None) -> TaskData:
    """Read the training part of items with codes; what is new since ``start`` is marked."""
    settings = context.settings
    catalog = context.store.catalog()
    sequences = context.sequences(queries=settings.tasks.query)
    cut = settings.split.train_cut
    train = train_part(sequences, cut, settings.split.k_core, len(catalog))
    touched = train_part(sequences, cut, 1, len(catalog))
    has_codes = np.zeros(len(catalog), dtype=bool)
    has_codes[codes.item_index] = True
    data = task_data(train, has_codes, catalog.titles, catalog.descriptions, settings.tasks, touched)
    return data if start is None else since_start(context, start, data)


def prompt_source(
    context: Context,
    model: Any,
    tokenizer: Any,
    level_tokens: NDArray[np.int64],
    codes: ItemCodes,
    start: RunRecord | None = None,
) -> PromptSource:
    """The training part with codes put to it; no prompt with its label is longer than the backbone's context."""
    tasks, most = context.settings.tasks, getattr(model.config, "max_position_embeddings", None)
    if most is not None:
        tasks = replace(tasks, max_prompt_tokens=min(tasks.max_prompt_tokens, most - len(level_tokens)))
    settings = replace(context.settings, tasks=tasks)
    data = training_data(context, codes, start)
    encoder = PromptEncoder(tokenizer, level_tokens, codes.item_index, codes.codes, len(data.titles))
    if tasks.query and tasks.query_share and not len(data.query_rows):
        context.progress.say("the query task has no samples: no training interaction has a query")
    if tasks.text and tasks.text_share and not len(data.text_items):
        context.progress.say("the text task has no samples: no item with codes has a title or a description")
    return PromptSource(encoder, data, settings, context.progress)


def prepared_backbone(
    context: Context, backbone: RunRecord, codebook: RunRecord, start: RunRecord | None = None
) -> tuple[Any, Any, NDArray[np.int64]]:
    """Model and tokenizer with the code tokens of a code set."""
    from semconv.backbone.code_tokens import add_code_tokens
    from semconv.backbone.load import load_backbone

    shape = codebook.settings["codebook"]
    if start is None:
        model, tokenizer = load_run_backbone(context, backbone)
    else:
        model, tokenizer = load_backbone(context.book.folder(start) / MODEL_FOLDER)
    ids = add_code_tokens(model, tokenizer, shape["levels"], shape["codes"])
    return model, tokenizer, ids


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

    Going on is tuning on what is new since ``start`` and a share of the rest, at a lower rate; new items get codes
    first, and ``start`` itself is the outcome when nothing is new.

    ``leader`` leads the other processes of a launch by torchrun; without one, this process trains alone.

    Raises:
        InputError: ``start`` is no finished full tuning of this code set.
    """
    tuning = resolved_tuning(context, backbone, codebook, goes_on=start is not None)
    if start is not None:
        check_start(context, start, codebook)
        assign_run(context, codebook)
        codes_now = ItemCodes.read(context, (codebook, *context.assigns_of(codebook)))
        if not has_work(context, start, training_data(context, codes_now, start)):
            return Outcome(context.book.take_up(start), True, 0.0)
    code_runs = (codebook, *context.assigns_of(codebook))

    def compute(folder: Path) -> dict[str, pa.Table]:
        from semconv.tuning.choices import CodeChoices
        from semconv.tuning.model import save_tuned
        from semconv.tuning.processes import connect
        from semconv.tuning.train import Training, tune

        codes = ItemCodes.read(context, code_runs)
        model, tokenizer, level_tokens = prepared_backbone(context, backbone, codebook, start)
        source = prompt_source(context, model, tokenizer, level_tokens, codes, start)
        _check_context(model, source)
        config = copy.deepcopy(model.config)
        has_start = start is not None or tuning.code_start == "random"
        books = None if has_start else CodeSet.load(context.book.folder(codebook)).books
        model, rows = _made_ready(model, level_tokens, books, tuning)
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        validate = _validation(context, source, codes, level_tokens, tuning.loss_over)
        choices = CodeChoices(level_tokens, codes.codes) if tuning.loss_over == "trie" else None
        training = Training(source.rows, validate, int(pad), folder, context.progress, choices)
        group = leader or Leader(connect())
        group.start(
            TuningTask(
                config, source.encoder, source.data, source.settings, tuning,
                level_tokens, codes.codes, int(pad), validate is not None,
            )
        )  # fmt: skip
        figures = tune(model, training, tuning, group.processes)
        if figures["samples"] == 0:
            raise InputError(
                "no epoch drew a sample: raise tasks.negative_share, tasks.text_share or tasks.query_share"
            )
        if rows is not None:
            rows.fold()
        model.to("cpu")
        shutil.rmtree(folder / MODEL_FOLDER, ignore_errors=True)
        write_arrays(folder / TUNED_CODES, {"item_index": codes.item_index})
        keep_tuned_on(folder, source.data)
        manifest = _manifest(context, backbone, codebook, codes, folder / MODEL_FOLDER)
        save_tuned(model, tokenizer, folder / MODEL_FOLDER, manifest)
        figures |= {"prompts_too_long": dict(source.too_long), TRAIN_INTERACTIONS: len(source.data.touched.items)}
        if start is not None:
            figures[EPOCHS_BEFORE] = epochs_before(context, start)
        write_json(folder / FIGURES_FILE, figures)
        return {}

    inputs = (backbone, *code_runs, *([] if start is None else [start]))
    read = stage_settings.finetune(context, backbone, codebook, goes_on=start is not None)
    return context.book.execute(StageRequest(columns.FINETUNE, read, inputs, ("item", "interaction")), compute)


def _check_context(model: Any, source: PromptSource) -> None:
    """The longest prompt of a history must fit; InputError says how many tokens it has."""
    encoder, length = source.encoder, source.settings.split.history_length
    a_piece = encoder.num_levels + len(encoder.separator)
    tail = max(len(tokens) for tokens in (*encoder.sequential_tails, *encoder.negative_tails))
    needed = max(map(len, encoder.heads)) + length * a_piece + tail + encoder.num_levels
    context = getattr(model.config, "max_position_embeddings", None)
    if context is not None and needed > context:
        raise InputError(
            f"a history of {length} items makes prompts of {needed} tokens, the backbone's context is {context}; "
            "lower split.history_length"
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


def _validation(
    context: Context, source: PromptSource, codes: ItemCodes, level_tokens: NDArray[np.int64], loss_over: str
) -> Callable[[Any], float] | None:
    """A search for a fixed sample of users against their validation item: NDCG@10, seen items masked.

    None when the train cut holds the validation items already: nothing is chosen on its own data.
    """
    settings = context.settings
    if settings.tuning.validation_users == 0 or settings.split.train_cut != "[:-2]":
        return None
    from semconv.inference.search import SearchSettings, beam_search
    from semconv.inference.trie import CodeTrie

    sequences = context.sequences()
    held_out = targets(sequences, "valid")
    ends = history_lengths(sequences.lengths, "valid")
    users = validation_users(sequences, source.encoder.has_codes, settings)
    if len(users) == 0:
        return None
    prompts = [
        source.encoder.inference_prompt(
            visible_history(sequences, int(user), int(ends[user]), source.encoder, settings)
        )
        for user in users
    ]
    seen = [sequences.of(int(user))[: ends[user]] for user in users]
    allowed = context.store.catalog().is_servable
    trie = CodeTrie.build(codes.codes, codes.item_index, codes.popularity).restrict(allowed)
    search = SearchSettings(top_k=10, beams=20, scores="trie" if loss_over == "trie" else "full")  # as it was trained

    def validate(model: Any) -> float:
        items, _ = beam_search(model, trie, level_tokens, prompts, seen, search)
        return float(ndcg(target_ranks(items, held_out[users]), 10).mean())

    return validate


def validation_users(sequences: Sequences, has_codes: NDArray[np.bool_], settings: Settings) -> NDArray[np.int64]:
    """A fixed sample of users whose validation history has an item with codes."""
    ends = history_lengths(sequences.lengths, "valid")
    coded = np.concatenate([[0], np.cumsum(has_codes[sequences.items])])
    with_history = (ends > 0) & (coded[sequences.offsets[:-1] + np.maximum(ends, 0)] > coded[sequences.offsets[:-1]])
    users = np.flatnonzero(with_history)
    wanted = min(settings.tuning.validation_users, len(users))
    return np.sort(np.random.default_rng(settings.tuning.seed).choice(users, wanted, replace=False))


def visible_history(
    sequences: Sequences, user: int, end: int, encoder: PromptEncoder, settings: Settings
) -> NDArray[np.int32]:
    """The latest items with codes among the first ``end`` of a user, as a prompt shows them."""
    return shown(sequences.of(user)[:end], encoder.has_codes, settings.split.history_length)


def export_prompts(context: Context, output: Path, epoch: int) -> dict[str, Any]:
    """Write every sample of an epoch as JSON lines or Parquet; counts by task.

    Raises:
        InputError: another ending than .jsonl or .parquet.
    """
    from semconv.pipeline.prompt_file import write_samples
    from semconv.tasks.export import samples

    if output.suffix not in (".jsonl", ".parquet"):
        raise InputError(f"{output}: prompts are written as .jsonl or .parquet")
    backbone, codebook = context.need(columns.BACKBONE), context.need(columns.CODEBOOK)
    codes = ItemCodes.read(context, (codebook, *context.assigns_of(codebook)))
    model, tokenizer, level_tokens = prepared_backbone(context, backbone, codebook)
    source = prompt_source(context, model, tokenizer, level_tokens, codes)
    builder = source.builder()
    plan = plan_epoch(source.data, context.settings.tasks, epoch, context.settings.split.history_length)
    users, catalog = context.sequences().user_ids, context.store.catalog()
    counts = write_samples(output, samples(builder, plan), users, catalog.item_ids)
    if builder.too_long:
        context.progress.say(f"{builder.too_long} prompts are left out: longer than tasks.max_prompt_tokens")
    return counts


def tuned_codes(context: Context, finetune: RunRecord) -> tuple[ItemCodes, str]:
    """Codes in force for a tuned model, and the digest of those it was tuned on.

    The digest is computed from today's codes, so that a model refuses codes that changed under it.
    """
    from semconv.artifacts import read_arrays
    from semconv.tuning.model import codes_digest

    codebook = context.input_of(finetune, columns.CODEBOOK)
    codes = ItemCodes.read(context, (codebook, *context.assigns_of(codebook)))
    index = read_arrays(context.book.folder(finetune) / TUNED_CODES)["item_index"]
    return codes, codes_digest(index, codes.of(index))


def tuning_figures(context: Context, finetune: RunRecord) -> dict[str, Any]:
    """What ``tune`` returned for a run."""
    figures: dict[str, Any] = read_json(context.book.folder(finetune) / FIGURES_FILE)
    return figures
