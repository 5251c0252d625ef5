"""The stage that makes text vectors, and text vectors of items that came after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semconv import columns
from semconv.backbone.text_vectors import TextVectors
from semconv.data.store import Catalog, RunRecord
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.files import TEXT_BASIS, TEXT_VECTORS
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages import stage_settings
from semconv.stages.embed.backbone import load_run_backbone
from semconv.stages.embed.rows import catalog_texts

if TYPE_CHECKING:
    from semconv.texts.embedder import TextEmbedder


def embed_text_run(workspace: Workspace, backbone: RunRecord) -> Outcome:
    """Make a text vector for every item that has text, and store what makes the vectors of later items."""
    catalog = workspace.store.catalog()

    def compute(folder: Path) -> dict[str, pa.Table]:
        from semconv.texts.embedder import fit_embedder, save_embedder

        texts = catalog_texts(catalog)
        index = np.array([item for item, text in enumerate(texts) if text], dtype=np.int32)
        found = [texts[item] for item in index]
        settings = workspace.settings.text
        embedder = fit_embedder(stage_settings.text_kind(read), settings, _loader(workspace, backbone), found)
        save_embedder(embedder, folder / TEXT_BASIS)
        embedder.embed(index, found).save(folder / TEXT_VECTORS)
        return {}

    read = stage_settings.text(workspace, backbone)
    return workspace.book.execute(StageRequest(columns.EMBED_TEXT, read, (backbone,), ("item",)), compute)


def text_embedder(workspace: Workspace, text: RunRecord, backbone: RunRecord) -> TextEmbedder:
    """Return what made the text vectors of a run, for other texts.

    Args:
        text: the run of the stage ``embed_text``.
        backbone: the backbone of this run.
    """
    from semconv.texts.embedder import load_embedder

    kind = stage_settings.text_kind(text.settings)
    return load_embedder(kind, _loader(workspace, backbone), lambda: workspace.intact(text, TEXT_BASIS))


def text_vectors(workspace: Workspace, lineage: Lineage, catalog: Catalog, wanted: NDArray[np.int32]) -> TextVectors:
    """Return vectors of the items in ``wanted`` ``(n,)`` (item index) that have text, made as the lineage's text vectors.

    Texts in which the text vectors of the lineage know no word are left out.
    """
    all_texts = catalog_texts(catalog)
    index = np.array([item for item in wanted if all_texts[item]], dtype=np.int32)
    embedder = text_embedder(workspace, lineage.need(columns.EMBED_TEXT), lineage.backbone)
    return embedder.embed(index, [all_texts[item] for item in index])


def _loader(workspace: Workspace, backbone: RunRecord) -> Callable[[], tuple[Any, Any]]:
    return lambda: load_run_backbone(workspace, backbone)
