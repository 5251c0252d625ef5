"""Vectors into codes, as runs: a code set, and what is assigned to it."""

from __future__ import annotations

import itertools
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
from semconv.columns import code_token
from semconv.data.splits import train_part
from semconv.data.store import Catalog, RunRecord
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.digests import damaged_files
from semconv.runs.workspace import Context, ItemCodes, is_loaded
from semconv.settings.codebook import CodebookSettings
from semconv.stages import stage_settings
from semconv.stages.codes.code_file import FileCodes, read_codes
from semconv.stages.embed.embedding import catalog_texts, embedding_table, text_vectors
from semconv.tokenization.code_set import CodeSet, assign_new_items, fit_code_set, save_codes
from semconv.tokenization.figures import new_item_figures
from semconv.tokenization.loaded import loaded_code_set


def fit_codebook_run(context: Context, behavior: RunRecord, text: RunRecord) -> Outcome:
    """A new code set over all items with behaviour vectors."""
    settings = context.settings.codebook

    def compute(folder: Path) -> dict[str, pa.Table]:
        catalog = context.store.catalog()
        vectors = BehaviorVectors.load(context.intact(behavior, "vectors.safetensors"))
        texts = TextVectors.load(context.intact(text, "text.safetensors"))
        popularity = _popularity(context, behavior, len(catalog))
        rqvae = context.settings.rqvae
        code_set = fit_code_set(vectors, texts.item_index, texts.vectors, popularity, settings, rqvae)
        code_set.save(folder)
        _say_cold(context, code_set.figures["text_map"])
        source = np.full(len(code_set.item_index), vectors.source)
        codes = code_table(catalog, code_set.item_index, code_set.codes, source, code_set.is_reassigned, folder.name)
        return {"item_code": codes, "codebook_vector": _book_table(code_set.books)}

    read = stage_settings.codebook(context)
    request = StageRequest(columns.CODEBOOK, read, (behavior, text), ("interaction",))  # for the order of collisions
    return context.book.execute(request, compute)


def _say_cold(context: Context, figures: dict[str, Any] | None) -> None:
    """What the codes of items without interactions are worth, told on items that have some."""
    if figures is not None:
        context.progress.say(
            f"new items: text explains {figures['held_out_r2']:.1%} of held-out behaviour; of {figures['items']} items coded from"
            f" text alone {figures['first_code_agreement']:.1%} get the learned first code (always naming the most frequent:"
            f" {figures['most_frequent_code']:.1%}), {figures['codes_in_use']} first codes are in use"
        )


def load_codes_run(context: Context, behavior: RunRecord, path: Path) -> Outcome:
    """A new code set of codes made elsewhere: a Parquet file of ``item_id`` and ``codes``.

    Levels and codes a level are the file's. The behaviour vectors say how popular items are, and give the reasons
    in lists; the codes know nothing of them.

    Raises:
        InputError: what ``read_codes`` refuses, or more items than codes can tell apart.
    """
    catalog = context.store.catalog()
    found = read_codes(path, catalog.item_ids)
    popularity = _popularity(context, behavior, len(catalog))
    _say_what_is_odd(context, path, found, catalog, popularity)
    read = stage_settings.loaded_codes(context, found.codes.shape[1], found.num_codes)

    def compute(folder: Path) -> dict[str, pa.Table]:
        settings = CodebookSettings(**read["codebook"])
        code_set = loaded_code_set(found.item_index, found.codes, popularity[found.item_index], settings)
        figures = {**code_set.figures, "file": str(path), "items_not_in_the_catalogue": found.num_unknown}
        replace(code_set, figures=figures).save(folder)
        moved = int(code_set.is_reassigned.sum())
        if moved:
            context.progress.say(
                f"{moved} items shared all codes with another and took the lowest free code of the last level that had one"
            )
        source = np.full(len(found.item_index), columns.GIVEN)
        codes = code_table(catalog, found.item_index, code_set.codes, source, code_set.is_reassigned, folder.name)
        return {"item_code": codes}

    content = {"codes": file_digest(path)}
    request = StageRequest(columns.CODEBOOK, read, (behavior,), ("item", "interaction"), content)
    return context.book.execute(request, compute)


def _say_what_is_odd(
    context: Context, path: Path, found: FileCodes, catalog: Catalog, popularity: NDArray[np.int64]
) -> None:
    without = catalog.is_servable.copy()
    without[found.item_index] = False
    if found.num_unknown:
        context.progress.say(f"{path}: {found.num_unknown} items are not in the catalogue and were left out")
    if without.any():
        trained = int((popularity[without] > 0).sum())
        context.progress.say(
            f"{path}: {int(without.sum())} servable items have no codes in it, {trained} of them with interactions;"
            " they are not recommended"
        )


def assign_run(context: Context, codebook: RunRecord) -> Outcome | None:
    """Codes for items that have text but none yet; None when there is no such item.

    Published codes never change: an assign run only adds. One whose files are damaged is made again as it was.

    Raises:
        InputError: a file is damaged, and the catalogue is not that of its run any more.
    """
    catalog = context.store.catalog()
    assigns = context.assigns_of(codebook)
    earlier = tuple(itertools.takewhile(lambda run: not damaged_files(context.book.folder(run)), assigns))
    coded = ItemCodes.read(context, (codebook, *earlier))
    wanted = _to_be_coded(context, catalog, coded)
    code_set = CodeSet.load(context.intact(codebook))
    if len(wanted) == 0:
        return None
    if code_set.text_map is None:
        way_out = "; load a file that has them, a new set to tune on" if is_loaded(codebook) else ""
        context.progress.say(
            f"{len(wanted)} new items get no codes: the code set {codebook.run_id} has no text map{way_out}"
        )
        return None
    backbone = context.input_of(codebook, columns.BACKBONE)
    settings = CodebookSettings(**codebook.settings["codebook"])  # the set's own, whatever the file says today
    wanted = _with_room(context, wanted, coded, settings)
    if len(wanted) == 0:
        return None

    def compute(folder: Path) -> dict[str, pa.Table]:
        vectors = text_vectors(context, backbone, catalog, wanted)
        assigned = assign_new_items(code_set, vectors.item_index, vectors.vectors, settings, coded.codes)
        count = len(vectors.item_index)
        spread = new_item_figures(assigned.codes)
        context.progress.say(f"{count} items coded from their text, on {spread['first_codes_in_use']} first codes")
        save_codes(
            folder / "codes.safetensors",
            vectors.item_index,
            assigned.codes,
            assigned.is_reassigned,
            np.zeros(count, np.int64),
        )
        source = np.full(count, columns.MAPPED_FROM_TEXT)
        return {
            "item_code": code_table(
                catalog, vectors.item_index, assigned.codes, source, assigned.is_reassigned, codebook.run_id
            ),
            "item_embedding": embedding_table(
                "item_id", catalog.item_ids, vectors.item_index, assigned.vectors, columns.MAPPED_FROM_TEXT
            ),
        }

    request = StageRequest(columns.ASSIGN, {}, (codebook, backbone, *earlier), ("item",))
    if len(earlier) < len(assigns) and context.book.fingerprint(request) != assigns[len(earlier)].fingerprint:
        context.intact(assigns[len(earlier)])
    return context.book.execute(request, compute)


def _to_be_coded(context: Context, catalog: Catalog, coded: ItemCodes) -> NDArray[np.int32]:
    """Servable items with text but no codes; those without text are counted."""
    has_codes = np.zeros(len(catalog), dtype=bool)
    has_codes[coded.item_index] = True
    wanted = np.flatnonzero(~has_codes & catalog.is_servable).astype(np.int32)
    texts = catalog_texts(catalog)
    without = int(sum(not texts[item] for item in wanted))
    if without:
        context.progress.say(
            f"{without} servable items have neither enough interactions nor a text: they get no codes and are not recommended"
        )
    return np.array([item for item in wanted if texts[item]], dtype=np.int32)


def _with_room(
    context: Context, wanted: NDArray[np.int32], coded: ItemCodes, settings: CodebookSettings
) -> NDArray[np.int32]:
    """As many of the wanted items as there are code sequences that no item has; all where items may share them."""
    room = settings.codes**settings.levels - len(coded.item_index)
    if settings.collisions == "keep" or len(wanted) <= room:
        return wanted
    context.progress.say(
        f"{len(wanted) - max(room, 0)} new items get no codes: all {settings.codes**settings.levels} code sequences are taken;"
        " `semconv codebook fit` with more levels or codes makes room"
    )
    return wanted[: max(room, 0)]


def code_table(
    catalog: Catalog,
    index: NDArray[np.int32],
    codes: NDArray[np.uint16],
    source: NDArray[Any],
    is_reassigned: NDArray[np.bool_],
    code_set_run_id: str,
) -> pa.Table:
    """Rows of ``item_code`` without their run id."""
    names = [[code_token(level, int(code)) for level, code in enumerate(row)] for row in codes]
    return pa.table(
        {
            columns.ITEM_ID: pa.array([catalog.item_ids[item] for item in index], pa.string()),
            columns.CODES: pa.array([list(map(int, row)) for row in codes], pa.list_(pa.uint16())),
            columns.SEMANTIC_ID: pa.array(["".join(row) for row in names], pa.string()),
            columns.VECTOR_SOURCE: pa.array(list(source), pa.string()),
            columns.CODE_SET_RUN_ID: pa.array([code_set_run_id] * len(index), pa.string()),
            columns.IS_REASSIGNED: pa.array(is_reassigned, pa.bool_()),
        }
    )


def _book_table(books: NDArray[np.float32]) -> pa.Table:
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


def _popularity(context: Context, behavior: RunRecord, num_items: int) -> NDArray[np.int64]:
    """Interactions of the train cut that the vectors were made from, ``(I,)``."""
    split = behavior.settings["split"]
    train = train_part(context.sequences(split=split), split["train_cut"], split["k_core"], num_items)
    return np.bincount(train.items, minlength=num_items).astype(np.int64)
