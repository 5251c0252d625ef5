"""Codes for items without interactions: predict behaviour vectors from text, and choose the nearest free codes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.errors import InputError
from semconv.settings.codebook import CodebookSettings
from semconv.tokenization.code_set import CodeSet
from semconv.tokenization.codebook import encode
from semconv.tokenization.collisions import resolve_collisions
from semconv.tokenization.kmeans import Codes, Floats


@dataclass(frozen=True)
class AssignedCodes:
    """The codes of items without interactions, chosen from their text."""

    codes: Codes  # (n, N)
    vectors: Floats  # (n, D) predicted from text
    is_reassigned: NDArray[np.bool_]  # (n,) True for items that got other codes because the nearest codes were taken


def assign_new_items(
    code_set: CodeSet,
    item_index: NDArray[np.int32],
    text_vectors: NDArray[np.floating],
    settings: CodebookSettings,
    taken: Codes | None = None,
) -> AssignedCodes:
    """Choose codes from the text of items that have no behaviour vectors. Codes of other items do not change.

    Args:
        item_index: ``(n,)`` new items.
        text_vectors: ``(n, D_llm)``.
        taken: ``(T, N)`` codes that earlier assign runs gave to other items.
    Raises:
        InputError: an item has codes already, the code set has no text map, or the text vectors are not finite or of
            a different width.
    """
    known = np.intersect1d(code_set.item_index, item_index)
    if len(known):
        raise InputError(
            f"{len(known)} of {len(item_index)} items to be coded have codes already, the first is item_index {known[0]}; leave them out"
        )
    if code_set.text_map is None:
        raise InputError(
            "this code set has no text map, because too few items have both text and interactions; new items cannot get codes from their text"
        )
    bad = np.flatnonzero(~np.isfinite(text_vectors).all(axis=1))
    if len(bad):
        raise InputError(
            f"{len(bad)} of {len(text_vectors)} text vectors of new items have NaN or infinite values, the first in row {bad[0]}"
        )
    vectors = code_set.text_map.predict(text_vectors)
    points = code_set.points(vectors)
    codes = encode(points, code_set.books, code_set.is_used, settings)
    if settings.collisions == "keep":
        return AssignedCodes(codes, vectors, np.zeros(len(codes), dtype=bool))
    everything = code_set.codes if taken is None else np.concatenate([code_set.codes, taken])
    no_interactions = np.zeros(len(codes), dtype=np.int64)
    resolution = resolve_collisions(points, codes, no_interactions, code_set.books, settings, everything)
    return AssignedCodes(resolution.codes, vectors, resolution.is_moved)
