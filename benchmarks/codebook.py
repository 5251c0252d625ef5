"""Fitting the code books beside faiss's residual quantiser, on the same vectors, levels and codes."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.rows import Row, Size, Subject, command, seconds_of
from semconv.config import CodebookSettings
from semconv.tokenization.codebook import decode, fit_codebooks

SUBJECT = Subject("codebook", "faiss.ResidualQuantizer", ["numpy", "faiss-cpu"])
ITEMS = {"small": 5_000, "full": 200_000}
LEVELS, BITS, WIDTH = 4, 8, 32


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


def run(size: Size) -> list[Row]:
    """Fit and encode; seconds and share of the variance that is left."""
    points = vectors_of(ITEMS[size])
    case = f"{len(points)} items, {LEVELS} levels of {1 << BITS}, lambda 0"
    settings = CodebookSettings(levels=LEVELS, codes=1 << BITS, alignment=0.0)
    ours_seconds, ours = seconds_of(lambda: fit_codebooks(points, None, settings))

    def fit_peer() -> NDArray[np.float32]:
        quantizer = faiss.ResidualQuantizer(WIDTH, LEVELS, BITS)
        quantizer.max_beam_size = 1  # greedy, as ours
        quantizer.train(points)
        decoded: NDArray[np.float32] = quantizer.decode(quantizer.compute_codes(points))
        return decoded

    peer_seconds, peer = seconds_of(fit_peer, repeats=1)  # much the slower side
    total = float((points**2).sum())
    ours_error = float(((points - decode(ours.codes, ours.books)) ** 2).sum()) / total
    peer_error = float(((points - peer) ** 2).sum()) / total
    if not 0.5 < ours_error / peer_error < 1.5:
        raise SystemExit(f"the two do not do the same: errors {ours_error:.4f} and {peer_error:.4f}")
    return [
        SUBJECT.row(case, "fit and encode", "s", ours=ours_seconds, peer=peer_seconds),
        SUBJECT.row(case, "reconstruction error", "share of variance", ours=ours_error, peer=peer_error),
    ]


if __name__ == "__main__":
    command(run)
