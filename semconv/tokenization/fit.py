"""Fit a code set: turn behaviour vectors and text vectors into item codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from semconv.behavior.vectors import BehaviorVectors
from semconv.columns import LEARNED
from semconv.errors import SettingsError
from semconv.settings.codebook import CodebookSettings, RqvaeSettings
from semconv.tokenization.autoencoder import Autoencoder
from semconv.tokenization.code_set import CodeSet
from semconv.tokenization.codebook import BLOCK_ROWS, Codebooks, fit_codebooks
from semconv.tokenization.collisions import collision_figures, settle_collisions
from semconv.tokenization.figures import fit_figures, text_map_figures
from semconv.tokenization.kmeans import Floats
from semconv.tokenization.text_map import MIN_ITEMS, TextMap, fit_text_map


def fit_code_set(
    vectors: BehaviorVectors,
    text_item_index: NDArray[np.int32],
    text_vectors: NDArray[np.floating],
    popularity: NDArray[np.int64],
    settings: CodebookSettings,
    rqvae_settings: RqvaeSettings | None = None,
) -> CodeSet:
    """Fit a code set for all items with behaviour vectors.

    The codebooks are fitted on a sample of at most ``settings.sample`` items. The text map is fitted on all items that
    have both vectors. All items get codes. Only the objectives of the k-means iterations are measured on the sample;
    all other figures are measured on all items. With ``alignment`` and ``shrinkage`` both 0, the codes do not depend on
    the text.

    Args:
        text_item_index: ``(T,)`` items that have text; T may be 0.
        text_vectors: ``(T, D_llm)``.
        popularity: ``(I,)`` number of interactions in the train cut, for every item of the catalogue.
        rqvae_settings: settings of the method rqvae; None means the defaults.
    Raises:
        InputError: no behaviour vectors, NaN or infinite values.
        SettingsError: the method does not support the chosen distances, or each item must have its own code sequence
            but there are fewer code sequences than items.
    """
    _require_enough_codes(len(vectors.item_index), settings)
    _, rows, text_rows = np.intersect1d(vectors.item_index, text_item_index, return_indices=True)  # items with both
    text_map, predicted = _fit_map(vectors.item_vectors[rows], text_vectors[text_rows], settings)
    counts = popularity[vectors.item_index].astype(np.int64)
    raw_vectors = vectors.item_vectors
    item_vectors = raw_vectors
    uses_text = text_map is not None and text_map.explains(settings.min_text_r2)
    if vectors.source == LEARNED and uses_text:
        item_vectors = shrink_to_text(raw_vectors, counts, rows, predicted, settings.shrinkage)
    is_aligned = uses_text and settings.alignment > 0
    aligned, has_text = None, None
    if is_aligned:
        aligned, has_text = np.zeros_like(item_vectors), np.zeros(len(item_vectors), dtype=bool)
        aligned[rows], has_text[rows] = predicted, True
    autoencoder, fitted = _fit_books(item_vectors, aligned, has_text, settings, rqvae_settings or RqvaeSettings())
    points = item_vectors if autoencoder is None else autoencoder.latents(item_vectors)  # (M, D)
    resolution = settle_collisions(points, fitted.codes, counts, fitted.books, settings)
    code_set = CodeSet(
        vectors.item_index,
        resolution.codes,
        resolution.is_moved,
        counts,
        fitted.books,
        fitted.is_used,
        text_map,
        autoencoder=autoencoder,
    )
    figures = fit_figures(item_vectors, fitted, resolution, code_set)
    figures["collisions"] = collision_figures(points, fitted.codes, counts, fitted.books, settings)
    figures["text_map"] = text_map_figures(code_set, predicted, raw_vectors[rows], fitted.codes[rows, 0], settings)
    figures["alignment"] = {"lambda": settings.alignment, "is_on": is_aligned, "why_off": _why_off(text_map, settings)}
    return replace(code_set, figures=figures)


def shrink_to_text(
    vectors: Floats, counts: NDArray[np.int64], rows: NDArray[np.int64], predicted: Floats, shrinkage: float
) -> Floats:
    """Mix the vectors of items with predictions of these vectors from the items' text.

    The vector x of an item with n interactions and its prediction t become (n x + k t) / (n + k), where k is
    ``codebook.shrinkage``.

    A vector learned from few interactions mostly tells which users these interactions belong to. Codes from such a
    vector reveal the training labels of these users, and do not help to find held-out items. The text has the weight of
    k interactions, so new items (n = 0) and popular items get vectors on the same scale.

    Args:
        vectors: ``(M, D)``.
        counts: ``(M,)`` number of interactions of each item in the train cut.
        rows: ``(m,)`` rows of the items that have text.
        predicted: ``(m, D)`` cross-fitted predictions from the text of these items.
        shrinkage: k; 0 changes nothing.
    """
    if shrinkage == 0:
        return vectors
    mixed = vectors.copy()
    weight = (counts[rows] / (counts[rows] + shrinkage)).astype(np.float32)[:, None]  # (m, 1)
    for start in range(0, len(rows), BLOCK_ROWS):
        part = slice(start, start + BLOCK_ROWS)
        mixed[rows[part]] = weight[part] * mixed[rows[part]] + (1.0 - weight[part]) * predicted[part]
    return mixed


def _require_enough_codes(items: int, settings: CodebookSettings) -> None:
    sequences = settings.codes**settings.levels
    if settings.collisions == "resolve" and sequences < items:
        raise SettingsError(
            f"{settings.levels} levels of {settings.codes} codes make {sequences} code sequences, but there are {items} items;"
            " raise codebook.levels or codebook.codes, or set codebook.collisions = keep"
        )


def _fit_map(vectors: Floats, text: NDArray[np.floating], settings: CodebookSettings) -> tuple[TextMap | None, Floats]:
    """Fit the text map, if there are at least ``MIN_ITEMS`` items, and predict the same items by cross-fitting."""
    if len(text) < MIN_ITEMS:
        return None, np.zeros((0, vectors.shape[1]), dtype=np.float32)
    return fit_text_map(text, vectors, settings.seed)


def _fit_books(
    vectors: Floats,
    aligned: Floats | None,
    has_text: NDArray[np.bool_] | None,
    settings: CodebookSettings,
    rqvae_settings: RqvaeSettings,
) -> tuple[Autoencoder | None, Codebooks]:
    """Fit the codebooks with the method ``settings.method``; the method rqvae also fits an autoencoder."""
    if settings.method != "rqvae":
        return None, fit_codebooks(vectors, aligned, settings, has_text)
    from semconv.tokenization.rqvae import fit_rqvae  # imports torch, which nothing else here needs

    return fit_rqvae(vectors, aligned, has_text, settings, rqvae_settings)


def _why_off(text_map: TextMap | None, settings: CodebookSettings) -> str | None:
    """Return the reason why alignment with text is off, or None if it is on."""
    if settings.alignment == 0:
        return "codebook.alignment is 0"
    if text_map is None:
        return f"fewer than {MIN_ITEMS} items have both text and interactions"
    if not text_map.explains(settings.min_text_r2):
        return (
            f"text explains {text_map.held_out_r2:.3f} of the behaviour vectors' variance, less than"
            f" codebook.min_text_r2 = {settings.min_text_r2:g}"
        )
    return None
