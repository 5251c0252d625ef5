"""Fitting the code books beside faiss's residual quantiser, on the same vectors, levels, codes and threads.

``full`` takes the behaviour vectors of the real Games interactions where they are at hand, in the folder of
``SEMCONV_TEST_DATA`` or ``../shared/data``, and as many synthetic ones otherwise. It then grows the catalogue to 10 million,
each size in a process of its own, so that its peak memory is its own: books fitted on a sample, everything assigned
in blocks, held against the bare matrix product of that size, and items with the same codes moved apart.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.codebook_data import WIDTH, games_behavior, grown, texts_of, threads, vectors_of
from benchmarks.rows import Row, Seconds, Size, Subject, command, peak_memory_bytes, times_of
from semconv.settings.codebook import CodebookSettings, RqvaeSettings
from semconv.tokenization.codebook import decode, encode, fit_codebooks
from semconv.tokenization.collisions import resolve_collisions
from semconv.tokenization.rqvae import fit_rqvae

SUBJECT = Subject("codebook", "faiss.ResidualQuantizer", ["numpy", "faiss-cpu", "torch"])
GROWN = Subject("codebook", "bare matrix product", ["numpy"])
HELD = Subject("codebook", "the vectors alone", ["numpy"])
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


def quantize(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """What faiss makes of the points with its defaults, greedy as ours."""
    quantizer = faiss.ResidualQuantizer(WIDTH, LEVELS, BITS)
    quantizer.max_beam_size = 1
    quantizer.train(points)
    decoded: NDArray[np.float32] = quantizer.decode(quantizer.compute_codes(points))
    return decoded


def residual(
    points: NDArray[np.float32], texts: NDArray[np.float32], settings: CodebookSettings
) -> NDArray[np.float32]:
    """What the code books make of them."""
    fitted = fit_codebooks(points, texts, settings)
    return decode(fitted.codes, fitted.books)


def autoencoded(points: NDArray[np.float32], epochs: int) -> NDArray[np.float32]:
    """What an encoder and a decoder around the code books make of them (paper, Table 3, ED)."""
    autoencoder, fitted = fit_rqvae(points, None, None, replace(PLAIN, method="rqvae"), RqvaeSettings(epochs=epochs))
    return autoencoder.reconstruct(decode(fitted.codes, fitted.books))


def run(size: Size) -> list[Row]:
    """Fit and encode; seconds and share of the variance that is left."""
    faiss.omp_set_num_threads(threads())
    games = games_behavior() if size == "full" else None
    points = vectors_of(ITEMS[size]) if games is None else games[0].item_vectors
    name = f"{len(points)} {'synthetic' if games is None else 'Games'} items, {LEVELS} x {1 << BITS}"
    texts = texts_of(points)
    peer_seconds, decoded = times_of(lambda: quantize(points), repeats=1)  # much the slower side
    peer = peer_seconds, _share_left(points, decoded)
    rows = []
    for case, settings in CASES.items():
        seconds, decoded = times_of(partial(residual, points, texts, settings))
        error = _share_left(points, decoded)
        if not 0.5 < error / peer[1] < 1.5:
            raise SystemExit(f"the two do not do the same: errors {error:.4f} and {peer[1]:.4f}")
        rows += _beside(f"{name}, {case}", (seconds, error), peer)
    seconds, decoded = times_of(lambda: autoencoded(points, EPOCHS[size]), repeats=1)
    case = f"{name}, lambda 0, encoder and decoder of {EPOCHS[size]} epochs"
    rows += _beside(case, (seconds, _share_left(points, decoded)), peer)
    if size == "full":
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
            rows += [row for part in processes.map(growth, GROWTH) for row in part]
    return rows


def _beside(case: str, ours: tuple[Seconds, float], peer: tuple[Seconds, float]) -> list[Row]:
    return [
        SUBJECT.row(case, "fit and encode", "s", ours=ours[0].wall, peer=peer[0].wall),
        SUBJECT.row(case, "fit and encode, of the processor", "s", ours=ours[0].processor, peer=peer[0].processor),
        SUBJECT.row(case, "reconstruction error", "share of variance", ours=ours[1], peer=peer[1]),
    ]


def growth(num_items: int) -> list[Row]:
    """One size: fit with the default sample and code all, code all again beside the bare products, resolve collisions."""
    points = grown(num_items)
    fit_seconds, fitted = times_of(lambda: fit_codebooks(points, None, PLAIN), repeats=1)
    assign_seconds, _ = times_of(lambda: encode(points, fitted.books, fitted.is_used, PLAIN))
    bare_seconds, _ = times_of(lambda: products(points, fitted.books))
    peak = peak_memory_bytes()
    popularity = np.random.default_rng(4).integers(1, 100, num_items)
    resolve_seconds, resolved = times_of(
        lambda: resolve_collisions(points, fitted.codes, popularity, fitted.books, PLAIN), repeats=1
    )
    if resolved.share_after > 0:
        raise SystemExit(f"{resolved.share_after:.2%} of {num_items:,} items still share their codes")
    sample = min(num_items, PLAIN.sample)
    case = f"{num_items:,} synthetic items, {LEVELS} x {1 << BITS}, fit on {sample:,}"
    moved = int(resolved.is_moved.sum())
    alone = Subject("codebook", "", ["numpy"])
    return [
        alone.row(case, "fit and assign all", "s", ours=fit_seconds.wall),
        alone.row(case, "fit and assign all, of the processor", "s", ours=fit_seconds.processor),
        *(
            GROWN.row(
                case,
                metric,
                "items/s",
                ours=num_items / ours,
                peer=num_items / bare,
                higher_is_better=True,
            )
            for metric, ours, bare in (
                ("assign all", assign_seconds.wall, bare_seconds.wall),
                ("assign all, of the processor", assign_seconds.processor, bare_seconds.processor),
            )
        ),
        HELD.row(case, "peak memory of fit and assign", "bytes", ours=float(peak), peer=float(points.nbytes)),
        alone.row(case, f"move {moved:,} items with the codes of another", "s", ours=resolve_seconds.wall),
        alone.row(case, "peak memory with that", "bytes", ours=float(peak_memory_bytes())),
    ]


def products(points: NDArray[np.float32], books: NDArray[np.float32]) -> None:
    """One product of every vector with every book, in blocks of the size that assignment takes."""
    rows = (1 << 20) >> BITS
    scores = np.empty((rows, 1 << BITS), dtype=np.float32)
    for book in books:
        transposed = np.ascontiguousarray(book.T)
        for start in range(0, len(points), rows):
            block = points[start : start + rows]
            np.matmul(block, transposed, out=scores[: len(block)])


def _share_left(points: NDArray[np.float32], decoded: NDArray[np.float32]) -> float:
    return float(((points - decoded) ** 2).sum() / (points**2).sum())


if __name__ == "__main__":
    command(run)
