"""How good the codes are, and the same figures for codes made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv import columns
from semconv.behavior.vectors import FILE_NAME as VECTORS
from semconv.behavior.vectors import BehaviorVectors
from semconv.data.store import ItemFacets
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages.codes.code_file import read_codes
from semconv.stages.codes.refit import Coded, refit_state
from semconv.tokenization import quality
from semconv.tokenization.collisions import colliding
from semconv.tokenization.figures import new_item_figures


def codebook_report(workspace: Workspace, lineage: Lineage) -> dict[str, Any]:
    """Figures of a code set, of what was assigned to it since, and whether a refit is due.

    ``tree`` and each level's ``counts`` are for the page; everything else reads as a table. ``variance_within`` is
    measured on the behaviour vectors themselves, so that foreign codes can be held against it; reconstruction errors
    are those of what the books were fitted on.

    Args:
        lineage: the current lineage of the code set, or of the model that was tuned on it.
    """
    coded = Coded.read(workspace, lineage)
    code_set, codes = coded.code_set, coded.codes
    figures = dict(code_set.figures)
    levels = quality.level_figures(codes.codes, code_set.books.shape[1])
    for level, own in zip(levels, figures.pop("levels"), strict=True):
        if code_set.has_books:
            level["reconstruction_error"] = own["reconstruction_error"]
    return {
        "run_id": lineage.codebook.run_id,
        "items": len(code_set.item_index),
        "items_assigned_since": len(codes.item_index) - len(code_set.item_index),
        **figures,
        "new_items": new_item_figures(codes.codes[coded.is_assigned]),
        "untouched_items": new_item_figures(codes.codes[coded.is_assigned & _untouched(workspace, codes.item_index)]),
        "collision_share_now": float(colliding(codes.codes).mean()),
        "levels": levels,
        **_shared(workspace, codes.item_index, codes.codes, codes.popularity),
        **_variance(workspace, code_set.item_index, code_set.codes, coded.vectors),
        "refit": refit_state(workspace, coded),
    }


def _untouched(workspace: Workspace, index: NDArray[np.int32]) -> NDArray[np.bool_]:
    """``(n,)`` items of ``index`` that nobody ever touched, in the train cut or after it."""
    return ~np.isin(index, workspace.store.sequences().items)


def foreign_report(workspace: Workspace, path: Path) -> dict[str, Any]:
    """The same figures for codes of a Parquet file of item_id and codes, as far as they need no books.

    Raises:
        InputError: what ``read_codes`` refuses.
    """
    found = read_codes(path, workspace.store.catalog().item_ids)
    index, codes = found.item_index, found.codes
    popularity = np.bincount(workspace.store.sequences().items, minlength=int(index.max()) + 1)[index]
    report: dict[str, Any] = {
        "file": str(path),
        "items": len(index),
        "items_not_in_the_catalogue": found.num_unknown,
        "levels": quality.level_figures(codes, found.num_codes),
        "collisions": quality.prefix_collisions(codes),
        **_shared(workspace, index, codes, popularity),
    }
    behavior = workspace.latest(columns.EMBED_BEHAVIOR)
    if behavior is not None:
        report |= _variance(workspace, index, codes, BehaviorVectors.load(workspace.intact(behavior, VECTORS)))
    return report


def _shared(
    workspace: Workspace, index: NDArray[np.int32], codes: NDArray[np.uint16], popularity: NDArray[np.int64]
) -> dict[str, Any]:
    """Likeness of items that share codes, the tree, and items that have none."""
    catalog, facets = workspace.store.catalog(), workspace.store.item_facets()
    titles = [catalog.titles[item] for item in index]
    without = catalog.is_servable.copy()
    without[index] = False
    seed = workspace.settings.codebook.seed
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
    workspace: Workspace, index: NDArray[np.int32], codes: NDArray[np.uint16], vectors: BehaviorVectors
) -> dict[str, list[float]]:
    """Variance of behaviour vectors within groups of equal first codes, and the same with the codes shuffled."""
    _, mine, theirs = np.intersect1d(index, vectors.item_index, return_indices=True)
    if len(mine) == 0:
        return {}
    both, learned = codes[mine], vectors.item_vectors[theirs]
    shuffled = quality.shuffled_codes(both, workspace.settings.codebook.seed)
    return {
        "variance_within": quality.variance_within(both, learned),
        "variance_within_shuffled": quality.variance_within(shuffled, learned),
    }
