"""Codebooks: residual k-means whose centroids are pulled towards the items' text (paper, eq. 1 to 4).

Levels are fitted one after the other, each on the residuals of the level before. The objective is the quantisation
error plus lambda times the distance from the text (``codebook.alignment`` is lambda). By default the residual alone
decides an item's code (eq. 2), so lambda only moves the centroids. The objective may then rise from one iteration to
the next. The result is the codebook of the iteration with the lowest objective. With lambda = 0 the fit is plain
residual k-means.

If there are more than ``codebook.sample`` items, the codebooks are fitted on a fixed sample. All items then get their
codes block by block, so that memory holds little more than the vectors and the codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.errors import InputError, SettingsError
from semconv.settings.codebook import CodebookSettings
from semconv.tokenization.kmeans import Codes, Floats, chunk_rows, sample_rows, squared_norms, start_rows
from semconv.tokenization.level import Geometry, Level, unit_rows

Reconstruct = Callable[[Codes], Floats]  # codes (n, N) -> vectors (n, D)
BLOCK_ROWS = 1 << 16  # largest number of rows computed at once, so that memory never holds a second copy of all vectors


@dataclass(frozen=True)
class Codebooks:
    """Fitted codebooks, and the codes of all M items. The fit uses a sample of S items, or all items (S = M)."""

    books: Floats  # (N, C, D); rows of unused codes are zero
    is_used: NDArray[np.bool_]  # (N, C) whether an item of the sample has the code; no other codes are ever assigned
    codes: Codes  # (M, N) nearest codes; several items may have the same codes
    objectives: tuple[tuple[float, ...], ...]  # per level and iteration: both terms, mean over the sample
    errors: tuple[float, ...]  # per level: squared residuals of all items after it, divided by the squared vectors


@dataclass(frozen=True)
class _Rows:
    """The vectors and the text targets of some items."""

    vectors: Floats  # (n, D)
    aligned: Floats | None = None  # (n, D)
    has_text: NDArray[np.bool_] | None = None  # (n,); None means all

    def pick(self, which: slice | NDArray[np.int64]) -> _Rows:
        block = np.ascontiguousarray(self.vectors[which], dtype=np.float32)
        aligned = None if self.aligned is None else self.aligned[which]
        has_text = np.ones(len(block), dtype=bool) if self.has_text is None else self.has_text[which]
        return _Rows(block, aligned, has_text)


@dataclass(frozen=True)
class _Fit:
    """The codebooks of all levels, fitted on some rows, and the codes of these rows."""

    books: Floats  # (N, C, D)
    is_used: NDArray[np.bool_]  # (N, C)
    codes: Codes  # (S, N)
    geometries: tuple[Geometry, ...]  # one for each level
    objectives: tuple[list[float], ...]  # per level and iteration: both terms, summed over the rows
    squared_residuals: NDArray[np.float64]  # (N,) sum after each level


def fit_codebooks(
    vectors: Floats,
    aligned: Floats | None,
    settings: CodebookSettings,
    has_text: NDArray[np.bool_] | None = None,
) -> Codebooks:
    """Fit N codebooks of C codes each, which minimise the sum of both losses (paper, eq. 4).

    If there are fewer different vectors than codes, some codes have no items. Codes without items have zero vectors,
    and neither old nor new items ever get them. If there are more items than ``settings.sample``, the codebooks,
    ``is_used`` and the objectives come from the sample. Codes and errors are computed for all items.

    Args:
        vectors: ``(M, D)`` centred and scaled.
        aligned: t, ``(M, D)``, text vectors mapped to the space of ``vectors``; None turns alignment off.
        has_text: ``(M,)`` rows of ``aligned`` that count; None means all.
    Raises:
        InputError: no rows, NaN or infinite values, shapes that differ.
        SettingsError: a sample with fewer items than codes.
    """
    vectors = checked_vectors(vectors, aligned, has_text)
    rows = _Rows(vectors, aligned, has_text)
    sample = fit_sample(len(vectors), settings)
    fit = _fit(rows if sample is None else rows.pick(sample), settings)
    codes, squared_residuals = fit.codes, fit.squared_residuals
    if sample is not None:
        squared_residuals = np.zeros(settings.levels)
        codes = _quantize(rows, fit.books, fit.is_used, fit.geometries, squared_residuals)
    total, fitted = float(squared_norms(vectors).sum(dtype=np.float64)), len(fit.codes)
    return Codebooks(
        fit.books,
        fit.is_used,
        codes,
        tuple(tuple(objective / fitted for objective in level) for level in fit.objectives),
        tuple(float(rest) / total if total > 0 else 0.0 for rest in squared_residuals),
    )


def fit_sample(num_items: int, settings: CodebookSettings) -> NDArray[np.int64] | None:
    """Return the ascending row numbers ``(S,)`` on which the codebooks are fitted; None means all rows.

    Raises:
        SettingsError: a sample with fewer items than codes.
    """
    sample = sample_rows(num_items, settings.sample, settings.seed)
    if sample is not None and len(sample) < settings.codes:
        raise SettingsError(
            f"codebook.sample = {settings.sample} items are too few for codebook.codes = {settings.codes}; raise codebook.sample, or set it to 0 to use all items"
        )
    return sample


def _fit(rows: _Rows, settings: CodebookSettings) -> _Fit:
    residual = rows.vectors
    rng = np.random.default_rng(settings.seed)
    books, codes, geometries, objectives, squared_residuals = [], [], [], [], []
    for _ in range(settings.levels):
        level = Level(residual, rows.aligned, rows.has_text, settings)
        book, code, objective = _fit_level(level, settings, rng)
        residual = next_residual(residual, book[code], settings)
        books.append(book)
        codes.append(code)
        geometries.append(level.geometry)
        objectives.append(objective)
        squared_residuals.append(squared_norms(residual).sum(dtype=np.float64))
    is_used = np.stack([np.bincount(code, minlength=settings.codes) > 0 for code in codes])
    together = np.stack(codes, axis=1).astype(np.uint16)
    return _Fit(np.stack(books), is_used, together, tuple(geometries), tuple(objectives), np.array(squared_residuals))


def checked_vectors(vectors: Floats, aligned: Floats | None, has_text: NDArray[np.bool_] | None) -> Floats:
    """Check vectors and text targets, and return the vectors in float32.

    Raises:
        InputError: no rows, NaN or infinite values, shapes that differ.
    """
    if vectors.ndim != 2 or len(vectors) == 0:
        raise InputError(
            f"a codebook fit needs behaviour vectors (items, width), got an array of shape {vectors.shape}"
        )
    _refuse_not_finite(vectors, "behaviour")
    if aligned is not None:
        if aligned.shape != vectors.shape:
            raise InputError(f"text targets have the shape {aligned.shape}, but behaviour vectors have {vectors.shape}")
        _refuse_not_finite(aligned, "mapped text", has_text)
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _refuse_not_finite(rows: Floats, kind: str, counts: NDArray[np.bool_] | None = None) -> None:
    """Raise InputError if a row has NaN or infinite values. The mask ``counts`` marks the rows to check."""
    is_bad = np.empty(len(rows), dtype=bool)
    for start in range(0, len(rows), BLOCK_ROWS):
        is_bad[start : start + BLOCK_ROWS] = ~np.isfinite(rows[start : start + BLOCK_ROWS]).all(axis=1)
    bad = np.flatnonzero(is_bad if counts is None else is_bad & counts)
    if len(bad):
        total = len(rows) if counts is None else int(counts.sum())
        raise InputError(f"{len(bad)} of {total} {kind} vectors have NaN or infinite values, the first in row {bad[0]}")


def _fit_level(
    level: Level, settings: CodebookSettings, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.int64], list[float]]:
    """Fit one level; return its codebook ``(C, D)``, the nearest codes ``(M,)`` and the objective of each iteration."""
    seeds = start_rows(level.unit, settings.codes, rng, settings.start_candidates)
    book = np.zeros((settings.codes, level.residual.shape[1]), dtype=np.float32)
    book[: len(seeds)] = level.residual[seeds]
    is_active = np.arange(settings.codes) < len(seeds)
    objectives: list[float] = []
    best, best_book, best_codes = np.inf, book, np.zeros(0, dtype=np.int64)
    for step in range(settings.iterations + 1):
        codes = level.assign(book, is_active)
        sums = level.sums(codes, settings.codes)
        objectives.append(sum(level.objective(sums, book)))
        if objectives[-1] < best:
            best, best_book, best_codes = objectives[-1], book, codes
        elif level.weight == 0 and step > 0:
            break  # converged: the objective of plain k-means never falls again once it stops falling
        if step < settings.iterations:
            book = level.centroids(sums, book)
            book, is_active = _reseed(level, book, codes, sums.counts)
    is_used = np.bincount(best_codes, minlength=settings.codes) > 0
    return np.where(is_used[:, None], best_book, np.float32(0)), best_codes, objectives


def _reseed(
    level: Level, book: Floats, codes: NDArray[np.int64], counts: NDArray[np.float64]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Move the centroids of codes without rows to the rows with the largest remaining errors above zero."""
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
    """Return the next residual: the residual minus the chosen code vectors, signed or absolute (paper, eq. 1)."""
    rest = residual - chosen
    return np.abs(rest) if settings.residual == "absolute" else rest


def code_costs(residual: Floats, book: Floats, settings: CodebookSettings) -> Floats:
    """Return the distance of each code from each residual, ``(n, C)``, up to a constant for each row."""
    if settings.distance == "cosine":
        return -(unit_rows(residual) @ unit_rows(book).T)
    return squared_norms(book) - 2 * (residual @ book.T)


def encode(vectors: Floats, books: Floats, is_used: NDArray[np.bool_], settings: CodebookSettings) -> Codes:
    """Return the codes ``(n, N)`` of vectors ``(n, D)``: at each level the nearest used code (paper, eq. 2).

    The rows are coded in blocks, so that memory never holds a second copy of all vectors.

    Raises:
        InputError: the width of the vectors differs from that of the codebooks.
    """
    if vectors.ndim != 2 or vectors.shape[1] != books.shape[2]:
        raise InputError(f"vectors of shape {vectors.shape} cannot be coded by codebooks of width {books.shape[2]}")
    return _quantize(_Rows(vectors), books, is_used, (Geometry(settings),) * len(books))


def _quantize(
    rows: _Rows,
    books: Floats,
    is_used: NDArray[np.bool_],
    geometries: tuple[Geometry, ...],
    squared_residuals: NDArray[np.float64] | None = None,
) -> Codes:
    """Return the codes ``(n, N)`` of the rows. All levels of a block are computed while the block is in the CPU cache.

    Args:
        squared_residuals: ``(N,)``; the function adds the sum of the squared residuals after each level to it.
    """
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
            if squared_residuals is not None or n + 1 < len(books):
                residual = next_residual(residual, book[code], geometry.settings)
            if squared_residuals is not None:
                squared_residuals[n] += squared_norms(residual).sum(dtype=np.float64)
    return codes


def decode(codes: Codes, books: Floats) -> Floats:
    """Return the sum of each row's code vectors, ``(n, D)``. With signed residuals the sum approximates the vector."""
    total = np.zeros((len(codes), books.shape[2]), dtype=np.float32)
    for n, book in enumerate(books):
        total += book[codes[:, n]]
    return total


def squared_errors(vectors: Floats, codes: Codes, reconstruct: Reconstruct) -> Floats:
    """Return the squared distance of each vector from the vector that ``reconstruct`` makes of its codes, ``(M,)``."""
    errors = np.empty(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), BLOCK_ROWS):
        part = slice(start, start + BLOCK_ROWS)
        errors[part] = squared_norms(vectors[part] - reconstruct(codes[part]))
    return errors
