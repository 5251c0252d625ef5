"""Fitting the code books beside faiss's residual quantiser, on the same vectors, levels, codes and threads.

``full`` takes the behaviour vectors of the real Games interactions where they are at hand, in the folder of
``SEMCONV_TEST_DATA`` or ``../shared/data``, and as many synthetic ones otherwise. It then grows the catalogue to
10 million: books fitted on a sample, everything assigned in blocks, held against the bare matrix product of that size.
"""

from __future__ import annotations

import os

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.data import games_sequences
from benchmarks.rows import Row, Size, Subject, command, seconds_of
from semconv.behavior.svd import fit_svd
from semconv.config import BehaviorSettings, CodebookSettings
from semconv.splits import train_part
from semconv.tokenization.codebook import Codebooks, decode, encode, fit_codebooks

SUBJECT = Subject("codebook", "faiss.ResidualQuantizer", ["numpy", "faiss-cpu"])
GROWN = Subject("codebook", "bare matrix product", ["numpy"])
ITEMS = {"small": 10_000, "full": 16_840}
GROWTH = (10_000, 100_000, 1_000_000, 10_000_000)
SAMPLE = 200_000  # items that the books of a larger catalogue are fitted on
LEVELS, BITS, WIDTH = 4, 8, 32


def games_vectors() -> NDArray[np.float32] | None:
    """Behaviour vectors of the train cut of Games, ``(16840, 32)``; None where the data is absent."""
    games = games_sequences()
    if games is None:
        return None
    sequences, ids = games
    train = train_part(sequences, "[:-2]", 5, len(ids))
    return fit_svd(train, len(ids), BehaviorSettings(dimensions=WIDTH)).item_vectors


def vectors_of(num_items: int) -> NDArray[np.float32]:
    """Clusters of unequal size and spread, centred, mean norm 1: the shape of behaviour vectors."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((500, WIDTH))
    weights = rng.pareto(1.2, 500) + 0.1
    chosen = rng.choice(500, num_items, p=weights / weights.sum())
    points = centres[chosen] + rng.standard_normal((num_items, WIDTH)) * rng.gamma(2.0, 0.2, (num_items, 1))
    points -= points.mean(axis=0)
    scaled: NDArray[np.float32] = (points / np.linalg.norm(points, axis=1).mean()).astype(np.float32)
    return scaled


def texts_of(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Targets that know half of the vectors' variance, as text may."""
    noise = np.random.default_rng(1).standard_normal(points.shape) * points.std(axis=0)
    texts: NDArray[np.float32] = (points / 2 + noise / 2).astype(np.float32)
    return texts


def quantize(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """What faiss makes of the points with its defaults, greedy as ours."""
    quantizer = faiss.ResidualQuantizer(WIDTH, LEVELS, BITS)
    quantizer.max_beam_size = 1
    quantizer.train(points)
    decoded: NDArray[np.float32] = quantizer.decode(quantizer.compute_codes(points))
    return decoded


def run(size: Size) -> list[Row]:
    """Fit and encode; seconds and share of the variance that is left."""
    faiss.omp_set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))  # as numpy's BLAS takes
    real = games_vectors() if size == "full" else None
    points = vectors_of(ITEMS[size]) if real is None else real
    name = f"{len(points)} {'synthetic' if real is None else 'Games'} items, {LEVELS} x {1 << BITS}"
    texts = texts_of(points)
    peer_seconds, peer = seconds_of(lambda: quantize(points), repeats=1)  # much the slower side
    peer_error = _share_left(points, peer)
    rows = []
    for alignment in (0.0, 0.1):
        ours_seconds, fitted = seconds_of(lambda weight=alignment: _fit(points, texts, weight))  # type: ignore[misc]
        error = _share_left(points, decode(fitted.codes, fitted.books))
        if not 0.5 < error / peer_error < 1.5:
            raise SystemExit(f"the two do not do the same: errors {error:.4f} and {peer_error:.4f}")
        case = f"{name}, lambda {alignment:g}"
        rows.append(SUBJECT.row(case, "fit and encode", "s", ours=ours_seconds, peer=peer_seconds))
        rows.append(SUBJECT.row(case, "reconstruction error", "share of variance", ours=error, peer=peer_error))
    if size == "full":
        rows += [row for num_items in GROWTH for row in growth(num_items)]
    return rows


def growth(num_items: int) -> list[Row]:
    """Fit on a sample, then assign everything; beside the bare products of the vectors with the books."""
    points = grown(num_items)
    settings = CodebookSettings(levels=LEVELS, codes=1 << BITS, alignment=0.0)
    sample = np.sort(np.random.default_rng(2).permutation(num_items)[:SAMPLE])
    fit_seconds, fitted = seconds_of(lambda: fit_codebooks(points[sample], None, settings), repeats=1)
    assign_seconds, _ = seconds_of(lambda: encode(points, fitted.books, fitted.is_used, settings), repeats=1)
    bare_seconds, _ = seconds_of(lambda: products(points, fitted.books), repeats=1)
    case = f"{num_items:,} synthetic items, {LEVELS} x {1 << BITS}, fit on {len(sample):,}"
    return [
        GROWN.row(
            case,
            "assign all",
            "items/s",
            ours=num_items / assign_seconds,
            peer=num_items / bare_seconds,
            higher_is_better=True,
        ),
        GROWN.row(case, "fit and assign all", "s", ours=fit_seconds + assign_seconds, peer=bare_seconds),
    ]


def grown(num_items: int) -> NDArray[np.float32]:
    """``vectors_of`` in float32 alone and block by block, so that ten million fit beside what is measured."""
    rng = np.random.default_rng(3)
    base = vectors_of(100_000)
    points = np.empty((num_items, WIDTH), dtype=np.float32)
    for start in range(0, num_items, len(base)):
        block = points[start : start + len(base)]
        block[:] = base[: len(block)]
        block += 0.05 * rng.standard_normal(block.shape, dtype=np.float32)
    return points


def products(points: NDArray[np.float32], books: NDArray[np.float32]) -> None:
    """One product of every vector with every book, in blocks of the size that assignment takes."""
    rows = (1 << 20) >> BITS
    scores = np.empty((rows, 1 << BITS), dtype=np.float32)
    for book in books:
        transposed = np.ascontiguousarray(book.T)
        for start in range(0, len(points), rows):
            block = points[start : start + rows]
            np.matmul(block, transposed, out=scores[: len(block)])


def _fit(points: NDArray[np.float32], texts: NDArray[np.float32], alignment: float) -> Codebooks:
    return fit_codebooks(points, texts, CodebookSettings(levels=LEVELS, codes=1 << BITS, alignment=alignment))


def _share_left(points: NDArray[np.float32], decoded: NDArray[np.float32]) -> float:
    return float(((points - decoded) ** 2).sum() / (points**2).sum())


if __name__ == "__main__":
    command(run)
