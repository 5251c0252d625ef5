"""Map text vectors to the behaviour space: a ridge regression, fitted once and then frozen.

Alignment needs text and behaviour vectors in one space (paper, eq. 3). The paper does not say how to map text to the
behaviour space. With thousands of text dimensions, a regression predicts the items that it was fitted on perfectly.
Alignment with perfect predictions would change nothing. So the predictions are cross-fitted: items are split into
folds, and each item is predicted by a regression on the other folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from semconv.artifacts import read_arrays, write_arrays
from semconv.errors import InputError
from semconv.tokenization.kmeans import Floats

MIN_ITEMS = 10  # fewer items with text and behaviour vectors tell nothing about new items
_FOLDS = 5
_PENALTIES = np.logspace(-6, 4, 41)  # multiples of the mean squared singular value of the centred text
_CHUNK = 8192

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class TextMap:
    """A frozen linear map ``(text - text_mean) @ weights * stretch + vector_mean``."""

    text_mean: Floats  # (D_llm,)
    weights: Floats  # (D_llm, D)
    vector_mean: Floats  # (D,)
    stretch: Floats  # (D,) gives predictions the standard deviation of behaviour vectors
    penalty: float
    held_out_r2: float  # share of the behaviour vectors' variance that the cross-fitted predictions explain

    def explains(self, share: float) -> bool:
        """Return whether text explains at least this share of the held-out variance; every text explains 0."""
        return self.held_out_r2 >= share or share == 0

    def predict(self, text: NDArray[np.floating]) -> Floats:
        """Predict behaviour vectors ``(n, D)`` of new items from text vectors ``(n, D_llm)``.

        A regression's predictions lie too close to the mean, so each dimension is stretched to the standard deviation
        of the behaviour vectors.

        Raises:
            InputError: the text vectors have a different width.
        """
        if text.ndim != 2 or text.shape[1] != len(self.text_mean):
            raise InputError(
                f"the text map expects vectors of width {len(self.text_mean)}, got the shape {text.shape}; use text vectors of the same backbone"
            )
        shifted = np.asarray(text, dtype=np.float32) - self.text_mean
        return (shifted @ self.weights).astype(np.float32, copy=False) * self.stretch + self.vector_mean

    def save(self, path: Path) -> None:
        """Write the map as safetensors."""
        scalars = np.array([self.penalty, self.held_out_r2])
        write_arrays(
            path,
            {
                "text_mean": self.text_mean,
                "weights": self.weights,
                "vector_mean": self.vector_mean,
                "stretch": self.stretch,
                "scalars": scalars,
            },
        )

    @classmethod
    def load(cls, path: Path) -> TextMap:
        """Read a file that ``save`` wrote; raise InputError if it is missing, damaged or has other contents."""
        arrays = read_arrays(path)
        try:
            penalty, r2 = (float(value) for value in arrays["scalars"])
            return cls(arrays["text_mean"], arrays["weights"], arrays["vector_mean"], arrays["stretch"], penalty, r2)
        except (KeyError, ValueError) as error:
            raise InputError(f"{path}: contains no text map ({error}); run `semconv codebook fit` again") from error


def fit_text_map(text: NDArray[np.floating], vectors: NDArray[np.floating], seed: int = 0) -> tuple[TextMap, Floats]:
    """Fit the map on all items, and predict the same items by cross-fitting: the text targets of eq. 3 of the paper.

    The ridge penalty is the value of a grid with the lowest generalised cross-validation (GCV) score over all items.
    For a regression on four of the five folds, the penalty is multiplied by the share of items in these folds.

    Args:
        text: ``(M, D_llm)``, M at least ``MIN_ITEMS``.
        vectors: ``(M, D)`` behaviour vectors of the same items.
        seed: seed of the split into five folds.
    Returns:
        the map, and predictions ``(M, D)``, each from a fit without the item itself.
    Raises:
        InputError: too few items, shapes that differ, NaN or infinite values.
    """
    _check(text, vectors)
    rows: Floats = np.ascontiguousarray(text, dtype=np.float32)
    targets: Doubles = vectors.astype(np.float64)
    fold = np.random.default_rng(seed).permutation(len(rows)) % _FOLDS  # (M,)
    is_wide = rows.shape[1] > len(rows)
    solver = _KernelRidge(rows, targets) if is_wide else _GramRidge(rows, targets, fold)
    penalty = _choose_penalty(*solver.spectrum(), targets)
    held_out = np.empty_like(targets)
    for k in range(_FOLDS):
        held_out[fold == k] = solver.predict_fold(fold == k, penalty * float((fold != k).mean()))
    total = float(((targets - targets.mean(axis=0)) ** 2).sum())
    r2 = 1.0 - float(((targets - held_out) ** 2).sum()) / total if total > 0 else 0.0
    spread = held_out.std(axis=0)
    stretch = np.divide(targets.std(axis=0), spread, out=np.zeros_like(spread), where=spread > 1e-9)
    text_map = TextMap(
        text_mean=rows.mean(axis=0, dtype=np.float64).astype(np.float32),
        weights=solver.weights(penalty).astype(np.float32),
        vector_mean=targets.mean(axis=0).astype(np.float32),
        stretch=stretch.astype(np.float32),
        penalty=penalty,
        held_out_r2=r2,
    )
    return text_map, held_out.astype(np.float32)


def _check(text: NDArray[np.floating], vectors: NDArray[np.floating]) -> None:
    if text.ndim != 2 or vectors.ndim != 2 or len(text) != len(vectors):
        raise InputError(
            f"text vectors {text.shape} and behaviour vectors {vectors.shape} must have one row for each of the same items"
        )
    if len(text) < MIN_ITEMS:
        raise InputError(
            f"a text map needs at least {MIN_ITEMS} items with text and interactions, but there are {len(text)}"
        )
    for name, rows in (("text", text), ("behaviour", vectors)):
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(bad):
            raise InputError(
                f"{len(bad)} of {len(rows)} {name} vectors have NaN or infinite values, the first in row {bad[0]}"
            )


def _choose_penalty(eigenvalues: Doubles, projected: Doubles, vectors: Doubles) -> float:
    """Return the penalty with the lowest GCV score ``M RSS / (M - 1 - df)^2``, given the spectrum of the centred text.

    Args:
        eigenvalues: ``(R,)`` squared singular values.
        projected: ``(R,)`` squared length of the centred vectors along each left singular vector.
        vectors: ``(M, D)``.
    """
    rows = len(vectors)
    total = float(((vectors - vectors.mean(axis=0)) ** 2).sum())
    unit = max(float(eigenvalues.sum()) / max(1, len(eigenvalues)), 1e-30)
    kept = eigenvalues / (eigenvalues + unit * _PENALTIES[:, None])  # (grid, R)
    residual = np.maximum(total - (projected * (1 - (1 - kept) ** 2)).sum(axis=1), 0)
    freedom = rows - 1 - kept.sum(axis=1)
    # A fit with almost no degrees of freedom left interpolates. Its score is 0 / 0, which means nothing.
    score = np.where(freedom > 0.01 * rows, residual / np.maximum(freedom, 1e-9) ** 2, np.inf)
    return float(unit * _PENALTIES[int(score.argmin())])


class _GramRidge:
    """Ridge regression on the Gram matrix ``(D_llm, D_llm)``, for at least as many items as text dimensions."""

    def __init__(self, text: Floats, vectors: Doubles, fold: NDArray[np.int64]) -> None:
        self._text, self._fold = text, fold
        self._shift = text.mean(axis=0, dtype=np.float64)
        self._target_mean = vectors.mean(axis=0)
        self._rows = np.bincount(fold, minlength=_FOLDS)
        width = text.shape[1]
        self._gram = np.zeros((width, width))
        self._cross = np.zeros((width, vectors.shape[1]))
        self._parts = [self._products(np.flatnonzero(fold == k), vectors) for k in range(_FOLDS)]
        for gram, cross, _, _ in self._parts:
            self._gram += gram
            self._cross += cross

    def _products(self, rows: NDArray[np.int64], vectors: Doubles) -> tuple[Doubles, Doubles, Doubles, Doubles]:
        """Return X^T X, X^T Y and the sums of X (text) and Y (behaviour) over some rows, minus the overall means."""
        width = self._text.shape[1]
        gram, cross = np.zeros((width, width)), np.zeros((width, vectors.shape[1]))
        text_sum, target_sum = np.zeros(width), np.zeros(vectors.shape[1])
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            x, y = self._text[part] - self._shift, vectors[part] - self._target_mean
            gram += x.T @ x
            cross += x.T @ y
            text_sum += x.sum(axis=0)
            target_sum += y.sum(axis=0)
        return gram, cross, text_sum, target_sum

    def spectrum(self) -> tuple[Doubles, Doubles]:
        values, basis = scipy.linalg.eigh(self._gram)
        keep = values > 1e-10 * max(values[-1], 1e-30)
        values, basis = values[keep], basis[:, keep]
        return values, ((basis.T @ self._cross) ** 2).sum(axis=1) / values

    def weights(self, penalty: float) -> Doubles:
        return _solve(self._gram, self._cross, penalty)

    def predict_fold(self, is_out: NDArray[np.bool_], penalty: float) -> Doubles:
        k = int(self._fold[int(is_out.argmax())])
        gram, cross, text_sum, target_sum = self._parts[k]
        rows = int(self._rows.sum() - self._rows[k])
        # The sums over all rows are zero, so the sums over the other folds are minus the sums over this fold.
        text_mean, target_mean = -text_sum / rows, -target_sum / rows
        weights = _solve(
            self._gram - gram - rows * np.outer(text_mean, text_mean),
            self._cross - cross - rows * np.outer(text_mean, target_mean),
            penalty,
        )
        shifted = self._text[is_out] - (self._shift + text_mean)
        predicted: Doubles = shifted @ weights + target_mean + self._target_mean
        return predicted


class _KernelRidge:
    """Ridge regression on the kernel matrix ``(M, M)``, for more text dimensions than items."""

    def __init__(self, text: Floats, vectors: Doubles) -> None:
        self._vectors = vectors
        self._centred = (text - text.mean(axis=0, dtype=np.float64)).astype(np.float64)
        self._kernel = self._centred @ self._centred.T

    def spectrum(self) -> tuple[Doubles, Doubles]:
        values, basis = scipy.linalg.eigh(self._kernel)
        keep = values > 1e-10 * max(values[-1], 1e-30)
        projected = basis[:, keep].T @ (self._vectors - self._vectors.mean(axis=0))
        return values[keep], (projected**2).sum(axis=1)

    def weights(self, penalty: float) -> Doubles:
        dual = _solve(self._kernel, self._vectors - self._vectors.mean(axis=0), penalty)
        weights: Doubles = self._centred.T @ dual
        return weights

    def predict_fold(self, is_out: NDArray[np.bool_], penalty: float) -> Doubles:
        kernel = self._kernel[np.ix_(~is_out, ~is_out)]
        column = kernel.mean(axis=0)
        centred = kernel - column - column[:, None] + column.mean()
        mean = self._vectors[~is_out].mean(axis=0)
        dual = _solve(centred, self._vectors[~is_out] - mean, penalty)
        cross = self._kernel[np.ix_(is_out, ~is_out)]
        cross = cross - cross.mean(axis=1, keepdims=True) - column + column.mean()
        predicted: Doubles = cross @ dual + mean
        return predicted


def _solve(matrix: Doubles, right: Doubles, penalty: float) -> Doubles:
    return scipy.linalg.solve(matrix + penalty * np.eye(len(matrix)), right, assume_a="pos")  # type: ignore[no-any-return]
