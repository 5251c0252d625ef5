"""What each choice of the tokenization does to the codes, one case a row: no recommendation quality, and no peer.

``full`` takes Games: vectors of the default graph, text vectors of the titles through the embedded default backbone, and the
codes published for LC-Rec beside ours; ``small`` takes drawn items whose titles follow their taste. Beside the JSON a table
in Markdown is written. ``--size`` and ``--json`` as of every benchmark.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.codebook_data import games_behavior, games_titles, threads
from benchmarks.data import data_folder, drawn_sequences
from benchmarks.rows import Row, Size, Subject, arguments_of, finish
from semconv.backbone.create import create_backbone
from semconv.backbone.load import load_backbone
from semconv.backbone.text_vectors import TextVectors, embed_texts
from semconv.behavior.svd import fit_svd
from semconv.behavior.vectors import BehaviorVectors
from semconv.data.splits import train_part
from semconv.settings.backbone import BackboneSettings
from semconv.settings.behavior import BehaviorSettings
from semconv.settings.codebook import CodebookSettings, RqvaeSettings
from semconv.stages.codes.code_file import read_codes
from semconv.tasks.registry import phrases
from semconv.tokenization import quality
from semconv.tokenization.code_set import fit_code_set
from semconv.tokenization.collisions import colliding

SUBJECT = Subject("codebook_ablation", "", ["numpy", "scipy", "torch"])
PUBLISHED = "codes published for LC-Rec"
# Figure -> its unit, and what it is called in the table.
FIGURES = {
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
    """Items that are coded."""

    name: str
    vectors: BehaviorVectors
    texts: TextVectors
    popularity: NDArray[np.int64]  # (I,)
    titles: list[str | None]  # (I,)
    item_ids: list[str] | None  # where there are published codes of them

    def overlap(self, index: NDArray[np.int32], codes: NDArray[np.uint16]) -> dict[str, float | None]:
        """Title words in common within equal first two codes, with the codes shuffled, and at random."""
        return quality.agreement(codes, quality.Features.of_titles(self.titles[item] for item in index))


def cases(num_items: int) -> dict[str, CodebookSettings]:
    """Name -> settings: each differs from the default in what its name says."""
    default = CodebookSettings()
    changes: dict[str, dict[str, Any]] = {
        "default (lambda 0.1)": {},
        "with encoder and decoder (ED)": {"method": "rqvae"},
        "without alignment (w/o LA)": {"alignment": 0.0},
        **{f"lambda {weight:g}": {"alignment": weight} for weight in (0.03, 0.3, 1.0)},
        "absolute residuals": {"residual": "absolute"},
        "cosine distance": {"distance": "cosine"},
        "cosine alignment": {"alignment_distance": "cosine"},
        "assigned with both": {"assign_with": "both"},
        "best of 7 candidates at the start": {"candidates": 7},
        "without steadying by text (shrinkage 0)": {"shrinkage": 0.0},
        **{f"{levels} levels": {"levels": levels} for levels in (2, 3, 5, 6)},
    }
    # One level of few codes has no room for everyone: its collisions can only be counted.
    changes["1 level, collisions kept"] = {"levels": 1, "collisions": "keep"}
    changes["1 level, a code for each item (C=1)"] = {"levels": 1, "codes": num_items}
    return {name: replace(default, **values) for name, values in changes.items()}


def measure(catalogue: Catalogue, settings: CodebookSettings, epochs: int) -> dict[str, Any]:
    """Figures of a fit."""
    code_set = fit_code_set(
        catalogue.vectors,
        catalogue.texts.item_index,
        catalogue.texts.vectors,
        catalogue.popularity,
        settings,
        RqvaeSettings(epochs=epochs),
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
    """Figures of the published codes, as far as they need no books; None where there are none."""
    file = data_folder("games") / "lcrec_codes.parquet"
    if catalogue.item_ids is None or not file.is_file():
        return None
    found = read_codes(file, catalogue.item_ids)
    figures = _of_codes(catalogue, found.item_index, found.codes, found.num_codes)
    return figures | {"colliding items before": figures["colliding items after"]}


def _of_codes(
    catalogue: Catalogue, index: NDArray[np.int32], codes: NDArray[np.uint16], num_codes: int
) -> dict[str, Any]:
    """What needs no books."""
    levels = quality.level_figures(codes, num_codes)
    overlap = catalogue.overlap(index, codes)
    _, rows, places = np.intersect1d(index, catalogue.vectors.item_index, return_indices=True)
    within = quality.variance_within(codes[rows], catalogue.vectors.item_vectors[places])
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
    """A row for each figure, one a level where it has several."""
    rows = []
    for name, (unit, _) in FIGURES.items():
        value = figures.get(name)
        if isinstance(value, list):
            rows += [SUBJECT.row(case, f"{name} {n}", unit, ours=part) for n, part in enumerate(value, start=1)]
        elif value is not None:
            rows.append(SUBJECT.row(case, name, unit, ours=value))
    return rows


def markdown(name: str, measured: dict[str, dict[str, Any]]) -> str:
    """One line a case."""
    heads = ["case", *(short for _, short in FIGURES.values())]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for case, figures in measured.items():
        cells = [case, *(_cell(figures.get(figure)) for figure in FIGURES)]
        lines.append(f"| {' | '.join(cells)} |")
    meaning = (
        "Errors are mean squared distances to what an item's codes stand for, over the mean squared length of what was fitted; the moved"
        " items' before and after they got codes of their own. Variance within: of the behaviour vectors as they came, left"
        " within groups of equal first two codes, whoever made the codes. Entropy in bits and dead codes by level, after collisions"
        " were resolved. Title words: share of words in common of two items with the same first two codes, the same"
        " with the codes shuffled over the items, and of two items at random."
    )
    return f"# Codes of {name}, one choice changed at a time\n\n{meaning}\n\n" + "\n".join(lines) + "\n"


def _cell(value: float | list[float] | None) -> str:
    if isinstance(value, list):
        return " ".join(f"{part:.3g}" for part in value)
    return "" if value is None else f"{value:.4f}"


def load(size: Size) -> Catalogue:
    """Games with its titles, or drawn items with titles of their taste."""
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
    """Through a backbone that is made from these titles, as the pipeline makes it."""
    index = np.array([item for item, title in enumerate(titles) if title], dtype=np.int32)
    texts = [title for title in titles if title]
    with tempfile.TemporaryDirectory() as folder:
        create_backbone(Path(folder), texts, (), phrases(), BackboneSettings())
        model, tokenizer = load_backbone(folder)
        return embed_texts(model, tokenizer, index, texts)


def main() -> None:
    """Fit every case, write JSON rows and the table."""
    arguments = arguments_of(main.__doc__)
    threads()
    catalogue = load(arguments.size)
    epochs = RqvaeSettings().epochs if arguments.size == "full" else 10
    measured = {
        case: measure(catalogue, settings, epochs)
        for case, settings in cases(len(catalogue.vectors.item_index)).items()
    }
    published = measure_published(catalogue)
    if published is not None:
        measured[PUBLISHED] = published
    rows = [row for case, figures in measured.items() for row in rows_of(f"{catalogue.name}: {case}", figures)]
    finish(rows, arguments.json)
    if arguments.json is not None:
        arguments.json.with_suffix(".md").write_text(markdown(catalogue.name, measured))


if __name__ == "__main__":
    main()
