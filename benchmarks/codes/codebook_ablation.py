"""The effect of each choice of the tokenization on the codes.

It measures the codes, not the recommendations, and has no peer. The size `full` takes Games: vectors of the default
graph, text vectors of the titles from the built-in backbone, and the codes published for LC-Rec as a further
case. The size `small` takes drawn items whose titles follow their taste.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.codes.vectors import games_behavior
from benchmarks.data import data_folder, drawn_sequences, games_titles
from benchmarks.rows import Comparison, Row, Size, argument_parser, finish, markdown_table
from benchmarks.timing import set_torch_threads
from semconv.backbone.create import create_backbone
from semconv.backbone.load import load_backbone
from semconv.backbone.text_vectors import TextVectors, embed_texts
from semconv.behavior.svd import fit_svd
from semconv.behavior.vectors import BehaviorVectors
from semconv.data.core import train_part
from semconv.settings.backbone import BackboneSettings
from semconv.settings.behavior import BehaviorSettings
from semconv.settings.codebook import CodebookSettings, RqvaeSettings
from semconv.stages.codes.code_file import read_codes
from semconv.tasks.registry import phrases
from semconv.tokenization import quality
from semconv.tokenization.collisions import colliding
from semconv.tokenization.fit import fit_code_set

COMPARISON = Comparison("codebook_ablation", "", ["numpy", "scipy", "torch"])
PUBLISHED = "codes published for LC-Rec"
RQVAE: dict[str, dict[str, Any]] = {  # case -> its settings in the section [rqvae]
    "with encoder and decoder (ED)": {},
    "ED without restarts of dead codes": {"restart": False},
    "ED, last level by Sinkhorn": {"sinkhorn_epsilon": 0.003},
}
FIGURES = {  # figure -> its unit, and its heading in the table
    "reconstruction error": ("share of variance", "error"),
    "reconstruction error before collisions are resolved": ("share of variance", "error before"),
    "variance within equal codes": ("share of variance", "variance within"),
    "entropy by level": ("bits", "entropy"),
    "dead codes by level": ("codes", "dead"),
    "colliding items before": ("share of items", "colliding before"),
    "colliding items after": ("share of items", "after"),
    "moved items": ("share of items", "moved"),
    "error of moved items before": ("share of variance", "their error before"),
    "error of moved items after": ("share of variance", "after moving"),
    "title words in common, same first two codes": ("share of words", "title words"),
    "title words in common, codes shuffled": ("share of words", "shuffled"),
    "title words in common, random pairs": ("share of words", "random"),
}


@dataclass(frozen=True)
class Catalogue:
    """The items to code."""

    name: str
    vectors: BehaviorVectors
    texts: TextVectors
    popularity: NDArray[np.int64]  # (I,)
    titles: list[str | None]  # (I,)
    item_ids: list[str] | None  # None if there are no published codes for them

    def overlap(self, index: NDArray[np.int32], codes: NDArray[np.uint16]) -> dict[str, float | None]:
        """Measure the title words in common of pairs with equal first two codes, with shuffled codes, and of random pairs."""
        return quality.agreement(codes, quality.Features.of_titles(self.titles[item] for item in index))


def cases(num_items: int) -> dict[str, CodebookSettings]:
    """Return the settings of each case. Its name says how it differs from the default."""
    default = CodebookSettings()
    changes: dict[str, dict[str, Any]] = {
        "default (lambda 0.1)": {},
        **{name: {"method": "rqvae"} for name in RQVAE},
        "without alignment (w/o LA)": {"alignment": 0.0},
        **{f"lambda {weight:g}": {"alignment": weight} for weight in (0.03, 0.3, 1.0)},
        "absolute residuals": {"residual": "absolute"},
        "cosine distance": {"distance": "cosine"},
        "cosine alignment": {"alignment_distance": "cosine"},
        "assigned with both": {"assign_with": "both"},
        "best of 7 candidates at the start": {"start_candidates": 7},
        "without shrinkage to text (shrinkage 0)": {"shrinkage": 0.0},
        **{f"{levels} levels": {"levels": levels} for levels in (2, 3, 5, 6)},
    }
    # One level has too few codes for all items, so its collisions can only be counted.
    changes["1 level, collisions kept"] = {"levels": 1, "collisions": "keep"}
    changes["1 level, a code for each item (C=1)"] = {"levels": 1, "codes": num_items}
    return {name: replace(default, **values) for name, values in changes.items()}


def measure(catalogue: Catalogue, settings: CodebookSettings, rqvae: RqvaeSettings) -> dict[str, Any]:
    """Fit the codes of one case, and return its figures."""
    code_set = fit_code_set(
        catalogue.vectors,
        catalogue.texts.item_index,
        catalogue.texts.vectors,
        catalogue.popularity,
        settings,
        rqvae,
    )
    figures = code_set.figures
    own = _of_codes(catalogue, code_set.item_index, code_set.codes, settings.codes)
    return own | {
        "reconstruction error": figures["reconstruction_error"],
        "reconstruction error before collisions are resolved": figures["levels"][-1]["reconstruction_error"],
        "colliding items before": figures["collision_share_before"],
        "moved items": figures["moved"]["share"],
        "error of moved items before": figures["moved"]["error_before"],
        "error of moved items after": figures["moved"]["error_after"],
    }


def measure_published(catalogue: Catalogue) -> dict[str, Any] | None:
    """Return the figures of the published codes that need no books; None without the file."""
    file = data_folder("games") / "lcrec_codes.parquet"
    if catalogue.item_ids is None or not file.is_file():
        return None
    found = read_codes(file, catalogue.item_ids)
    figures = _of_codes(catalogue, found.item_index, found.codes, found.num_codes)
    return figures | {"colliding items before": figures["colliding items after"]}


def _of_codes(
    catalogue: Catalogue, index: NDArray[np.int32], codes: NDArray[np.uint16], num_codes: int
) -> dict[str, Any]:
    """Return the figures that need no books."""
    levels = quality.level_figures(codes, num_codes)
    overlap = catalogue.overlap(index, codes)
    _, rows, vector_rows = np.intersect1d(index, catalogue.vectors.item_index, return_indices=True)
    within = quality.variance_within(codes[rows], catalogue.vectors.item_vectors[vector_rows])
    return {
        "variance within equal codes": within[min(quality.PREFIX, codes.shape[1]) - 1],
        "entropy by level": [level["entropy_bits"] for level in levels],
        "dead codes by level": [float(level["dead_codes"]) for level in levels],
        "colliding items after": float(colliding(codes).mean()),
        "title words in common, same first two codes": overlap["within"],
        "title words in common, codes shuffled": overlap["shuffled"],
        "title words in common, random pairs": overlap["random"],
    }


def rows_of(case: str, figures: dict[str, Any]) -> list[Row]:
    """Make a row for each figure, or for each of its levels."""
    rows = []
    for name, (unit, _) in FIGURES.items():
        value = figures.get(name)
        if isinstance(value, list):
            rows += [COMPARISON.row(case, f"{name} {n}", unit, ours=part) for n, part in enumerate(value, start=1)]
        elif value is not None:
            rows.append(COMPARISON.row(case, name, unit, ours=value))
    return rows


def markdown(name: str, measured: dict[str, dict[str, Any]]) -> str:
    """Make a table with one line for each case."""
    heads = ["case", *(short for _, short in FIGURES.values())]
    lines = [[case, *(_cell(figures.get(name)) for name in FIGURES)] for case, figures in measured.items()]
    meaning = (
        "Errors are mean squared distances of the fitted vectors from the vectors of their codes, over the mean squared length of the"
        " fitted vectors; for moved items before and after they moved. Variance within: share of the raw behaviour vectors' variance"
        " within groups of equal first two codes. Entropy (in bits) and dead codes are by level, after collisions were resolved."
        " Title words: share of words in common of two items with the same first two codes, the same with the codes shuffled over the"
        " items, and of two random items."
    )
    return f"# Codes of {name}, one choice changed at a time\n\n{meaning}\n\n" + markdown_table(heads, lines)


def _cell(value: float | list[float] | None) -> str:
    if isinstance(value, list):
        return " ".join(f"{part:.3g}" for part in value)
    return "" if value is None else f"{value:.4f}"


def load(size: Size) -> Catalogue:
    """Load Games with its titles, or draw items with titles of their taste."""
    games = games_behavior() if size == "full" else None
    if games is not None:
        vectors, popularity, ids = games
        titles: list[str | None] = games_titles(ids)
        return Catalogue("Games", vectors, text_vectors(titles), popularity, titles, ids)
    num_items, num_tastes = 1_200, 30
    sequences = drawn_sequences(3_000, num_items, num_tastes)
    train = train_part(sequences, "[:-2]", 2, num_items)
    tastes = np.arange(num_items) // (num_items // num_tastes)
    draws = np.random.default_rng(5).integers(12, size=(num_items, 3))
    drawn: list[str | None] = [
        " ".join(f"word{taste}x{draw}" for draw in line) for taste, line in zip(tastes, draws, strict=True)
    ]
    popularity = np.bincount(train.items, minlength=num_items).astype(np.int64)
    vectors = fit_svd(train, num_items, BehaviorSettings())
    return Catalogue("1,200 drawn items", vectors, text_vectors(drawn), popularity, drawn, None)


def text_vectors(titles: list[str | None]) -> TextVectors:
    """Compute text vectors with a built-in backbone that is made from these titles."""
    index = np.array([item for item, title in enumerate(titles) if title], dtype=np.int32)
    texts = [title for title in titles if title]
    with tempfile.TemporaryDirectory() as folder:
        create_backbone(Path(folder), texts, (), phrases(), BackboneSettings())
        model, tokenizer = load_backbone(folder)
        return embed_texts(model, tokenizer, index, texts)


def main() -> None:
    """Fit every case, and write rows and a table."""
    arguments = argument_parser(__doc__).parse_args()
    set_torch_threads()
    catalogue = load(arguments.size)
    epochs = RqvaeSettings().epochs if arguments.size == "full" else 10
    measured = {
        case: measure(catalogue, settings, RqvaeSettings(epochs=epochs, **RQVAE.get(case, {})))
        for case, settings in cases(len(catalogue.vectors.item_index)).items()
    }
    published = measure_published(catalogue)
    if published is not None:
        measured[PUBLISHED] = published
    rows = [row for case, figures in measured.items() for row in rows_of(f"{catalogue.name}: {case}", figures)]
    finish(rows, arguments.json, markdown(catalogue.name, measured))


if __name__ == "__main__":
    main()
