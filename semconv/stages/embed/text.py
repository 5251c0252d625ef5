"""The stage that makes text vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semconv import columns
from semconv.backbone.text_vectors import TextVectors
from semconv.data.store import Catalog, RunRecord
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.files import TEXT_VECTORS
from semconv.runs.workspace import Workspace
from semconv.stages.embed.backbone import load_run_backbone
from semconv.stages.embed.rows import catalog_texts


def embed_text_run(workspace: Workspace, backbone: RunRecord) -> Outcome:
    """Make a text vector for every item that has text."""
    catalog = workspace.store.catalog()

    def compute(folder: Path) -> dict[str, pa.Table]:
        wanted = np.arange(len(catalog), dtype=np.int32)
        text_vectors(workspace, backbone, catalog, wanted).save(folder / TEXT_VECTORS)
        return {}

    return workspace.book.execute(StageRequest(columns.EMBED_TEXT, {}, (backbone,), ("item",)), compute)


def text_vectors(workspace: Workspace, backbone: RunRecord, catalog: Catalog, wanted: NDArray[np.int32]) -> TextVectors:
    """Return the text vectors of the items in ``wanted`` ``(n,)`` (item index) that have text."""
    from semconv.backbone.text_vectors import embed_texts

    all_texts = catalog_texts(catalog)
    index = np.array([item for item in wanted if all_texts[item]], dtype=np.int32)
    model, tokenizer = load_run_backbone(workspace, backbone)
    return embed_texts(model, tokenizer, index, [all_texts[item] for item in index])
