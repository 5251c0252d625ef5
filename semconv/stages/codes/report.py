"""Measure the quality of the codes of a project, or of the external codes in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv import columns
from semconv.behavior.vectors import BehaviorVectors
from semconv.data.store import ItemFacets
from semconv.runs.files import BEHAVIOR_VECTORS
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.settings.codebook import USEFUL_R2
from semconv.stages.codes.code_file import read_codes
from semconv.stages.codes.refit import Coded, refit_state
from semconv.tokenization import quality
from semconv.tokenization.collisions import colliding
from semconv.tokenization.figures import new_item_figures


def codebook_report(workspace: Workspace, lineage: Lineage) -> dict[str, Any]:
    """Return the figures of a code set with the codes assigned since its fit, and whether a refit is due.

    ``variance_within`` is measured on the behaviour vectors, so it can be compared with the value for external codes.
    The reconstruction errors are measured on the vectors that the codebooks were fitted on. ``tree`` and the ``counts``
    of each level are for the HTML page.

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
        "useful_r2": USEFUL_R2,
        "new_items": new_item_figures(codes.codes[coded.is_assigned]),
        "untouched_items": new_item_figures(codes.codes[coded.is_assigned & _untouched(workspace, codes.item_index)]),
        "collision_share_now": float(colliding(codes.codes).mean()),
        "levels": levels,
        **_shared(workspace, codes.item_index, codes.codes, codes.popularity),
        **_variance(workspace, code_set.item_index, code_set.codes, coded.vectors),
        "refit": refit_state(workspace, coded),
    }


def _untouched(workspace: Workspace, index: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return whether each item of ``index`` has no interactions at all, in the train cut or after it, ``(n,)``."""
    return ~np.isin(index, workspace.store.sequences().items)


def external_report(workspace: Workspace, path: Path) -> dict[str, Any]:
    """Return the figures of external codes in a Parquet file (item_id, codes), except figures that need codebooks.

    Raises:
        InputError: ``read_codes`` refuses the file.
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
        report |= _variance(workspace, index, codes, BehaviorVectors.load(workspace.intact(behavior, BEHAVIOR_VECTORS)))
    return report


def _shared(
    workspace: Workspace, index: NDArray[np.int32], codes: NDArray[np.uint16], popularity: NDArray[np.int64]
) -> dict[str, Any]:
    """Return the figures that both reports have: likeness of items with equal codes, code tree, items without codes."""
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
    """Return the variance of the behaviour vectors within groups of equal first codes, with real and shuffled codes."""
    _, mine, theirs = np.intersect1d(index, vectors.item_index, return_indices=True)
    if len(mine) == 0:
        return {}
    both, learned = codes[mine], vectors.item_vectors[theirs]
    shuffled = quality.shuffled_codes(both, workspace.settings.codebook.seed)
    return {
        "variance_within": quality.variance_within(both, learned),
        "variance_within_shuffled": quality.variance_within(shuffled, learned),
    }
