"""Equations 3 and 4 of the paper trained by gradient, beside the closed form of the codebooks.

The paper states the losses of the codebooks and starts each level from a clustering of one batch of residuals. It trains
the codebooks like a network. semconv fits one level after the other, and computes the centroids in closed form
(docs/method.md, Codebooks). Here both minimise the same sum of losses, with signed residuals and squared L2 distances, on
the same vectors and text targets. The gradient has two forms: it passes through the residuals to the earlier levels,
as the equations are printed, or each level has a gradient of its own, as in RQ-VAE.

The size `full` takes Office Products: vectors of the default graph, and text targets from title and description. The
size `small` takes drawn vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.codes.codebook_ablation import text_vectors
from benchmarks.codes.vectors import drawn_texts, drawn_vectors
from benchmarks.data import data_folder, stored_sequences
from benchmarks.rows import Comparison, Row, Size, argument_parser, finish, markdown_table
from benchmarks.timing import Seconds, set_torch_threads, timed
from semconv.behavior.svd import fit_svd
from semconv.data.core import train_part
from semconv.settings.behavior import BehaviorSettings
from semconv.settings.codebook import CodebookSettings
from semconv.tokenization.codebook import decode, encode, fit_codebooks, next_residual
from semconv.tokenization.kmeans import Floats, squared_norms
from semconv.tokenization.text_map import fit_text_map

PACKAGES = ["numpy", "torch"]
PEERS = {
    "gradient through the residuals": True,
    "gradient of each level alone": False,
}
LAMBDAS = (1.0, 0.1, 0.0)
BATCH, LEARNING_RATE = 1024, 1e-3
EPOCHS = {"small": 20, "full": 300}
CODES = {"small": 64, "full": 256}
UNITS = {
    "sum of both losses": "mean squared distance",
    "behaviour loss": "mean squared distance",
    "alignment loss": "mean squared distance",
    "reconstruction error": "share of variance",
}


@dataclass(frozen=True)
class Data:
    """The items to code."""

    name: str
    vectors: Floats  # (M, D)
    targets: Floats  # (M, D) text mapped to the space of the vectors
    has_text: NDArray[np.bool_]  # (M,)


class Codes(nn.Module):
    """The codebooks as parameters, with the loss of equations 3 and 4."""

    def __init__(self, books: Floats, weight: float, *, through_residuals: bool) -> None:
        super().__init__()
        self.books = nn.Parameter(torch.from_numpy(books.copy()))  # (N, C, D)
        self.weight, self.through_residuals = weight, through_residuals

    def forward(self, rows: Tensor, targets: Tensor, has_text: Tensor) -> Tensor:
        """Return the mean loss of the rows ``(B, D)``."""
        residual, loss = rows, rows.new_zeros(())
        for book in self.books:
            distances = book.square().sum(1) - 2 * (residual @ book.t())
            chosen = book.index_select(0, distances.detach().argmin(dim=1))
            loss = loss + (residual - chosen).square().sum(1).mean()
            if self.weight > 0:
                scale = _rms(residual.detach()) / _rms(targets[has_text])
                loss = loss + self.weight * (chosen - targets * scale)[has_text].square().sum(1).sum() / len(rows)
            residual = residual - (chosen if self.through_residuals else chosen.detach())
        return loss


def by_gradient(data: Data, settings: CodebookSettings, epochs: int, through_residuals: bool) -> Floats:
    """Train the codebooks ``(N, C, D)`` with Adam, from a clustering of the first batch."""
    rng = np.random.default_rng(settings.seed)
    first = rng.permutation(len(data.vectors))[:BATCH]
    start = fit_codebooks(data.vectors[first], None, replace(settings, alignment=0.0, sample=0))
    model = Codes(start.books, settings.alignment, through_residuals=through_residuals)
    rows, targets, has_text = map(torch.from_numpy, (data.vectors, data.targets, data.has_text))
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    for _ in range(epochs):
        for part in torch.from_numpy(rng.permutation(len(rows))).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            model(rows[part], targets[part], has_text[part]).backward()
            optimizer.step()
    books: Floats = model.books.detach().numpy()
    return books


def in_closed_form(data: Data, settings: CodebookSettings) -> Floats:
    """Fit the codebooks ``(N, C, D)`` as `semconv codebook fit` does, without shrinkage."""
    return fit_codebooks(data.vectors, data.targets, settings, data.has_text).books


def losses(data: Data, books: Floats, settings: CodebookSettings) -> dict[str, float]:
    """Return the losses of equations 3 and 4 over all items, and the reconstruction error after the last level."""
    codes = encode(data.vectors, books, np.ones(books.shape[:2], dtype=bool), settings)
    behavior = alignment = 0.0
    residual, has_text = data.vectors, data.has_text
    mean_text = float(squared_norms(data.targets[has_text]).mean())
    for level, book in enumerate(books):
        chosen = book[codes[:, level]]
        scale = np.float32(np.sqrt(squared_norms(residual).mean() / mean_text))
        behavior += float(squared_norms(residual - chosen).mean())
        alignment += float(squared_norms((chosen - data.targets * scale)[has_text]).sum()) / len(residual)
        residual = next_residual(residual, chosen, settings)
    error = squared_norms(data.vectors - decode(codes, books)).sum() / squared_norms(data.vectors).sum()
    return {
        "sum of both losses": behavior + settings.alignment * alignment,
        "behaviour loss": behavior,
        "alignment loss": alignment,
        "reconstruction error": float(error),
    }


def load(size: Size) -> Data:
    """Load Office Products, or draw vectors."""
    office = stored_sequences("office") if size == "full" else None
    if office is None:
        vectors = drawn_vectors(2_000)
        return Data("2,000 drawn items", vectors, drawn_texts(vectors), np.ones(len(vectors), dtype=bool))
    sequences, ids = office
    train = train_part(sequences, "[:-2]", 2, len(ids))
    behavior = fit_svd(train, len(ids), BehaviorSettings())
    table = pl.read_parquet(data_folder("office") / "items.parquet", columns=["item_id", "title", "description"])
    described = {item: " ".join(part for part in parts if part) for item, *parts in table.iter_rows()}
    texts = text_vectors([described.get(item) for item in ids])
    _, rows, text_rows = np.intersect1d(behavior.item_index, texts.item_index, return_indices=True)
    _, predicted = fit_text_map(texts.vectors[text_rows], behavior.item_vectors[rows])
    targets, has_text = np.zeros_like(behavior.item_vectors), np.zeros(len(behavior.item_index), dtype=bool)
    targets[rows], has_text[rows] = predicted, True
    return Data(f"{len(targets):,} items of Office Products", behavior.item_vectors, targets, has_text)


Fit = tuple[Seconds, dict[str, float]]


def measure(fit: Callable[[], Floats], data: Data, settings: CodebookSettings) -> Fit:
    """Return the time of one fit, and its losses."""
    seconds, books = timed(fit, repeats=1)
    return seconds, losses(data, books, settings)


def run(size: Size) -> tuple[list[Row], str]:
    """Fit all cases; return the rows and a table in Markdown."""
    set_torch_threads()
    data, epochs = load(size), EPOCHS[size]
    rows: list[Row] = []
    lines: list[list[str]] = []
    for weight in LAMBDAS:
        settings = CodebookSettings(codes=CODES[size], alignment=weight)
        ours = measure(partial(in_closed_form, data, settings), data, settings)
        lines.append(_line(weight, "closed form", ours))
        for name, through in PEERS.items():
            peer = measure(partial(by_gradient, data, settings, epochs, through), data, settings)
            rows += _rows(f"{data.name}, lambda {weight:g}", name, ours, peer)
            lines.append(_line(weight, name, peer))
    heads = ["lambda", "fit", *UNITS, "processor seconds"]
    about = (
        f"4 levels of {CODES[size]} codes, signed residuals, squared L2 distances, vectors with the mean norm 1. Losses are"
        f" means over the items, summed over the levels. The gradient has {epochs} epochs of Adam with the learning rate"
        f" {LEARNING_RATE:g} and batches of {BATCH:,} items."
    )
    return rows, f"# Codebooks of {data.name}: closed form and gradient\n\n{about}\n\n" + markdown_table(heads, lines)


def _rows(case: str, peer_name: str, ours: Fit, peer: Fit) -> Iterator[Row]:
    comparison = Comparison("literal", peer_name, PACKAGES)
    for name, unit in UNITS.items():
        yield comparison.row(case, name, unit, ours=ours[1][name], peer=peer[1][name])
    yield from comparison.seconds(case, "fit", ours[0], peer[0])


def _line(weight: float, name: str, fit: Fit) -> list[str]:
    return [f"{weight:g}", name, *(f"{fit[1][figure]:.4f}" for figure in UNITS), f"{fit[0].processor:.1f}"]


def _rms(rows: Tensor) -> Tensor:
    """Return the root of the mean squared length of the rows."""
    return rows.square().sum(dim=1).mean().sqrt()


def main() -> None:
    """Fit every case, and write rows and a table."""
    arguments = argument_parser(__doc__).parse_args()
    rows, table = run(arguments.size)
    finish(rows, arguments.json, table)


if __name__ == "__main__":
    main()
