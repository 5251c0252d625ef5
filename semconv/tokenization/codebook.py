"""Cascaded codebooks: residual k-means whose centroids are pulled towards the text (paper, eq. 1 to 3).

Levels are fitted one after the other. Assignment looks at behaviour alone by default (eq. 2), so
lambda moves the centroids only; the sum of both terms may then rise between iterations, and the
iterate with the lowest objective is kept. With lambda = 0 this is plain residual k-means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.config import CodebookSettings
from semconv.errors import InputError
from semconv.tokenization.kmeans import Floats, nearest, squared_norms, start_rows
from semconv.tokenization.level import Level, unit_rows

_BLOCK_ROWS = 1 << 16  # rows encoded at once, 8 MB at width 32


@dataclass(frozen=True)
class Codebooks:
    """Fitted books and the codes of the items they were fitted on."""

    books: NDArray[np.float32]  # (N, C, D), zero rows where a code is not in use
    is_used: NDArray[np.bool_]  # (N, C) codes that an item of the fit has
    codes: NDArray[np.uint16]  # (M, N) nearest codes, collisions and all
    behavior_terms: tuple[tuple[float, ...], ...]  # per level, per iteration, mean over the items
    objectives: tuple[tuple[float, ...], ...]  # the same with the alignment term
    errors: tuple[float, ...]  # per level: mean squared residual after it over that of the vectors


def fit_codebooks(
    vectors: NDArray[np.float32],
    aligned: NDArray[np.float32] | None,
    settings: CodebookSettings,
    has_text: NDArray[np.bool_] | None = None,
) -> Codebooks:
    """Fit N books of C codes.

    Fewer distinct vectors than codes leave codes without items: their rows are zero and no item,
    new ones included, is ever assigned to them.

    Args:
        vectors: ``(M, D)`` centred and scaled.
        aligned: t, ``(M, D)``, the text vectors mapped to this space; None turns alignment off.
        has_text: ``(M,)`` rows of ``aligned`` that count; None means all.
    Raises:
        InputError: no rows, NaN or infinite values, shapes that differ.
    """
    residual = _checked(vectors, aligned, has_text)
    rng = np.random.default_rng(settings.seed)
    total = float(squared_norms(residual).sum(dtype=np.float64))
    books, codes, errors = [], [], []
    behavior_terms: list[tuple[float, ...]] = []
    objectives: list[tuple[float, ...]] = []
    for _ in range(settings.levels):
        level = Level(residual, aligned, has_text, settings)
        book, code, trace = _fit_level(level, settings, rng)
        residual = next_residual(residual, book[code], settings)
        books.append(book)
        codes.append(code)
        errors.append(float(squared_norms(residual).sum(dtype=np.float64)) / total if total > 0 else 0.0)
        behavior_terms.append(tuple(behavior / len(code) for behavior, _ in trace))
        objectives.append(tuple((behavior + alignment) / len(code) for behavior, alignment in trace))
    is_used = np.stack([np.bincount(code, minlength=settings.codes) > 0 for code in codes])
    return Codebooks(
        np.stack(books),
        is_used,
        np.stack(codes, axis=1).astype(np.uint16),
        tuple(behavior_terms),
        tuple(objectives),
        tuple(errors),
    )


def _checked(
    vectors: NDArray[np.float32], aligned: NDArray[np.float32] | None, has_text: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    if vectors.ndim != 2 or len(vectors) == 0:
        raise InputError(f"codebooks need behaviour vectors (items, width), got an array of shape {vectors.shape}")
    _refuse_not_finite(vectors, "behaviour")
    if aligned is not None:
        if aligned.shape != vectors.shape:
            raise InputError(f"text targets have the shape {aligned.shape}, behaviour vectors {vectors.shape}")
        _refuse_not_finite(aligned if has_text is None else aligned[has_text], "mapped text")
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _refuse_not_finite(rows: NDArray[np.float32], kind: str) -> None:
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise InputError(
            f"{len(bad)} of {len(rows)} {kind} vectors have NaN or infinite values, the first in row {bad[0]}"
        )


def _fit_level(
    level: Level, settings: CodebookSettings, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.int64], list[tuple[float, float]]]:
    """The book ``(C, D)``, the codes ``(M,)`` nearest in it, and both terms of every iterate."""
    seeds = start_rows(level.unit, settings.codes, rng)
    book = np.zeros((settings.codes, level.residual.shape[1]), dtype=np.float32)
    book[: len(seeds)] = level.residual[seeds]
    is_active = np.arange(settings.codes) < len(seeds)
    trace: list[tuple[float, float]] = []
    best, best_book, best_codes = np.inf, book, np.zeros(0, dtype=np.int64)
    for step in range(settings.iterations + 1):
        codes = level.assign(book, is_active)
        sums = level.sums(codes, settings.codes)
        trace.append(level.objective(sums, book))
        if sum(trace[-1]) < best:
            best, best_book, best_codes = sum(trace[-1]), book, codes
        elif level.weight == 0 and step > 0:
            break  # converged: plain k-means never falls again once it stands still
        if step < settings.iterations:
            book = level.centroids(sums, book)
            book, is_active = _reseed(level, book, codes, sums.counts)
    is_used = np.bincount(best_codes, minlength=settings.codes) > 0
    return np.where(is_used[:, None], best_book, np.float32(0)), best_codes, trace


def _reseed(
    level: Level, book: Floats, codes: NDArray[np.int64], counts: NDArray[np.float64]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Put codes without rows on the rows with the largest residual; no row without one is taken."""
    empty = np.flatnonzero(counts == 0)
    is_active = counts > 0
    if len(empty) == 0:
        return book, is_active
    left_over = squared_norms(level.residual - book[codes])  # (M,)
    floor = 1e-12 * level.mean_square
    far = np.argsort(-left_over, kind="stable")[: len(empty)]
    far = far[left_over[far] > floor]
    book = book.copy()
    book[empty[: len(far)]] = level.residual[far]
    is_active[empty[: len(far)]] = True
    return book, is_active


def next_residual(residual: Floats, chosen: Floats, settings: CodebookSettings) -> Floats:
    """What is left after the chosen code vectors; its absolute value for the paper's literal eq. 1."""
    rest = residual - chosen
    return np.abs(rest) if settings.residual == "absolute" else rest


def code_costs(residual: Floats, book: Floats, settings: CodebookSettings) -> Floats:
    """How far each code is from each residual, ``(n, C)``, up to a constant a row."""
    if settings.distance == "cosine":
        return -(unit_rows(residual) @ unit_rows(book).T)
    return squared_norms(book) - 2 * (residual @ book.T)


def encode(
    vectors: Floats, books: Floats, is_used: NDArray[np.bool_], settings: CodebookSettings
) -> NDArray[np.uint16]:
    """Codes ``(n, N)`` of vectors ``(n, D)``, each level's nearest code in use (paper, eq. 2).

    Block by block, so that no second set of the vectors is held.
    """
    codes = np.empty((len(vectors), len(books)), dtype=np.uint16)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = np.ascontiguousarray(vectors[start : start + _BLOCK_ROWS], dtype=np.float32)
        codes[start : start + _BLOCK_ROWS] = _encode_block(block, books, is_used, settings)
    return codes


def _encode_block(
    residual: Floats, books: Floats, is_used: NDArray[np.bool_], settings: CodebookSettings
) -> NDArray[np.uint16]:
    codes = np.empty((len(residual), len(books)), dtype=np.uint16)
    for n, book in enumerate(books):
        is_sphere = settings.distance == "cosine"
        features = unit_rows(book) if is_sphere else book
        offsets = np.zeros(len(book), dtype=np.float32) if is_sphere else squared_norms(book)
        code = nearest(residual, features, np.where(is_used[n], offsets, np.float32(np.inf)))
        residual = next_residual(residual, book[code], settings)
        codes[:, n] = code
    return codes


def decode(codes: NDArray[np.uint16], books: Floats) -> Floats:
    """Sum of the code vectors, ``(n, D)``: the vector, up to the last residual, if residuals are signed."""
    total = np.zeros((len(codes), books.shape[2]), dtype=np.float32)
    for n, book in enumerate(books):
        total += book[codes[:, n]]
    return total
