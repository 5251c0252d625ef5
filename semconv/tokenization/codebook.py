"""Cascaded codebooks: residual k-means whose centroids are pulled towards the text (paper, eq. 1 to 3).

Levels are fitted one after the other. Assignment looks at behaviour alone by default (eq. 2), so
lambda moves the centroids only; the sum of both terms may then rise between iterations, and the
iterate with the lowest objective is kept. With lambda = 0 this is plain residual k-means.

A catalogue with more items than ``codebook.sample`` has its books fitted on a fixed sample; every item gets codes from
them, block by block, so that beside the vectors little more than the codes is held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.errors import InputError, SettingsError
from semconv.settings.codebook import CodebookSettings
from semconv.tokenization.kmeans import Floats, chunk_rows, sample_rows, squared_norms, start_rows
from semconv.tokenization.level import Geometry, Level, unit_rows

Reconstruct = Callable[[NDArray[np.uint16]], Floats]  # codes (n, N) -> the vectors (n, D) that they stand for
BLOCK_ROWS = 1 << 16  # largest number of rows looked at together where no second set of the vectors may be held


@dataclass(frozen=True)
class Codebooks:
    """Fitted books and the codes of all M items, of which the S items of the sample were fitted on (S = M without)."""

    books: NDArray[np.float32]  # (N, C, D), zero rows where a code is not in use
    is_used: NDArray[np.bool_]  # (N, C) codes that an item of the sample has; no other item has any other
    codes: NDArray[np.uint16]  # (M, N) nearest codes, collisions and all
    behavior_terms: tuple[tuple[float, ...], ...]  # per level, per iteration, mean over the sample
    objectives: tuple[tuple[float, ...], ...]  # the same with the alignment term
    errors: tuple[float, ...]  # per level: mean squared residual after it over that of the vectors, of all items


@dataclass(frozen=True)
class _Rows:
    """What is known of some items."""

    vectors: Floats  # (n, D)
    aligned: Floats | None = None  # (n, D)
    has_text: NDArray[np.bool_] | None = None  # (n,) None means all

    def pick(self, which: slice | NDArray[np.int64]) -> _Rows:
        block = np.ascontiguousarray(self.vectors[which], dtype=np.float32)
        aligned = None if self.aligned is None else self.aligned[which]
        has_text = np.ones(len(block), dtype=bool) if self.has_text is None else self.has_text[which]
        return _Rows(block, aligned, has_text)


@dataclass(frozen=True)
class _Fit:
    """What the levels leave of the rows that they were fitted on."""

    books: NDArray[np.float32]  # (N, C, D)
    is_used: NDArray[np.bool_]  # (N, C)
    codes: NDArray[np.uint16]  # (S, N)
    geometries: tuple[Geometry, ...]  # of each level
    traces: tuple[list[tuple[float, float]], ...]  # per level, per iteration: both terms, sums over the rows
    left: NDArray[np.float64]  # (N,) sum of the squared residuals after each level


def fit_codebooks(
    vectors: NDArray[np.float32],
    aligned: NDArray[np.float32] | None,
    settings: CodebookSettings,
    has_text: NDArray[np.bool_] | None = None,
) -> Codebooks:
    """Fit N books of C codes.

    Fewer distinct vectors than codes leave codes without items: their rows are zero and no item,
    new ones included, is ever assigned to them. More items than ``settings.sample``: the books, ``is_used`` and the
    traces are those of a fit on the sample alone, codes and errors those of all items.

    Args:
        vectors: ``(M, D)`` centred and scaled.
        aligned: t, ``(M, D)``, the text vectors mapped to this space; None turns alignment off.
        has_text: ``(M,)`` rows of ``aligned`` that count; None means all.
    Raises:
        InputError: no rows, NaN or infinite values, shapes that differ.
        SettingsError: a sample with fewer items than codes.
    """
    vectors = checked_vectors(vectors, aligned, has_text)
    rows = _Rows(vectors, aligned, has_text)
    sample = fit_sample(len(vectors), settings)
    fit = _fit(rows if sample is None else rows.pick(sample), settings)
    codes, left = fit.codes, fit.left
    if sample is not None:
        left = np.zeros(settings.levels)
        codes = _quantize(rows, fit.books, fit.is_used, fit.geometries, left)
    total, fitted = float(squared_norms(vectors).sum(dtype=np.float64)), len(fit.codes)
    return Codebooks(
        fit.books,
        fit.is_used,
        codes,
        tuple(tuple(behavior / fitted for behavior, _ in trace) for trace in fit.traces),
        tuple(tuple((behavior + alignment) / fitted for behavior, alignment in trace) for trace in fit.traces),
        tuple(float(rest) / total if total > 0 else 0.0 for rest in left),
    )


def fit_sample(num_items: int, settings: CodebookSettings) -> NDArray[np.int64] | None:
    """Ascending rows ``(S,)`` that the books are fitted on; None for all of them.

    Raises:
        SettingsError: a sample with fewer items than codes.
    """
    sample = sample_rows(num_items, settings.sample, settings.seed)
    if sample is not None and len(sample) < settings.codes:
        raise SettingsError(
            f"codebook.sample = {settings.sample} items cannot fill codebook.codes = {settings.codes}; raise it, or set 0 for all items"
        )
    return sample


def _fit(rows: _Rows, settings: CodebookSettings) -> _Fit:
    residual = rows.vectors
    rng = np.random.default_rng(settings.seed)
    books, codes, geometries, traces, left = [], [], [], [], []
    for _ in range(settings.levels):
        level = Level(residual, rows.aligned, rows.has_text, settings)
        book, code, trace = _fit_level(level, settings, rng)
        residual = next_residual(residual, book[code], settings)
        books.append(book)
        codes.append(code)
        geometries.append(level.geometry)
        traces.append(trace)
        left.append(squared_norms(residual).sum(dtype=np.float64))
    is_used = np.stack([np.bincount(code, minlength=settings.codes) > 0 for code in codes])
    together = np.stack(codes, axis=1).astype(np.uint16)
    return _Fit(np.stack(books), is_used, together, tuple(geometries), tuple(traces), np.array(left))


def checked_vectors(
    vectors: NDArray[np.float32], aligned: NDArray[np.float32] | None, has_text: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    """The vectors in float32, after a look at both.

    Raises:
        InputError: no rows, NaN or infinite values, shapes that differ.
    """
    if vectors.ndim != 2 or len(vectors) == 0:
        raise InputError(f"codebooks need behaviour vectors (items, width), got an array of shape {vectors.shape}")
    _refuse_not_finite(vectors, "behaviour")
    if aligned is not None:
        if aligned.shape != vectors.shape:
            raise InputError(f"text targets have the shape {aligned.shape}, behaviour vectors {vectors.shape}")
        _refuse_not_finite(aligned, "mapped text", has_text)
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _refuse_not_finite(rows: NDArray[np.float32], kind: str, counts: NDArray[np.bool_] | None = None) -> None:
    """InputError for a row that ``counts`` ``(n,)`` and is not finite; None counts all."""
    is_bad = np.empty(len(rows), dtype=bool)
    for start in range(0, len(rows), BLOCK_ROWS):
        is_bad[start : start + BLOCK_ROWS] = ~np.isfinite(rows[start : start + BLOCK_ROWS]).all(axis=1)
    bad = np.flatnonzero(is_bad if counts is None else is_bad & counts)
    if len(bad):
        total = len(rows) if counts is None else int(counts.sum())
        raise InputError(f"{len(bad)} of {total} {kind} vectors have NaN or infinite values, the first in row {bad[0]}")


def _fit_level(
    level: Level, settings: CodebookSettings, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.int64], list[tuple[float, float]]]:
    """The book ``(C, D)``, the codes ``(M,)`` nearest in it, and both terms of every iterate, sums over the rows."""
    seeds = start_rows(level.unit, settings.codes, rng, settings.start_candidates)
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

    Raises:
        InputError: vectors of another width than the books'.
    """
    if vectors.ndim != 2 or vectors.shape[1] != books.shape[2]:
        raise InputError(f"vectors of shape {vectors.shape} cannot be coded by books of width {books.shape[2]}")
    return _quantize(_Rows(vectors), books, is_used, (Geometry(settings),) * len(books))


def _quantize(
    rows: _Rows,
    books: Floats,
    is_used: NDArray[np.bool_],
    geometries: tuple[Geometry, ...],
    left: NDArray[np.float64] | None = None,
) -> NDArray[np.uint16]:
    """Codes ``(n, N)``; all levels of a block while it is in cache. ``left`` ``(N,)`` grows by the squared residuals."""
    count, size = len(rows.vectors), min(BLOCK_ROWS, chunk_rows(books.shape[1]))
    codes = np.empty((count, len(books)), dtype=np.uint16)
    scores = np.empty((min(size, count), books.shape[1]), dtype=np.float32)
    for start in range(0, count, size):
        block = rows.pick(slice(start, start + size))
        residual = block.vectors
        for n, (book, geometry) in enumerate(zip(books, geometries, strict=True)):
            points = geometry.points(residual, block.aligned, block.has_text)
            code = geometry.nearest(points, book, is_used[n], scores)
            codes[start : start + size, n] = code
            if left is not None or n + 1 < len(books):
                residual = next_residual(residual, book[code], geometry.settings)
            if left is not None:
                left[n] += squared_norms(residual).sum(dtype=np.float64)
    return codes


def decode(codes: NDArray[np.uint16], books: Floats) -> Floats:
    """Sum of the code vectors, ``(n, D)``: the vector, up to the last residual, if residuals are signed."""
    total = np.zeros((len(codes), books.shape[2]), dtype=np.float32)
    for n, book in enumerate(books):
        total += book[codes[:, n]]
    return total


def squared_errors(vectors: Floats, codes: NDArray[np.uint16], reconstruct: Reconstruct) -> Floats:
    """Squared distance ``(M,)`` of each vector to what its codes stand for; block by block."""
    errors = np.empty(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), BLOCK_ROWS):
        part = slice(start, start + BLOCK_ROWS)
        errors[part] = squared_norms(vectors[part] - reconstruct(codes[part]))
    return errors
