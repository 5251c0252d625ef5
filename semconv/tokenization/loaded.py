"""A code set of codes that were made elsewhere: without books, so without vectors and without a map for new items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semconv.errors import InputError
from semconv.settings.codebook import CodebookSettings
from semconv.tokenization.code_set import CodeSet
from semconv.tokenization.collisions import collision_figures, settle_collisions
from semconv.tokenization.figures import use_figures


def loaded_code_set(
    item_index: NDArray[np.int32],
    codes: NDArray[np.uint16],
    popularity: NDArray[np.int64],
    settings: CodebookSettings,
) -> CodeSet:
    """Codes as they were given, items that share all of them moved apart unless ``collisions = keep``.

    Books of width 0 stand for those that nobody has. Nearness is then the same for every code, so that an item
    which moves, fewest interactions first, takes the lowest free code of the last level, or of the level before
    where the last is full.

    Args:
        item_index: ``(M,)``.
        codes: ``(M, N)``, each below ``settings.codes``.
        popularity: ``(M,)`` interactions of the train cut.
        settings: ``levels``, ``codes`` and ``collisions`` count.
    Raises:
        InputError: items are to be moved apart, and there are more of them than code sequences.
    """
    if settings.collisions == "resolve" and settings.codes**settings.levels < len(codes):
        raise InputError(
            f"{len(codes)} items cannot be told apart by {settings.levels} codes of {settings.codes};"
            " --set codebook.collisions=keep loads them as they are"
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
