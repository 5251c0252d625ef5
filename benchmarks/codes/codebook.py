"""Fitting the codebooks beside faiss's residual quantiser.

Both sides have the same vectors, levels, codes and threads. The size `full` takes the behaviour vectors of the real
Games interactions, or as many drawn ones if the data is not on this machine. Then it fits catalogues of up to 10 million
items, each in a process of its own: the books on a sample, codes for all items, and collisions resolved. Assigning codes
is compared with the bare matrix products of the same size.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.codes.vectors import WIDTH, drawn_texts, drawn_vectors, games_behavior, many_vectors
from benchmarks.rows import Comparison, Row, Size, command
from benchmarks.timing import Seconds, in_own_process, peak_memory_bytes, set_torch_threads, timed
from semconv.settings.codebook import CodebookSettings, RqvaeSettings
from semconv.tokenization.codebook import decode, encode, fit_codebooks
from semconv.tokenization.collisions import resolve_collisions
from semconv.tokenization.rqvae import fit_rqvae

FAISS = Comparison("codebook", "faiss.ResidualQuantizer", ["numpy", "faiss-cpu", "torch"])
PRODUCTS = Comparison("codebook", "bare matrix product", ["numpy"])
VECTORS = Comparison("codebook", "the vectors alone", ["numpy"])
ALONE = Comparison("codebook", "", ["numpy"])
ITEMS = {"small": 10_000, "full": 16_840}
EPOCHS = {"small": 10, "full": RqvaeSettings().epochs}
GROWTH = (10_000, 100_000, 1_000_000, 10_000_000)
LEVELS, BITS = 4, 8
PLAIN = CodebookSettings(levels=LEVELS, codes=1 << BITS, alignment=0.0)
CASES = {
    "lambda 0": PLAIN,
    "lambda 0, best of 7 candidates at the start": replace(PLAIN, start_candidates=7),
    "lambda 0.1": replace(PLAIN, alignment=0.1),
}


def by_faiss(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fit faiss with its defaults, but greedy as ours is, and return the decoded points."""
    quantizer = faiss.ResidualQuantizer(WIDTH, LEVELS, BITS)
    quantizer.max_beam_size = 1
    quantizer.train(points)
    decoded: NDArray[np.float32] = quantizer.decode(quantizer.compute_codes(points))
    return decoded


def by_kmeans(
    points: NDArray[np.float32], texts: NDArray[np.float32], settings: CodebookSettings
) -> NDArray[np.float32]:
    """Fit our codebooks, and return the decoded points."""
    fitted = fit_codebooks(points, texts, settings)
    return decode(fitted.codes, fitted.books)


def by_rqvae(points: NDArray[np.float32], epochs: int) -> NDArray[np.float32]:
    """Fit our codebooks between an encoder and a decoder (paper, Table 3, ED), and return the decoded points."""
    autoencoder, fitted = fit_rqvae(points, None, None, replace(PLAIN, method="rqvae"), RqvaeSettings(epochs=epochs))
    return autoencoder.reconstruct(decode(fitted.codes, fitted.books))


def run(size: Size) -> list[Row]:
    """Measure the seconds of fit and encode, and the share of the variance that the codes miss."""
    faiss.omp_set_num_threads(set_torch_threads())
    games = games_behavior() if size == "full" else None
    points = drawn_vectors(ITEMS[size]) if games is None else games[0].item_vectors
    name = f"{len(points)} {'synthetic' if games is None else 'Games'} items, {LEVELS} x {1 << BITS}"
    texts = drawn_texts(points)
    peer_seconds, decoded = timed(lambda: by_faiss(points), repeats=1)  # much slower than ours
    peer = peer_seconds, _error(points, decoded)
    rows = []
    for case, settings in CASES.items():
        seconds, decoded = timed(partial(by_kmeans, points, texts, settings))
        error = _error(points, decoded)
        if not 0.5 < error / peer[1] < 1.5:
            raise SystemExit(f"the two sides differ too much: errors {error:.4f} and {peer[1]:.4f}")
        rows += _beside_faiss(f"{name}, {case}", (seconds, error), peer)
    seconds, decoded = timed(lambda: by_rqvae(points, EPOCHS[size]), repeats=1)
    case = f"{name}, lambda 0, encoder and decoder of {EPOCHS[size]} epochs"
    rows += _beside_faiss(case, (seconds, _error(points, decoded)), peer)
    if size == "full":
        rows += [row for num_items in GROWTH for row in in_own_process(growth, num_items)]
    return rows


def _beside_faiss(case: str, ours: tuple[Seconds, float], peer: tuple[Seconds, float]) -> list[Row]:
    return [
        *FAISS.seconds(case, "fit and encode", ours[0], peer[0]),
        FAISS.row(case, "reconstruction error", "share of variance", ours=ours[1], peer=peer[1]),
    ]


def growth(num_items: int) -> list[Row]:
    """Measure one size: fit on the default sample and assign all, assign all again, resolve collisions."""
    points = many_vectors(num_items)
    fit_seconds, fitted = timed(lambda: fit_codebooks(points, None, PLAIN), repeats=1)
    assign_seconds, _ = timed(lambda: encode(points, fitted.books, fitted.is_used, PLAIN))
    bare_seconds, _ = timed(lambda: products(points, fitted.books))
    peak = peak_memory_bytes()
    popularity = np.random.default_rng(4).integers(1, 100, num_items)
    resolve_seconds, resolved = timed(
        lambda: resolve_collisions(points, fitted.codes, popularity, fitted.books, PLAIN), repeats=1
    )
    if resolved.share_after > 0:
        raise SystemExit(f"{resolved.share_after:.2%} of {num_items:,} items still share their codes")
    case = f"{num_items:,} synthetic items, {LEVELS} x {1 << BITS}, fit on {min(num_items, PLAIN.sample):,}"
    moved = int(resolved.is_moved.sum())
    return [
        *ALONE.seconds(case, "fit and assign all", fit_seconds),
        *PRODUCTS.rates(case, "assign all", "items/s", num_items, assign_seconds, bare_seconds),
        VECTORS.row(case, "peak memory of fit and assign", "bytes", ours=float(peak), peer=float(points.nbytes)),
        ALONE.row(case, f"move {moved:,} items with the codes of another", "s", ours=resolve_seconds.wall),
        ALONE.row(case, "peak memory with that", "bytes", ours=float(peak_memory_bytes())),
    ]


def products(points: NDArray[np.float32], books: NDArray[np.float32]) -> None:
    """Multiply all vectors with every book, in blocks of the size that assignment uses."""
    rows = (1 << 20) >> BITS
    scores = np.empty((rows, 1 << BITS), dtype=np.float32)
    for book in books:
        transposed = np.ascontiguousarray(book.T)
        for start in range(0, len(points), rows):
            block = points[start : start + rows]
            np.matmul(block, transposed, out=scores[: len(block)])


def _error(points: NDArray[np.float32], decoded: NDArray[np.float32]) -> float:
    return float(((points - decoded) ** 2).sum() / (points**2).sum())


if __name__ == "__main__":
    command(run, __doc__)
