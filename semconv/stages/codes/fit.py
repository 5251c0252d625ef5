"""The stage that makes a code set: fit it to behaviour and text vectors, or read external codes from a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import file_digest
from semconv.backbone.text_vectors import TextVectors
from semconv.behavior.vectors import BehaviorVectors
from semconv.data.store import Catalog, RunRecord
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.files import BEHAVIOR_VECTORS, TEXT_VECTORS
from semconv.runs.workspace import Workspace
from semconv.settings.codebook import CodebookSettings
from semconv.stages import stage_settings
from semconv.stages.codes.code_file import FileCodes, read_codes
from semconv.stages.codes.rows import code_rows, training_counts
from semconv.tokenization.external import external_code_set
from semconv.tokenization.fit import fit_code_set


def fit_codebook_run(workspace: Workspace, behavior: RunRecord, text: RunRecord) -> Outcome:
    """Fit a new code set to all items with behaviour vectors."""

    def compute(folder: Path) -> dict[str, pa.Table]:
        settings = workspace.settings
        catalog = workspace.store.catalog()
        vectors = BehaviorVectors.load(workspace.intact(behavior, BEHAVIOR_VECTORS))
        texts = TextVectors.load(workspace.intact(text, TEXT_VECTORS))
        popularity = training_counts(workspace, behavior, len(catalog))
        code_set = fit_code_set(vectors, texts.item_index, texts.vectors, popularity, settings.codebook, settings.rqvae)
        code_set.save(folder)
        _say_text_map(workspace, code_set.figures["text_map"])
        codes = code_rows(
            catalog,
            code_set.item_index,
            code_set.codes,
            code_set.is_reassigned,
            source=vectors.source,
            code_set_run_id=folder.name,
        )
        return {"item_code": codes, "codebook_vector": _book_rows(code_set.books)}

    read = stage_settings.codebook(workspace)
    # The result depends on interactions, because collisions are resolved in the order of popularity.
    request = StageRequest(columns.CODEBOOK, read, (behavior, text), ("interaction",))
    return workspace.book.execute(request, compute)


def _say_text_map(workspace: Workspace, figures: dict[str, Any] | None) -> None:
    """Say how often the first code predicted from text equals the learned first code, for held-out items."""
    if figures is not None:
        workspace.progress.say(
            f"test of codes for new items on {figures['items']} held-out items: text explains {figures['held_out_r2']:.1%} of the"
            f" variance of the behaviour vectors; the first code predicted from text equals the learned first code for"
            f" {figures['first_code_agreement']:.1%} of the items (always predicting the most frequent code would reach"
            f" {figures['most_frequent_code']:.1%}); {figures['codes_in_use']} different first codes are predicted"
        )


def load_codes_run(workspace: Workspace, behavior: RunRecord, path: Path) -> Outcome:
    """Make a code set from external codes: a Parquet file of ``item_id`` and ``codes``.

    The file determines the number of levels, and the number of codes for each level. The behaviour run only gives the
    popularity of items, and the vectors from which reasons in lists are chosen.

    Raises:
        InputError: ``read_codes`` refuses the file, or the file has more items than there are code sequences.
    """
    catalog = workspace.store.catalog()
    found = read_codes(path, catalog.item_ids)
    popularity = training_counts(workspace, behavior, len(catalog))
    _say_missing(workspace, path, found, catalog, popularity)
    read = stage_settings.loaded_codes(workspace, found.codes.shape[1], found.num_codes)
    content = {"codes": file_digest(path)}

    def compute(folder: Path) -> dict[str, pa.Table]:
        settings = CodebookSettings(**read["codebook"])
        code_set = external_code_set(found.item_index, found.codes, popularity[found.item_index], settings)
        figures = {
            **code_set.figures,
            "file": str(path),
            "digest": content["codes"],
            "items_not_in_the_catalogue": found.num_unknown,
        }
        replace(code_set, figures=figures).save(folder)
        moved = int(code_set.is_reassigned.sum())
        if moved:
            workspace.progress.say(
                f"{moved} items had the same codes as another item; each was given the lowest free code of the last level,"
                " or of the level before if the last is full"
            )
        codes = code_rows(
            catalog,
            found.item_index,
            code_set.codes,
            code_set.is_reassigned,
            source=columns.GIVEN,
            code_set_run_id=folder.name,
        )
        return {"item_code": codes}

    request = StageRequest(columns.CODEBOOK, read, (behavior,), ("item", "interaction"), content)
    return workspace.book.execute(request, compute)


def _say_missing(
    workspace: Workspace, path: Path, found: FileCodes, catalog: Catalog, popularity: NDArray[np.int64]
) -> None:
    """Say how many items of the file are not in the catalogue, and how many servable items are not in the file."""
    without = catalog.is_servable.copy()
    without[found.item_index] = False
    if found.num_unknown:
        workspace.progress.say(
            f"{path}: {found.num_unknown} items of the file are not in the catalogue and were left out"
        )
    if without.any():
        trained = int((popularity[without] > 0).sum())
        workspace.progress.say(
            f"{path}: {int(without.sum())} servable items, {trained} of them with interactions, have no codes in the file;"
            " they are not recommended"
        )


def _book_rows(books: NDArray[np.float32]) -> pa.Table:
    levels, size, _ = books.shape
    return pa.table(
        {
            "level": pa.array(np.repeat(np.arange(levels, dtype=np.int32), size)),
            "code": pa.array(np.tile(np.arange(size, dtype=np.int32), levels)),
            columns.VECTOR: pa.array(
                [row.tolist() for row in books.reshape(levels * size, -1)], pa.list_(pa.float32())
            ),
        }
    )
