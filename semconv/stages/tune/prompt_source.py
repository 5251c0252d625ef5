"""What prompts are built from: the training part of a project, codes put to it, and a backbone that has their tokens."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv import columns
from semconv.data.splits import train_part
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.progress import Progress
from semconv.runs.workspace import Context, ItemCodes
from semconv.settings.tree import Settings
from semconv.stages.embed.embedding import intact_backbone, load_run_backbone
from semconv.stages.stage_settings import resolved_tasks
from semconv.stages.tune.start import since_start
from semconv.tasks.data import TaskData, task_data
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.padded import EpochRows
from semconv.tasks.plan import plan_epoch
from semconv.tasks.rows import RowBuilder, epoch_rows

MODEL_FOLDER = "model"


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


def tuned_folder(context: Context, finetune: RunRecord) -> Path:
    """Where the model of a tuning lies, and under an adapter its backbone, every byte as it was; InputError if not."""
    if finetune.settings["tuning"]["mode"] == "lora":
        intact_backbone(context, context.input_of(finetune, columns.BACKBONE))
    return context.intact(finetune, MODEL_FOLDER)


def training_data(context: Context, codes: ItemCodes, start: RunRecord | None = None) -> TaskData:
    """Read the training part of items with codes; what is new since ``start`` is marked."""
    settings = context.settings
    with context.store.snapshot():
        catalog, sequences = context.store.catalog(), context.sequences(queries=settings.tasks.query)
    cut = settings.split.train_cut
    train = train_part(sequences, cut, settings.split.k_core, len(catalog))
    touched = train_part(sequences, cut, 1, len(catalog))
    has_codes = np.zeros(len(catalog), dtype=bool)
    has_codes[codes.item_index] = True
    data = task_data(train, has_codes, catalog.titles, catalog.descriptions, settings.tasks, touched)
    return data if start is None else since_start(context, start, data)


def prompt_source(
    context: Context,
    backbone: RunRecord,
    loaded: tuple[Any, Any, NDArray[np.int64]],
    codes: ItemCodes,
    start: RunRecord | None = None,
) -> PromptSource:
    """The training part with codes put to it; no prompt with its label is longer than the backbone's context.

    Args:
        loaded: what ``prepared_backbone`` gives.
    """
    model, tokenizer, level_tokens = loaded
    tasks, most = resolved_tasks(context, backbone), getattr(model.config, "max_position_embeddings", None)
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
    """Model and tokenizer with the code tokens of a code set: those of ``start`` where it was tuned whole.

    What was tuned by an adapter is the backbone still, and the adapter is put to it when it is made ready.
    """
    from semconv.backbone.code_tokens import add_code_tokens
    from semconv.backbone.load import load_backbone

    shape = codebook.settings["codebook"]
    if start is None or start.settings["tuning"]["mode"] == "lora":
        model, tokenizer = load_run_backbone(context, backbone)
    else:
        model, tokenizer = load_backbone(tuned_folder(context, start))
    ids = add_code_tokens(model, tokenizer, shape["levels"], shape["codes"])
    return model, tokenizer, ids


def export_prompts(context: Context, output: Path, epoch: int) -> dict[str, Any]:
    """Write every sample of an epoch as JSON lines or Parquet; counts by task.

    Raises:
        InputError: another ending than .jsonl or .parquet.
    """
    from semconv.stages.tune.prompt_file import write_samples
    from semconv.tasks.export import samples

    if output.suffix not in (".jsonl", ".parquet"):
        raise InputError(f"{output}: prompts are written as .jsonl or .parquet")
    backbone, codebook = context.need(columns.BACKBONE), context.need(columns.CODEBOOK)
    codes = ItemCodes.read(context, (codebook, *context.assigns_of(codebook)))
    source = prompt_source(context, backbone, prepared_backbone(context, backbone, codebook), codes)
    builder = source.builder()
    plan = plan_epoch(source.data, source.settings.tasks, epoch, context.settings.split.history_length)
    users, catalog = context.sequences().user_ids, context.store.catalog()
    counts = write_samples(output, samples(builder, plan), users, catalog.item_ids)
    if builder.too_long:
        context.progress.say(f"{builder.too_long} prompts are left out: longer than tasks.max_prompt_tokens")
    return counts
