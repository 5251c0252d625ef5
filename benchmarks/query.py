"""The query task on reviews of users that training never saw: our search beside BM25 over the titles and popularity.

``full`` takes the Gift Cards data (Amazon 2018), ``small`` the demo's shop. Users are disjoint: of each seed 20 % are tested
and 10 % validate; the first seed chooses the settings, among ``CANDIDATES``, by hit ratio at 10 of its validation users. Every
method ranks the same items for the same texts: the whole catalogue, or those that anybody reviewed. Nothing is masked as
seen: nobody asked has a history. Ties of BM25 and its rankings without a match are in the order of popularity in training.

Cases: texts as they are; the words of the item's own title masked in what is asked; the same masked in training too; and the words of
every reviewed item's title masked in what is asked. The third can learn from what is missing: a brand that is left in a text is not
the item's. A text that a mask leaves empty is left out for all methods and counted.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.bm25 import Bm25
from benchmarks.data import data_folder
from benchmarks.query_data import Reviews, UserParts, training_project
from benchmarks.query_report import METRICS, counted, listed, markdown, rows_of
from benchmarks.rows import finish
from semconv.metrics import hit_ratio, target_ranks
from semconv.progress import Silent
from semconv.stages.night import fit_all
from semconv.stages.tune.tuned import TunedFiles
from semconv_warehouse.project import Project

LIST_LENGTH = 20
SEED_SETTINGS = ("behavior.seed", "backbone.seed", "codebook.seed", "tasks.seed", "tuning.seed")
SETTINGS: Mapping[str, Any] = {
    "split.train_cut": "[:]",  # training users alone are in the project
    "split.k_core": 1,
    "recommend.seen": "kept",
    "recommend.top_k": LIST_LENGTH,
    "tuning.validation_users": 0,
}
SMALL_SETTINGS: Mapping[str, Any] = {
    "backbone.width": 32,
    "backbone.layers": 1,
    "backbone.mlp_width": 96,
    "codebook.levels": 3,
    "codebook.codes": 64,
}
TEXT_ALONE: Mapping[str, Any] = {"tasks.sequential": False, "tasks.negatives": 0}
# What validation chooses from; the embedded default model in all of them.
# Few epochs learn which items are popular, and only many of the text task what an item is called.
CANDIDATES: Mapping[str, Mapping[str, Any]] = {
    "2 epochs": {"tuning.epochs": 2},
    "12 epochs": {"tuning.epochs": 12},
    "12 epochs, text and query tasks alone": {"tuning.epochs": 12, **TEXT_ALONE},
    "40 epochs": {"tuning.epochs": 40},
    "40 epochs, text and query tasks alone": {"tuning.epochs": 40, **TEXT_ALONE},
    "40 epochs, text and query tasks alone, dropout 0.2": {"tuning.epochs": 40, "tuning.dropout": 0.2, **TEXT_ALONE},
}
SMALL_CANDIDATES = {"2 epochs": {"tuning.epochs": 2}}


@dataclass(frozen=True)
class Shop:
    """What a benchmark runs on."""

    name: str
    reviews: Reviews
    settings: Mapping[str, Any]
    candidates: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Questions:
    """Texts with the item that each is about, asked of one training."""

    case: str
    asked: Reviews  # of users that were not trained on
    is_new: NDArray[np.bool_]  # whether no training review had the text, before anything was masked
    trained: Reviews  # what BM25's ties and popularity know
    model: Project


def load(size: Literal["small", "full"], folder: Path) -> Shop:
    """Gift Cards, or the demo's shop with a review for every interaction."""
    base = folder / "base"
    known = (base / "semconv.toml").is_file()
    if not known:
        Project.init(base, "# everything that was ingested\n")
    project = Project.open(base, progress=Silent())
    if size == "full":
        data = data_folder("gift_cards")
        if not known:
            project.ingest_amazon(data / "Gift_Cards_5.json.gz", data / "meta_Gift_Cards.json.gz")
        return Shop("Gift Cards", Reviews.read(project), SETTINGS, CANDIDATES)
    if not known:
        from semconv_warehouse.demo import demo
        from semconv_warehouse.demo.catalog import DemoShape, generate

        shop = generate(DemoShape(users=120, query_share=1.0))
        demo.write_items(shop, base / "items.jsonl")
        demo.write_interactions(shop, base / "interactions.parquet")
        project.ingest_items([base / "items.jsonl"], {})
        project.ingest_interactions([base / "interactions.parquet"], demo.INTERACTION_COLUMNS)
    return Shop("demo shop", Reviews.read(project), {**SETTINGS, **SMALL_SETTINGS}, SMALL_CANDIDATES)


def trained_project(folder: Path, reviews: Reviews, settings: Mapping[str, Any]) -> Project:
    """A project tuned on these reviews; what the folder has finished already is taken as it is."""

    project = training_project(folder, reviews, settings)
    fit_all(project.workspace)
    return project


def model_lists(project: Project, texts: list[str], allowed: NDArray[np.bool_]) -> NDArray[np.int32]:
    """What ``semconv recommend --query`` answers to each text, ``(n, 20)`` item_index, many at a time."""
    workspace = project.workspace
    files = TunedFiles.read(workspace, workspace.lineage(), len(allowed))
    tuned = files.load(workspace.settings, allowed, workspace.progress.say)
    prompts = [tuned.encoder.query_prompt(text)[-workspace.settings.tasks.max_prompt_tokens :] for text in texts]
    return tuned.searcher.search(prompts, None).items[:, : workspace.settings.recommend.top_k]


def peer_lists(
    texts: list[str], titles: list[str], popularity: NDArray[np.int64], allowed: NDArray[np.bool_]
) -> dict[str, NDArray[np.int32]]:
    """``(n, 20)`` item_index of BM25 over titles and of popularity."""
    order = np.argsort(-popularity, kind="stable")
    order = order[allowed[order]]  # the most popular first
    index = Bm25([title if may else "" for title, may in zip(titles, allowed, strict=True)])
    found = {text: order[np.argsort(-index.scores(text)[order], kind="stable")][:LIST_LENGTH] for text in set(texts)}
    return {
        "BM25 over titles": np.stack([found[text] for text in texts]).astype(np.int32),
        "popularity": np.tile(order[:LIST_LENGTH], (len(texts), 1)).astype(np.int32),
    }


def per_review(ranks: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Each metric's value of every review."""
    reciprocal = np.where(ranks > 0, 1.0 / np.maximum(ranks, 1), 0.0)
    return dict(zip(METRICS, (hit_ratio(ranks, 1), hit_ratio(ranks, 10), reciprocal), strict=True))


def interval(values: NDArray[np.float64], user: NDArray[np.int64], seed: int) -> tuple[float, float]:
    """95 % percentile interval of the mean over reviews, users drawn with replacement: one user's reviews are alike."""
    _, of_user = np.unique(user, return_inverse=True)
    sums, counts = np.bincount(of_user, values), np.bincount(of_user)
    draws = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=1000)
    low, high = np.quantile((draws @ sums) / (draws @ counts), [0.025, 0.975])
    return float(low), float(high)


def measure(questions: Questions, seed: int) -> Iterator[dict[str, Any]]:
    """Figures of every method by candidates and by which texts, each with its interval and that of the model's lead over it."""
    asked, trained = questions.asked, questions.trained
    popularity = np.bincount(trained.item, minlength=asked.items.num_rows)
    reviewed = np.zeros(asked.items.num_rows, dtype=bool)
    reviewed[np.concatenate([asked.item, trained.item])] = True
    texts = {"all texts": np.ones_like(questions.is_new), "texts that no training review has": questions.is_new}
    for candidates, allowed in (("whole catalogue", np.ones_like(reviewed)), ("reviewed items", reviewed)):
        lists = {"model": model_lists(questions.model, list(asked.text), allowed)}
        lists |= peer_lists(list(asked.text), asked.titles, popularity, allowed)
        values = {method: per_review(target_ranks(items, asked.item)) for method, items in lists.items()}
        for name, is_in in texts.items():
            if not is_in.any():
                continue
            for method, metric in ((m, k) for m in values for k in METRICS):
                mine, user = values[method][metric][is_in], asked.user[is_in]
                lead = values["model"][metric][is_in] - mine
                yield {
                    "case": f"{questions.case}; {candidates}; {name}",
                    "method": method,
                    "metric": metric,
                    "value": float(mine.mean()),
                    "interval": interval(mine, user, seed),
                    "lead": float(lead.mean()),
                    "lead_interval": interval(lead, user, seed),
                    "num_reviews": int(is_in.sum()),
                }


def choose(shop: Shop, folder: Path) -> tuple[str, dict[str, float]]:
    """The candidate with the best hit ratio at 10 among the first seed's validation users, and what each of them had."""
    parts = UserParts.draw(shop.reviews, 0)
    valid, allowed = shop.reviews.of(parts.valid), np.ones(shop.reviews.items.num_rows, dtype=bool)
    found = {}
    for name, settings in shop.candidates.items():
        project = trained_project(folder / "seed0-plain", shop.reviews.of(parts.train), {**shop.settings, **settings})
        ranks = target_ranks(model_lists(project, list(valid.text), allowed), valid.item)
        found[name] = float(hit_ratio(ranks, 10).mean())
        print(f"{name}: validation HR@10 {found[name]:.4f}", flush=True)
    return max(found, key=lambda name: found[name]), found


def cases(shop: Shop, settings: Mapping[str, Any], seed: int, folder: Path) -> Iterator[Questions]:
    """Every way to mask, for one seed."""
    parts = UserParts.draw(shop.reviews, seed)
    own, every = shop.reviews.masked(everywhere=False), shop.reviews.masked(everywhere=True)
    known = {text.lower() for text in shop.reviews.of(parts.train).text}
    is_new = np.array([text.lower() not in known for text in shop.reviews.text])
    seeds = dict.fromkeys(SEED_SETTINGS, seed)
    plain = trained_project(folder / f"seed{seed}-plain", shop.reviews.of(parts.train), {**settings, **seeds})
    masked = trained_project(folder / f"seed{seed}-masked", own.of(parts.train), {**settings, **seeds})
    for case, asked, trained, model in (
        ("texts as they are", shop.reviews, shop.reviews, plain),
        ("own title masked in questions", own, shop.reviews, plain),
        ("own title masked in questions and in training", own, own, masked),
        ("all titles masked in questions", every, shop.reviews, plain),
    ):
        is_asked = parts.test & np.array([bool(text) for text in asked.text])
        yield Questions(case, asked.of(is_asked), is_new[is_asked], trained.of(parts.train), model)


def main() -> None:
    """Choose settings, train every seed, print rows and keep a table beside the JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the rows there, and a table in Markdown beside it"
    )
    parser.add_argument("--size", choices=("small", "full"), default="small")
    parser.add_argument(
        "--seeds", type=int, help="users are cut and models drawn anew in each; 3 for full, 1 for small"
    )
    parser.add_argument(
        "--candidate", action="append", metavar="NAME", help="let validation choose among the named ones alone"
    )
    parser.add_argument("--folder", type=Path, help="keep the projects there, so that a killed run goes on")
    given = parser.parse_args()
    num_seeds = given.seeds or (3 if given.size == "full" else 1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        shop = load(given.size, folder)
        if unknown := set(given.candidate or ()) - set(shop.candidates):
            parser.error(f"no candidate {', '.join(sorted(unknown))}; there are {', '.join(shop.candidates)}")
        if given.candidate:
            shop = replace(shop, candidates={name: shop.candidates[name] for name in given.candidate})
        chosen, validation = choose(shop, folder)
        settings = {**shop.settings, **shop.candidates[chosen]}
        measured = [
            line | {"seed": seed}
            for seed in range(num_seeds)
            for questions in cases(shop, settings, seed, folder)
            for line in measure(questions, seed)
        ]
        remarks = [
            f"{given.size}, {num_seeds} seeds; chosen on validation: {chosen} (validation HR@10: {listed(validation)}).",
            *counted(shop.reviews),
        ]
        finish(rows_of(shop.name, measured), given.json)
        text = markdown(shop.name, measured, remarks)
        print(text)
        if given.json is not None:
            given.json.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
