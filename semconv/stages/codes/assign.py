"""The stage that gives codes to new items. The codes are predicted from the items' text and added to the code set."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semconv import columns
from semconv.data.store import Catalog
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.digests import damaged_files
from semconv.runs.files import CODES
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace, is_loaded
from semconv.settings.codebook import CodebookSettings
from semconv.stages.codes.item_codes import ItemCodes
from semconv.stages.codes.rows import code_rows
from semconv.stages.embed.rows import catalog_texts, embedding_rows
from semconv.stages.embed.text import text_vectors
from semconv.tokenization.assign import assign_new_items
from semconv.tokenization.code_set import CodeSet, save_codes
from semconv.tokenization.figures import new_item_figures


def assign_run(workspace: Workspace, lineage: Lineage) -> Outcome | None:
    """Give codes to the items that have text but no codes yet. Return None if no item lacks codes.

    An assign run only adds codes and never changes codes. A damaged assign run is recomputed with the same result.

    Args:
        lineage: the current lineage of a code set or of a model tuned on it.

    Raises:
        InputError: a file is damaged and cannot be recomputed, because the catalogue has changed since.
    """
    codebook = lineage.codebook
    catalog = workspace.store.catalog()
    earlier = tuple(itertools.takewhile(lambda run: not damaged_files(workspace.book.folder(run)), lineage.assigns))
    coded = ItemCodes.read(workspace, (codebook, *earlier))
    wanted = _without_codes(workspace, catalog, coded)
    code_set = CodeSet.load(workspace.intact(codebook))
    if len(wanted) == 0:
        return None
    if code_set.text_map is None:
        advice = (
            "; run `semconv codebook load` with a file that has codes for them, then tune again"
            if is_loaded(codebook)
            else ""
        )
        workspace.progress.say(
            f"{len(wanted)} new items get no codes: the code set {codebook.run_id} has no map from text to codes{advice}"
        )
        return None
    backbone, text_map = lineage.backbone, code_set.text_map
    # The settings of the code set may differ from those of the settings file.
    settings = CodebookSettings(**codebook.settings["codebook"])
    wanted = _that_fit(workspace, wanted, coded, settings)
    if len(wanted) == 0:
        return None

    def compute(folder: Path) -> dict[str, pa.Table]:
        index, vectors = wanted, _vectors(workspace, lineage, catalog, wanted, text_map.text_mean)
        assigned = assign_new_items(code_set, index, vectors, settings, coded.codes)
        spread = new_item_figures(assigned.codes)
        workspace.progress.say(
            f"{len(index)} items got codes from their text, with {spread['first_codes_in_use']} different codes at the first level"
        )
        no_interactions = np.zeros(len(index), np.int64)
        save_codes(folder / CODES, index, assigned.codes, assigned.is_reassigned, no_interactions)
        source = columns.MAPPED_FROM_TEXT
        return {
            "item_code": code_rows(
                catalog, index, assigned.codes, assigned.is_reassigned, source=source, code_set_run_id=codebook.run_id
            ),
            "item_embedding": embedding_rows("item_id", catalog.item_ids, index, assigned.vectors, source),
        }

    request = StageRequest(columns.ASSIGN, {}, (codebook, backbone, *earlier), ("item",))
    if len(earlier) < len(lineage.assigns):
        damaged = lineage.assigns[len(earlier)]
        if workspace.book.fingerprint(request) != damaged.fingerprint:
            workspace.intact(damaged)
    return workspace.book.execute(request, compute)


def _vectors(
    workspace: Workspace, lineage: Lineage, catalog: Catalog, wanted: NDArray[np.int32], mean: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the text vectors of the items in ``wanted`` ``(n, D)``; ``mean`` ``(D,)`` for a text without a known word."""
    found = text_vectors(workspace, lineage, catalog, wanted)
    vectors = np.tile(mean, (len(wanted), 1))
    vectors[np.searchsorted(wanted, found.item_index)] = found.vectors
    if unknown := len(wanted) - len(found.item_index):
        workspace.progress.say(
            f"{unknown} new items have no word that the text vectors know, so their codes are those of an average text;"
            " `semconv run --refit` makes new text vectors"
        )
    return vectors


def _without_codes(workspace: Workspace, catalog: Catalog, coded: ItemCodes) -> NDArray[np.int32]:
    """Return the servable items that have text but no codes. Say how many other items have neither text nor codes."""
    has_codes = np.zeros(len(catalog), dtype=bool)
    has_codes[coded.item_index] = True
    wanted = np.flatnonzero(~has_codes & catalog.is_servable).astype(np.int32)
    texts = catalog_texts(catalog)
    without = int(sum(not texts[item] for item in wanted))
    if without:
        workspace.progress.say(
            f"{without} servable items have too few interactions and no text: they get no codes and are not recommended"
        )
    return np.array([item for item in wanted if texts[item]], dtype=np.int32)


def _that_fit(
    workspace: Workspace, wanted: NDArray[np.int32], coded: ItemCodes, settings: CodebookSettings
) -> NDArray[np.int32]:
    """Return the wanted items for which code combinations are free, or all wanted items if items may share codes."""
    capacity = settings.codes**settings.levels
    room = max(capacity - len(coded.item_index), 0)
    if settings.collisions == "keep" or len(wanted) <= room:
        return wanted
    workspace.progress.say(
        f"{len(wanted) - room} new items get no codes: all {capacity} combinations of codes are taken;"
        " `semconv codebook fit` with more levels or codes gives more combinations"
    )
    return wanted[:room]
