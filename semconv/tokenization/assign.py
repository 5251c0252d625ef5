"""Codes for items without interactions: text vector, frozen map, behaviour space, codes apart from all others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.errors import InputError
from semconv.settings.codebook import CodebookSettings
from semconv.tokenization.codebook import encode
from semconv.tokenization.collisions import resolve_collisions
from semconv.tokenization.text_map import TextMap


@dataclass(frozen=True)
class AssignedCodes:
    """Codes of new items."""

    codes: NDArray[np.uint16]  # (n, N)
    vectors: NDArray[np.float32]  # (n, D) mapped from text
    is_reassigned: NDArray[np.bool_]  # (n,) moved because the nearest codes were taken


def vectors_from_text(text_map: TextMap, text_vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Behaviour vectors ``(n, D)`` that the frozen map makes of text vectors ``(n, D_llm)``.

    Raises:
        InputError: NaN or infinite values, another width than the map's.
    """
    bad = np.flatnonzero(~np.isfinite(text_vectors).all(axis=1))
    if len(bad):
        raise InputError(
            f"{len(bad)} of {len(text_vectors)} text vectors of new items have NaN or infinite values, the first in row {bad[0]}"
        )
    return text_map.predict_stretched(text_vectors)


def assign_codes(
    points: NDArray[np.float32],
    books: NDArray[np.float32],
    is_used: NDArray[np.bool_],
    taken: NDArray[np.uint16],
    settings: CodebookSettings,
) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Codes of new items, and which of them moved; codes in ``taken`` never change and are never given twice.

    Args:
        points: ``(n, D)`` what the books quantise.
        books: ``(N, C, D)``; is_used: ``(N, C)``.
        taken: ``(T, N)`` every code sequence that an item has.
    """
    codes = encode(points, books, is_used, settings)
    is_moved = np.zeros(len(codes), dtype=bool)
    if settings.collisions == "resolve":
        no_interactions = np.zeros(len(codes), dtype=np.int64)
        resolution = resolve_collisions(points, codes, no_interactions, books, settings, taken)
        codes, is_moved = resolution.codes, resolution.is_moved
    return codes, is_moved
