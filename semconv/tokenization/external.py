"""A code set made from external codes, which has no codebooks and cannot give codes to new items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semconv.errors import InputError
from semconv.settings.codebook import CodebookSettings
from semconv.tokenization.code_set import CodeSet
from semconv.tokenization.collisions import collision_figures, settle_collisions
from semconv.tokenization.figures import use_figures
from semconv.tokenization.kmeans import Codes


def external_code_set(
    item_index: NDArray[np.int32], codes: Codes, popularity: NDArray[np.int64], settings: CodebookSettings
) -> CodeSet:
    """Make a code set of external codes. Items that share all codes get different codes, unless ``collisions = keep``.

    Codebooks of width 0 stand for the missing codebooks, so all codes are equally near. An item that must move gets the
    lowest free code of the last level, or of the level before if the last level is full. Items with the fewest
    interactions move first.

    Args:
        item_index: ``(M,)``.
        codes: ``(M, N)``, each below ``settings.codes``.
        popularity: ``(M,)`` interactions of the train cut.
        settings: only ``levels``, ``codes`` and ``collisions`` are used.
    Raises:
        InputError: collisions must be resolved, but there are more items than code sequences.
    """
    if settings.collisions == "resolve" and settings.codes**settings.levels < len(codes):
        raise InputError(
            f"{len(codes)} items cannot all have different codes with {settings.levels} levels of {settings.codes} codes;"
            " --set codebook.collisions=keep lets items share codes"
        )
    books = np.zeros((settings.levels, settings.codes, 0), dtype=np.float32)
    points = np.zeros((len(codes), 0), dtype=np.float32)
    resolution = settle_collisions(points, codes, popularity, books, settings)
    is_used = np.stack([np.bincount(level, minlength=settings.codes) > 0 for level in resolution.codes.T])
    figures = {
        **use_figures(resolution, settings.codes),
        "collisions": collision_figures(points, codes, popularity, books, settings),
    }
    return CodeSet(item_index, resolution.codes, resolution.is_moved, popularity, books, is_used, None, figures)
