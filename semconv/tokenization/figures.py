"""Figures of a code set: use of the codes, collisions, reconstruction error, and how well text predicts codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from semconv.settings.codebook import CodebookSettings
from semconv.tokenization.code_set import CodeSet
from semconv.tokenization.codebook import Codebooks, encode, squared_errors
from semconv.tokenization.collisions import Resolution
from semconv.tokenization.kmeans import Codes, Floats, squared_norms
from semconv.tokenization.quality import level_figures

_OF_A_LEVEL = ("level", "entropy_bits", "dead_codes")


def use_figures(resolution: Resolution, num_codes: int) -> dict[str, Any]:
    """Return the figures that need no codebooks: use of the codes of each level, and collisions."""
    levels = level_figures(resolution.codes, num_codes)
    return {
        "items": len(resolution.codes),
        "levels": [{name: level[name] for name in _OF_A_LEVEL} for level in levels],
        "collision_share_before": resolution.share_before,
        "collision_share_after": resolution.share_after,
        "moved_items": int(resolution.is_moved.sum()),
    }


def fit_figures(vectors: Floats, fitted: Codebooks, resolution: Resolution, code_set: CodeSet) -> dict[str, Any]:
    """Return the figures of ``use_figures``, and figures of how well the codes reconstruct the vectors ``(M, D)``."""
    figures = use_figures(resolution, fitted.books.shape[1])
    for level, error, objective in zip(figures["levels"], fitted.errors, fitted.objectives, strict=True):
        level |= {"reconstruction_error": error, "objective": list(objective)}
    rest = squared_errors(vectors, resolution.codes, code_set.reconstruct).sum(dtype=np.float64)
    total = squared_norms(vectors).sum(dtype=np.float64)
    figures["reconstruction_error"] = float(rest / total) if total > 0 else 0.0
    figures["moved"] = _moved_figures(vectors, fitted, resolution, code_set)
    return figures


def _moved_figures(vectors: Floats, fitted: Codebooks, resolution: Resolution, code_set: CodeSet) -> dict[str, Any]:
    """Return the reconstruction error of the items that moved to free codes, before and after the move."""
    moved = resolution.is_moved
    scale = float(squared_norms(vectors).mean(dtype=np.float64)) or 1.0
    errors = [
        float(squared_errors(vectors[moved], codes[moved], code_set.reconstruct).mean(dtype=np.float64)) / scale
        for codes in (fitted.codes, resolution.codes)
        if moved.any()
    ]
    before, after = errors or (None, None)
    return {"share": float(moved.mean()), "error_before": before, "error_after": after}


def text_map_figures(
    code_set: CodeSet, predicted: Floats, raw_vectors: Floats, learned: Codes, settings: CodebookSettings
) -> dict[str, Any] | None:
    """Test the text map on held-out items: compare codes predicted from text with learned codes of the same items.

    Each item gets a code at the first level in the same way as a new item, from a prediction that was fitted without
    the item. This code is compared with the code of the first level that the codebook fit gave the item. Learned codes come from vectors into which
    ``shrink_to_text`` mixed the same predictions. So a second comparison uses the first code of the item's raw
    behaviour vector.

    Args:
        predicted: ``(m, D)`` cross-fitted predictions, for the items that have both text and behaviour.
        raw_vectors: ``(m, D)`` behaviour vectors of the same items before shrinkage.
        learned: ``(m,)`` learned first codes of these items.
    Returns:
        the figures, or None if the code set has no text map.
    """
    text_map = code_set.text_map
    if text_map is None:
        return None

    def first_codes(vectors: Floats) -> Codes:
        return encode(code_set.points(vectors), code_set.books[:1], code_set.is_used[:1], settings)[:, 0]

    as_new = (predicted - text_map.vector_mean) * text_map.stretch + text_map.vector_mean
    from_text = first_codes(as_new)
    from_behavior = first_codes(raw_vectors)
    return {
        "items": len(predicted),
        "held_out_r2": text_map.held_out_r2,
        "penalty": text_map.penalty,
        "first_code_agreement": float((from_text == learned).mean()),
        "most_frequent_code": _largest_share(learned),
        "first_code_agreement_behavior_alone": float((from_text == from_behavior).mean()),
        "most_frequent_code_behavior_alone": _largest_share(from_behavior),
        "codes_in_use": len(np.unique(from_text)),
        "codes_in_use_learned": len(np.unique(learned)),
        "largest_share": _largest_share(from_text),
        "nearest_code_error": nearest_code_error(code_set, as_new, settings),
    }


def nearest_code_error(code_set: CodeSet, vectors: Floats, settings: CodebookSettings) -> float | None:
    """Return the squared error of coding vectors ``(n, D)`` by the nearest codes, as a share of their squared length.

    Returns:
        the error, or None if there are no vectors or all vectors are zero.
    """
    total = float(squared_norms(vectors).sum(dtype=np.float64))
    if total == 0:
        return None
    codes = encode(code_set.points(vectors), code_set.books, code_set.is_used, settings)
    return float(squared_errors(vectors, codes, code_set.reconstruct).sum(dtype=np.float64)) / total


def new_item_figures(codes: Codes) -> dict[str, Any]:
    """Count the items with codes ``(n, N)`` from text alone, and measure how evenly they use the first codes."""
    used = len(np.unique(codes[:, 0])) if len(codes) else 0
    return {"coded": len(codes), "first_codes_in_use": used, "largest_share": _largest_share(codes[:, 0])}


def _largest_share(codes: Codes) -> float | None:
    """Return the share of the most frequent code among ``codes``, or None if there are no codes."""
    return float(np.bincount(codes).max() / len(codes)) if len(codes) else None
