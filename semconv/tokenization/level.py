"""The k-means problem of one level: residuals, text targets on the same scale, and the two steps of an iteration.

Squared L2 and cosine distances are both computed from sums over the rows of each code. An iteration then needs one
matrix product for the assignment and one pass over the rows for the sums; centroids and objective follow from the sums.

With ``distance = cosine`` a code is a direction. The length of a code vector is the mean projection of its residuals on
the direction, so that subtracting the vector shortens the residuals. An L2 alignment distance is then measured between
unit vectors, where squared L2 is twice the cosine distance. With ``distance = l2`` and a cosine alignment, lambda (the
alignment weight) is multiplied by the level's mean squared residual, so that it has the same effect at every level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.settings.codebook import CodebookSettings
from semconv.tokenization.kmeans import Floats, nearest, squared_norms, sums_by_code

_LENGTH_ROUNDS = 4
_TINY = 1e-12


@dataclass(frozen=True)
class Sums:
    """Sums over the rows of each code, for one assignment of rows to codes."""

    counts: NDArray[np.float64]  # (C,)
    text_counts: NDArray[np.float64]  # (C,) number of rows that have a text target
    residual: NDArray[np.float64]  # (C, D) sum of r
    unit: NDArray[np.float64]  # (C, D) sum of r / |r|, only for distance = cosine
    text: NDArray[np.float64]  # (C, D) sum of t, or of t / |t| if the alignment is a cosine


@dataclass(frozen=True)
class Geometry:
    """The distance measure of one level, with scales that are computed from the rows of the fit and used for all."""

    settings: CodebookSettings
    weight: float = 0.0  # weight of the alignment term; the behaviour term has the weight 1
    text_scale: float = 1.0  # factor that gives t the length of the level's residuals

    @property
    def is_sphere(self) -> bool:
        """Whether distances depend only on the direction of residuals, not on their length."""
        return self.settings.distance == "cosine"

    @property
    def is_cosine_text(self) -> bool:
        """Whether distances depend only on the direction of text targets, not on their length."""
        return self.is_sphere or self.settings.alignment_distance == "cosine"

    def target(self, text: Floats, has_text: NDArray[np.bool_]) -> Floats:
        """Return the text targets ``(n, D)`` on the level's scale, or as directions. Rows without text are zero."""
        masked = np.where(has_text[:, None], text, np.float32(0))
        return unit_rows(masked) if self.is_cosine_text else masked * np.float32(self.text_scale)

    def points(self, residual: Floats, text: Floats | None, has_text: NDArray[np.bool_] | None) -> Floats:
        """Return the points for which the nearest codes are searched.

        Args:
            residual: ``(n, D)``.
            text: t, ``(n, D)``; used only if residual and text together decide an item's code.
            has_text: ``(n,)``; used with ``text``.
        Returns:
            ``(n, D)``, or ``(n, 2 D)`` for an L2 and a cosine distance together.
        """
        unit = unit_rows(residual) if self.is_sphere else residual
        if self.weight == 0 or self.settings.assign_with == "behavior" or text is None or has_text is None:
            return unit
        target = self.target(text, has_text)
        if self.is_sphere:
            return unit + np.float32(self.weight) * target
        if self.is_cosine_text:
            return np.hstack([residual, np.float32(self.weight / 2) * target])
        share: Floats = (np.float32(self.weight) * has_text.astype(np.float32))[:, None]
        points: Floats = (residual + share * target) / (np.float32(1) + share)
        return points

    def nearest(
        self, points: Floats, book: Floats, is_active: NDArray[np.bool_], scores: Floats | None = None
    ) -> NDArray[np.int64]:
        """Return for each of the ``points`` the nearest active code of ``book`` ``(C, D)``, ``(n,)`` (paper, eq. 2)."""
        features = unit_rows(book) if self.is_sphere else book
        offsets = np.zeros(len(book), dtype=np.float32) if self.is_sphere else squared_norms(book)
        if points.shape[1] > book.shape[1]:
            features = np.hstack([book, unit_rows(book)])
        return nearest(points, features, np.where(is_active, offsets, np.float32(np.inf)), scores)


class Level:
    """Residuals ``(M, D)`` and text targets of one level, with the steps of k-means on these residuals."""

    def __init__(
        self, residual: Floats, text: Floats | None, has_text: NDArray[np.bool_] | None, settings: CodebookSettings
    ) -> None:
        """Prepare a level.

        Args:
            residual: ``(M, D)``.
            text: t, ``(M, D)`` in any scale; None turns alignment off.
            has_text: ``(M,)`` rows of ``text`` that count; None means all.
        """
        self.settings = settings
        self.residual = residual
        self.mean_square = float(squared_norms(residual).mean(dtype=np.float64))
        self.has_text = np.ones(len(residual), dtype=bool) if has_text is None else has_text
        text = text if settings.alignment > 0 else None
        self.geometry = Geometry(settings) if text is None else self._aligned(text)
        self.weight, self.is_sphere = self.geometry.weight, self.geometry.is_sphere
        self.is_cosine_text = self.geometry.is_cosine_text
        self.unit = unit_rows(residual) if self.is_sphere else residual
        self.text = residual[:0] if text is None else self.geometry.target(text, self.has_text)
        self._points = self.geometry.points(residual, text, self.has_text)  # (M, D or 2 D)

    def _aligned(self, text: Floats) -> Geometry:
        weight, plain = self.settings.alignment, Geometry(self.settings)
        if plain.is_sphere and self.settings.alignment_distance == "l2":
            weight *= 2
        elif not plain.is_sphere and plain.is_cosine_text:
            weight *= self.mean_square
        if plain.is_cosine_text:
            return Geometry(self.settings, weight)
        square = float(squared_norms(np.where(self.has_text[:, None], text, np.float32(0))).sum(dtype=np.float64))
        mean_square = square / max(1, int(self.has_text.sum()))
        scale = float(np.float32(np.sqrt(self.mean_square / mean_square))) if mean_square > 0 else 1.0
        return Geometry(self.settings, weight, scale)

    def assign(self, book: Floats, is_active: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the nearest active code of ``book`` ``(C, D)`` for each row, ``(M,)``."""
        return self.geometry.nearest(self._points, book, is_active)

    def sums(self, codes: NDArray[np.int64], num_codes: int) -> Sums:
        """Return the sums over the rows of each code; ``codes`` ``(M,)`` are the codes of the rows."""
        residual = sums_by_code(self.residual, codes, num_codes)
        counts = np.bincount(codes, minlength=num_codes).astype(np.float64)
        if self.weight > 0:
            text = sums_by_code(self.text, codes, num_codes)
            text_counts = np.bincount(codes[self.has_text], minlength=num_codes).astype(np.float64)
        else:
            text, text_counts = np.zeros_like(residual), np.zeros_like(counts)
        unit = sums_by_code(self.unit, codes, num_codes) if self.is_sphere else residual
        return Sums(counts, text_counts, residual, unit, text)

    def centroids(self, sums: Sums, book: Floats) -> Floats:
        """Return the codebook ``(C, D)`` with the lowest sum of both losses for the assignment in ``sums`` (paper, eq. 4).

        The sum weighs the alignment loss by lambda. Codes without rows keep their vector.
        """
        if self.is_sphere:
            best = self._sphere_centroids(sums, book)
        elif self.weight > 0 and self.is_cosine_text:
            best = self._mixed_centroids(sums, book)
        else:  # (mean r + lambda mean t) / (1 + lambda); lambda counts only for rows with text
            weights = sums.counts + self.weight * sums.text_counts
            best = (sums.residual + self.weight * sums.text) / np.maximum(weights, 1)[:, None]
        return np.where(sums.counts[:, None] > 0, best, book).astype(np.float32)

    def _sphere_centroids(self, sums: Sums, book: Floats) -> NDArray[np.float64]:
        pull = sums.unit + self.weight * sums.text
        direction = np.where(np.linalg.norm(pull, axis=1, keepdims=True) > _TINY, pull, book)
        direction = direction / np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), _TINY)
        length = np.einsum("cd,cd->c", sums.residual, direction) / np.maximum(sums.counts, 1)
        centroids: NDArray[np.float64] = (
            direction * np.maximum(length, 1e-6)[:, None]
        )  # a length of zero would lose the direction
        return centroids

    def _mixed_centroids(self, sums: Sums, book: Floats) -> NDArray[np.float64]:
        """Fit directions and lengths of centroids in turn, for L2 distance to residuals and cosine distance to text."""
        counts = np.maximum(sums.counts, 1)
        length = np.linalg.norm(book, axis=1).astype(np.float64)  # (C,)
        for _ in range(_LENGTH_ROUNDS):
            pull = 2 * length[:, None] * sums.residual + self.weight * sums.text
            direction = pull / np.maximum(np.linalg.norm(pull, axis=1, keepdims=True), _TINY)
            length = np.maximum(np.einsum("cd,cd->c", sums.residual, direction) / counts, 1e-6)
        centroids: NDArray[np.float64] = direction * length[:, None]
        return centroids

    def objective(self, sums: Sums, book: Floats) -> tuple[float, float]:
        """Return both losses of codebook ``book`` at this level (paper, eq. 3): behaviour, and alignment times lambda."""
        wide = book.astype(np.float64)
        norms = np.einsum("cd,cd->c", wide, wide)  # (C,)
        unit = wide / np.maximum(np.sqrt(norms), _TINY)[:, None]
        rows = len(self.residual)
        if self.is_sphere:
            behavior = rows - float((sums.unit * unit).sum())
        else:
            behavior = (
                rows * self.mean_square - 2 * float((sums.residual * wide).sum()) + float((sums.counts * norms).sum())
            )
        if self.weight == 0:
            return behavior, 0.0
        if self.is_cosine_text:
            alignment = float(self.has_text.sum()) - float((sums.text * unit).sum())
        else:
            text_square = float(squared_norms(self.text).sum(dtype=np.float64))
            alignment = text_square - 2 * float((sums.text * wide).sum()) + float((sums.text_counts * norms).sum())
        return behavior, self.weight * alignment


def unit_rows(rows: Floats) -> Floats:
    """Scale each row to length 1. Zero rows stay zero."""
    lengths = np.sqrt(squared_norms(rows))[:, None]
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
