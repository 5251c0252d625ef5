"""The stage that makes behaviour vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from semconv import columns
from semconv.artifacts import file_digest, write_json
from semconv.behavior.vectors import BehaviorVectors
from semconv.data.core import train_core, train_part
from semconv.data.splits import targets
from semconv.data.store import Sequences
from semconv.errors import InputError
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.files import BEHAVIOR_VECTORS, FIGURES
from semconv.runs.workspace import Workspace
from semconv.stages import stage_settings
from semconv.stages.embed.given_file import read_given
from semconv.stages.embed.rows import embedding_rows
from semconv.stages.held_out import record_trained


def embed_behavior_run(workspace: Workspace) -> Outcome:
    """Make item and user vectors from the interactions in the train cut, or read item vectors from an external file."""
    settings = workspace.settings
    sequences = workspace.sequences()
    catalog = workspace.store.catalog()
    train = train_part(sequences, settings.split.train_cut, settings.split.k_core, len(catalog))
    if sequences.rules is not None and (unlisted := sequences.rules.unlisted(sequences.type_names)):
        workspace.progress.say(
            f"event types without a weight in events.weights, so they weigh 1: {', '.join(unlisted)}"
        )
    if len(train.items) == 0:
        raise InputError(
            f"split.k_core = {settings.split.k_core} leaves no interaction to train on; lower it or ingest more interactions"
        )

    def compute(folder: Path) -> dict[str, pa.Table]:
        vectors, figures = _vectors(workspace, train, sequences, folder)
        vectors.save(folder / BEHAVIOR_VECTORS)
        record_trained(folder, train)
        if figures:
            write_json(folder / FIGURES, figures)
        users, items = train_core(sequences, settings.split.train_cut, settings.split.k_core, len(catalog))
        workspace.store.mark_core(items, users)
        source = vectors.source
        return {
            "item_embedding": embedding_rows(
                "item_id", catalog.item_ids, vectors.item_index, vectors.item_vectors, source
            ),
            "user_embedding": embedding_rows(
                "user_id", sequences.user_ids, vectors.user_index, vectors.user_vectors, source
            ),
        }

    content, tables = {}, ["interaction"]
    if settings.behavior.source == "given":
        content["vectors"] = file_digest(_given_path(workspace))
        tables.append("item")  # The file may already contain vectors of items that are added to the catalogue later.
    request = StageRequest(columns.EMBED_BEHAVIOR, stage_settings.behavior(workspace), (), tuple(tables), content)
    return workspace.book.execute(request, compute)


def _vectors(
    workspace: Workspace, train: Sequences, sequences: Sequences, folder: Path
) -> tuple[BehaviorVectors, dict[str, Any]]:
    """Return the vectors, and the figures of their training if they were trained by DCCF."""
    settings, item_ids = workspace.settings, workspace.store.catalog().item_ids
    if settings.behavior.source == "svd":
        from semconv.behavior.svd import fit_svd

        return fit_svd(train, len(item_ids), settings.behavior), {}
    if settings.behavior.source == "dccf":
        from semconv.behavior.dccf_training import DccfTraining, fit_dccf

        # If the train cut contains the validation items, there are no held-out items for early stopping.
        held_out = targets(sequences, "valid") if settings.split.train_cut == "[:-2]" else None
        training = DccfTraining(folder, workspace.progress, held_out)
        return fit_dccf(train, len(item_ids), settings.behavior, settings.dccf, training)
    from semconv.behavior.given import check_given

    path = _given_path(workspace)
    index, given, num_unknown = read_given(path, item_ids)
    vectors = check_given(index, given, train, item_ids)
    if num_unknown:
        workspace.progress.say(f"{path}: {num_unknown} items of the file are not in the catalogue and were left out")
    if lacking := len(item_ids) - len(index):
        workspace.progress.say(
            f"{path}: {lacking} items of the catalogue have no vector in the file; those with text get codes from their text"
        )
    return vectors, {}


def _given_path(workspace: Workspace) -> Path:
    settings = workspace.settings.behavior
    if not settings.vectors:
        raise InputError(
            "behavior.source = given needs the setting behavior.vectors; give a Parquet file with the columns item_id and vector"
        )
    path = workspace.root / settings.vectors
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; set behavior.vectors to a Parquet file with the columns item_id and vector"
        )
    return path
