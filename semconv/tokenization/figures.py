"""What a fit, or a load, is measured by: use of the codes, collisions, reconstruction, and text in behaviour's place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semconv.settings.codebook import CodebookSettings
from semconv.tokenization.codebook import Codebooks, encode, squared_errors
from semconv.tokenization.collisions import Resolution
from semconv.tokenization.kmeans import squared_norms

if TYPE_CHECKING:
    from semconv.tokenization.code_set import CodeSet

Floats = NDArray[np.float32]


def use_figures(resolution: Resolution, num_codes: int) -> dict[str, Any]:
    """Use of the codes of each level, and collisions: what needs no books."""
    levels = []
    for n, level in enumerate(resolution.codes.T):
        counts = np.bincount(level, minlength=num_codes)
        share = counts[counts > 0] / counts.sum()
        levels.append(
            {
                "level": n,
                "entropy_bits": float(-(share * np.log2(share)).sum()),
                "dead_codes": int((counts == 0).sum()),
            }
        )
    return {
        "items": len(resolution.codes),
        "levels": levels,
        "collision_share_before": resolution.share_before,
        "collision_share_after": resolution.share_after,
        "moved_items": int(resolution.is_moved.sum()),
    }


def fit_figures(vectors: Floats, fitted: Codebooks, resolution: Resolution, code_set: CodeSet) -> dict[str, Any]:
    """The same of a fit, with how well its books tell the vectors ``(M, D)``."""
    figures = use_figures(resolution, fitted.books.shape[1])
    for level, error, objective in zip(figures["levels"], fitted.errors, fitted.objectives, strict=True):
        level |= {"reconstruction_error": error, "objective": list(objective)}
    rest = squared_errors(vectors, resolution.codes, code_set.reconstruct).sum(dtype=np.float64)
    total = squared_norms(vectors).sum(dtype=np.float64)
    figures["reconstruction_error"] = float(rest / total) if total > 0 else 0.0
    figures["moved"] = _moved_figures(vectors, fitted, resolution, code_set)
    return figures


def _moved_figures(vectors: Floats, fitted: Codebooks, resolution: Resolution, code_set: CodeSet) -> dict[str, Any]:
    """How much further from their vectors the moved items' codes lie: mean squared error over that of zero codes."""
    moved = resolution.is_moved
    scale = float(squared_norms(vectors).mean(dtype=np.float64)) or 1.0
    errors = [
        float(squared_errors(vectors[moved], codes[moved], code_set.reconstruct).mean(dtype=np.float64)) / scale
        for codes in (fitted.codes, resolution.codes)
        if moved.any()
    ]
    before, after = errors or (None, None)
    return {"share": float(moved.mean()), "error_before": before, "error_after": after}


def cold_figures(
    code_set: CodeSet, held_out: Floats, unsteadied: Floats, learned: NDArray[np.uint16], settings: CodebookSettings
) -> dict[str, Any] | None:
    """How well text stands in for behaviour, on items that have both and whose vector the map did not see.

    Each is coded as a new item would be, and its first code held against the learned one. A vector that was
    steadied by text holds part of that same prediction, so the second comparison is with the first code that the
    item's behaviour alone has in the same books.

    Args:
        held_out: ``(m, D)`` cross-fitted predictions.
        unsteadied: ``(m, D)`` behaviour vectors of the same items, as they came.
        learned: ``(m,)`` their first codes.
    Returns:
        None without a text map.
    """
    text_map = code_set.text_map
    if text_map is None:
        return None

    def first(vectors: Floats) -> NDArray[np.uint16]:
        return encode(code_set.points(vectors), code_set.books[:1], code_set.is_used[:1], settings)[:, 0]

    as_new = (held_out - text_map.vector_mean) * text_map.stretch + text_map.vector_mean
    guessed = first(as_new)
    alone = first(unsteadied)
    return {
        "items": len(held_out),
        "held_out_r2": text_map.held_out_r2,
        "penalty": text_map.penalty,
        "first_code_agreement": float((guessed == learned).mean()),
        "most_frequent_code": _largest_share(learned),
        "first_code_agreement_behavior_alone": float((guessed == alone).mean()),
        "most_frequent_code_behavior_alone": _largest_share(alone),
        "codes_in_use": len(np.unique(guessed)),
        "codes_in_use_learned": len(np.unique(learned)),
        "largest_share": _largest_share(guessed),
        "nearest_code_error": nearest_code_error(code_set, as_new, settings),
    }


def nearest_code_error(code_set: CodeSet, vectors: Floats, settings: CodebookSettings) -> float | None:
    """Squared distance of vectors ``(n, D)`` to what their nearest codes stand for, over their squared length; None of none."""
    total = float(squared_norms(vectors).sum(dtype=np.float64))
    if total == 0:
        return None
    codes = encode(code_set.points(vectors), code_set.books, code_set.is_used, settings)
    return float(squared_errors(vectors, codes, code_set.reconstruct).sum(dtype=np.float64)) / total


def new_item_figures(codes: NDArray[np.uint16]) -> dict[str, Any]:
    """Of items coded from text alone ``(n, N)``: how many, and how they spread over the first codes."""
    used = len(np.unique(codes[:, 0])) if len(codes) else 0
    return {"coded": len(codes), "first_codes_in_use": used, "largest_share": _largest_share(codes[:, 0])}


def _largest_share(codes: NDArray[np.uint16]) -> float | None:
    return float(np.bincount(codes).max() / len(codes)) if len(codes) else None
