"""How good the codes are, whether they are due for a refit, and the same figures for foreign codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from semconv import columns
from semconv.behavior.vectors import FILE_NAME as VECTORS
from semconv.behavior.vectors import BehaviorVectors
from semconv.config import RefitSettings
from semconv.errors import InputError
from semconv.pipeline.context import Context, ItemCodes
from semconv.store import ItemFacets, RunRecord
from semconv.tokenization import quality
from semconv.tokenization.code_set import CodeSet
from semconv.tokenization.kmeans import squared_norms

Floats = NDArray[np.float32]


def codebook_report(context: Context, codebook: RunRecord) -> dict[str, Any]:
    """Figures of a code set and of what was assigned to it since.

    ``tree`` and each level's ``counts`` are for the page; everything else reads as a table. ``variance_within`` is
    measured on the behaviour vectors themselves, so that foreign codes can be held against it; reconstruction errors
    are those of what the books were fitted on.
    """
    code_set = CodeSet.load(context.book.folder(codebook))
    assigns = context.assigns_of(codebook)
    coded = ItemCodes.read(context, (codebook, *assigns))
    vectors = BehaviorVectors.load(context.book.folder(context.input_of(codebook, columns.EMBED_BEHAVIOR)) / VECTORS)
    added = len(coded.item_index) - len(code_set.item_index)
    figures = dict(code_set.figures)
    levels = quality.level_figures(coded.codes, code_set.books.shape[1])
    for level, fitted in zip(levels, figures.pop("levels"), strict=True):
        level["reconstruction_error"] = fitted["reconstruction_error"]
    rows = np.searchsorted(vectors.item_index, code_set.item_index)
    learned = vectors.item_vectors[rows]
    return {
        "run_id": codebook.run_id,
        "items": len(code_set.item_index),
        "items_assigned_since": added,
        **figures,
        "levels": levels,
        **_shared(context, coded.item_index, coded.codes, coded.popularity),
        "variance_within": quality.variance_within(code_set.codes, learned),
        "refit": _refit(context.settings.refit, code_set, coded, _mapped_vectors(context, assigns)),
    }


def foreign_report(context: Context, path: Path) -> dict[str, Any]:
    """The same figures for codes of a Parquet file of item_id and codes, as far as they need no books.

    Raises:
        InputError: not such a file, rows of different length, an item twice, or no item of the catalogue.
    """
    index, codes, unknown = read_codes(path, list(context.store.catalog().item_ids))
    popularity = np.bincount(context.store.sequences().items, minlength=int(index.max()) + 1)[index]
    report: dict[str, Any] = {
        "file": str(path),
        "items": len(index),
        "items_not_in_the_catalogue": unknown,
        "levels": quality.level_figures(codes, int(codes.max()) + 1),
        "collisions": quality.prefix_collisions(codes),
        **_shared(context, index, codes, popularity),
    }
    behavior = context.latest(columns.EMBED_BEHAVIOR)
    if behavior is not None:
        vectors = BehaviorVectors.load(context.book.folder(behavior) / VECTORS)
        _, mine, theirs = np.intersect1d(index, vectors.item_index, return_indices=True)
        report["variance_within"] = quality.variance_within(codes[mine], vectors.item_vectors[theirs])
    return report


def read_codes(path: Path, item_ids: list[str]) -> tuple[NDArray[np.int32], NDArray[np.uint16], int]:
    """Item index ``(M,)`` ascending and codes ``(M, N)`` of a file's items that the catalogue has, and how many it has not.

    Raises:
        InputError: no Parquet file, columns missing, codes that differ in length or are no small numbers, an item twice.
    """
    try:
        table = pq.read_table(path, columns=[columns.ITEM_ID, columns.CODES])
        rows = [[int(code) for code in row] for row in table.column(columns.CODES).to_pylist()]
    except (pa.ArrowInvalid, pa.ArrowKeyError, KeyError, OSError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: not a Parquet file with the columns {columns.ITEM_ID} and {columns.CODES}, a list of numbers"
            f" ({str(error).splitlines()[0]})"
        ) from error
    widths = {len(row) for row in rows}
    if len(widths) != 1 or widths == {0}:
        raise InputError(f"{path}: every item must have the same number of codes, found {sorted(widths) or 'no item'}")
    known = {item_id: place for place, item_id in enumerate(item_ids)}
    ids = [str(item_id) for item_id in table.column(columns.ITEM_ID).to_pylist()]
    kept = [row for row, item_id in enumerate(ids) if item_id in known]
    if not kept:
        raise InputError(f"{path}: holds no item of the catalogue; check that item_id matches the ingested items")
    index = np.array([known[ids[row]] for row in kept], dtype=np.int32)
    codes = np.array([rows[row] for row in kept], dtype=np.int64)
    if len(np.unique(index)) < len(index):
        raise InputError(f"{path}: {len(index) - len(np.unique(index))} items come more than once")
    if codes.min() < 0 or codes.max() > np.iinfo(np.uint16).max:
        raise InputError(f"{path}: codes must lie between 0 and {np.iinfo(np.uint16).max}")
    order = np.argsort(index)
    return index[order], codes[order].astype(np.uint16), len(ids) - len(kept)


def _shared(
    context: Context, index: NDArray[np.int32], codes: NDArray[np.uint16], popularity: NDArray[np.int64]
) -> dict[str, Any]:
    """Likeness of items that share codes, the tree, and items that have none."""
    catalog, facets = context.store.catalog(), context.store.item_facets()
    titles = [catalog.titles[item] for item in index]
    without = catalog.is_servable.copy()
    without[index] = False
    seed = context.settings.codebook.seed
    return {
        "items_without_codes": int(without.sum()),
        "agreement": {
            name: quality.agreement(codes, features, seed)
            for name, features in (("title words", quality.Features.of_titles(titles)), *_facets(facets, index))
            if features.matrix.nnz
        },
        "tree": quality.code_tree(codes, titles, popularity),
    }


def _facets(facets: ItemFacets, index: NDArray[np.int32]) -> list[tuple[str, quality.Features]]:
    brands = ([facets.brands[item]] if facets.brands[item] else [] for item in index)
    categories = (facets.categories[item] or [] for item in index)
    return [
        ("brand", quality.Features.of_sets(brands)),
        ("categories", quality.Features.of_sets(categories)),
    ]


def _mapped_vectors(context: Context, assigns: tuple[RunRecord, ...]) -> Floats | None:
    """Vectors that were mapped from text, in the order of the assigned items; None without any."""
    parts = []
    for run in assigns:
        table = pq.read_table(context.book.folder(run) / "table-item_embedding.parquet", columns=[columns.VECTOR])
        parts += table.column(columns.VECTOR).to_pylist()
    return np.array(parts, dtype=np.float32) if parts else None


def _refit(limits: RefitSettings, code_set: CodeSet, coded: ItemCodes, mapped: Floats | None) -> dict[str, Any]:
    """What has changed since the fit, and which of the limits it passes."""
    fitted = len(code_set.item_index)
    mapped_share = 1.0 - fitted / len(coded.item_index)
    at_fit, now = (float(np.bincount(codes[:, 0]).max() / len(codes)) for codes in (code_set.codes, coded.codes))
    error_old = float(code_set.figures["reconstruction_error"])
    error_new = None if mapped is None else _relative_error(code_set, coded.codes[fitted:], mapped)
    reasons = []
    if mapped_share > limits.mapped_share:
        reasons.append(
            f"{mapped_share:.1%} of the items have codes from their text alone, more than {limits.mapped_share:.0%}"
        )
    if now > limits.load_growth * at_fit:
        reasons.append(f"the fullest first code holds {now:.1%} of the items, {at_fit:.1%} at the fit")
    if error_new is not None and error_new > limits.error_growth * error_old:
        reasons.append(f"new items lie {error_new:.3f} from their codes, those of the fit {error_old:.3f}")
    return {
        "is_due": bool(reasons),
        "reasons": reasons,
        "mapped_share": mapped_share,
        "largest_first_code_at_fit": at_fit,
        "largest_first_code_now": now,
        "error_of_fitted": error_old,
        "error_of_mapped": error_new,
    }


def _relative_error(code_set: CodeSet, codes: NDArray[np.uint16], vectors: Floats) -> float:
    """Squared distance to what the codes stand for, over the squared length of the vectors."""
    total = float(squared_norms(vectors).sum(dtype=np.float64))
    rest = float(squared_norms(vectors - code_set.reconstruct(codes)).sum(dtype=np.float64))
    return rest / total if total > 0 else 0.0
