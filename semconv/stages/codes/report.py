"""How good the codes are, and the same figures for codes made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv import columns
from semconv.behavior.vectors import FILE_NAME as VECTORS
from semconv.behavior.vectors import BehaviorVectors
from semconv.data.store import ItemFacets, RunRecord
from semconv.runs.workspace import Context
from semconv.stages.codes.code_file import read_codes
from semconv.stages.codes.refit import Coded, refit_state
from semconv.tokenization import quality
from semconv.tokenization.collisions import colliding
from semconv.tokenization.figures import new_item_figures
from semconv.tokenization.text_map import USEFUL_R2


def codebook_report(context: Context, codebook: RunRecord, finetune: RunRecord | None) -> dict[str, Any]:
    """Figures of a code set, of what was assigned to it since, and whether a refit is due.

    ``tree`` and each level's ``counts`` are for the page; everything else reads as a table. ``variance_within`` is
    measured on the behaviour vectors themselves, so that foreign codes can be held against it; reconstruction errors
    are those of what the books were fitted on.

    Args:
        finetune: the model that was tuned on the code set, where there is one.
    """
    coded = Coded.read(context, codebook)
    code_set, codes = coded.code_set, coded.codes
    figures = dict(code_set.figures)
    levels = quality.level_figures(codes.codes, code_set.books.shape[1])
    for level, own in zip(levels, figures.pop("levels"), strict=True):
        if code_set.has_books:
            level["reconstruction_error"] = own["reconstruction_error"]
    return {
        "run_id": codebook.run_id,
        "items": len(code_set.item_index),
        "items_assigned_since": len(codes.item_index) - len(code_set.item_index),
        **figures,
        "useful_r2": USEFUL_R2,
        "new_items": new_item_figures(codes.codes[coded.is_assigned]),
        "untouched_items": new_item_figures(codes.codes[coded.is_assigned & _untouched(context, codes.item_index)]),
        "collision_share_now": float(colliding(codes.codes).mean()),
        "levels": levels,
        **_shared(context, codes.item_index, codes.codes, codes.popularity),
        **_variance(context, code_set.item_index, code_set.codes, coded.vectors),
        "refit": refit_state(context, coded, finetune),
    }


def _untouched(context: Context, index: NDArray[np.int32]) -> NDArray[np.bool_]:
    """``(n,)`` items of ``index`` that nobody ever touched, in the train cut or after it."""
    return ~np.isin(index, context.store.sequences().items)


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
        report |= _variance(context, index, codes, BehaviorVectors.load(context.intact(behavior, VECTORS)))
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


def _variance(
    context: Context, index: NDArray[np.int32], codes: NDArray[np.uint16], vectors: BehaviorVectors
) -> dict[str, list[float]]:
    """Variance of behaviour vectors within groups of equal first codes, and the same with the codes shuffled."""
    _, mine, theirs = np.intersect1d(index, vectors.item_index, return_indices=True)
    if len(mine) == 0:
        return {}
    both, learned = codes[mine], vectors.item_vectors[theirs]
    shuffled = quality.shuffled_codes(both, context.settings.codebook.seed)
    return {
        "variance_within": quality.variance_within(both, learned),
        "variance_within_shuffled": quality.variance_within(shuffled, learned),
    }
