"""How good the codes are, whether they are due for a refit, and the same figures for foreign codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from semconv import columns
from semconv.behavior.vectors import FILE_NAME as VECTORS
from semconv.behavior.vectors import BehaviorVectors
from semconv.config import RefitSettings
from semconv.pipeline.code_file import read_codes
from semconv.pipeline.context import Context, ItemCodes
from semconv.store import ItemFacets, RunRecord
from semconv.tokenization import quality
from semconv.tokenization.code_set import CodeSet
from semconv.tokenization.figures import new_item_figures
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
    fitted = len(code_set.item_index)
    figures = dict(code_set.figures)
    levels = quality.level_figures(coded.codes, code_set.books.shape[1])
    for level, own in zip(levels, figures.pop("levels"), strict=True):
        if code_set.has_books:
            level["reconstruction_error"] = own["reconstruction_error"]
    report = {
        "run_id": codebook.run_id,
        "items": fitted,
        "items_assigned_since": len(coded.item_index) - fitted,
        **figures,
        "new_items": new_item_figures(coded.codes[fitted:]),
        "levels": levels,
        **_shared(context, coded.item_index, coded.codes, coded.popularity),
        "variance_within": _variance_within(
            context, context.input_of(codebook, columns.EMBED_BEHAVIOR), code_set.item_index, code_set.codes
        ),
    }
    if code_set.has_books:
        report["refit"] = _refit(context.settings.refit, code_set, coded, _mapped_vectors(context, assigns))
    return report


def _variance_within(
    context: Context, behavior: RunRecord, index: NDArray[np.int32], codes: NDArray[np.uint16]
) -> list[float]:
    """Variance left in groups that share codes, of those items that have behaviour vectors."""
    vectors = BehaviorVectors.load(context.book.folder(behavior) / VECTORS)
    _, mine, theirs = np.intersect1d(index, vectors.item_index, return_indices=True)
    if len(mine) == 0:
        return []
    return quality.variance_within(codes[mine], vectors.item_vectors[theirs])


def foreign_report(context: Context, path: Path) -> dict[str, Any]:
    """The same figures for codes of a Parquet file of item_id and codes, as far as they need no books.

    Raises:
        InputError: what ``read_codes`` refuses.
    """
    found = read_codes(path, context.store.catalog().item_ids)
    index, codes = found.item_index, found.codes
    popularity = np.bincount(context.store.sequences().items, minlength=int(index.max()) + 1)[index]
    report: dict[str, Any] = {
        "file": str(path),
        "items": len(index),
        "items_not_in_the_catalogue": found.num_unknown,
        "levels": quality.level_figures(codes, found.num_codes),
        "collisions": quality.prefix_collisions(codes),
        **_shared(context, index, codes, popularity),
    }
    behavior = context.latest(columns.EMBED_BEHAVIOR)
    if behavior is not None:
        report["variance_within"] = _variance_within(context, behavior, index, codes)
    return report


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
