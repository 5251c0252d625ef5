"""The model's query task on reviews of users that training never saw, beside BM25 over the titles and popularity.

`semconv recommend --query` fuses the model with BM25 and more; `semconv evaluate --questions` measures the fused answers.

The size `full` takes the Gift Cards data (Amazon 2018), `small` a demo shop. Each seed divides the users: 70 % train,
10 % validate and 20 % test. The first seed chooses among `CANDIDATES` the settings with the best hit ratio at 10 of its
validation users. All methods rank the same items for the same texts: the whole catalogue, or all reviewed items. No item is
masked as seen, because the tested users have no history. BM25 orders ties and items without a match by popularity.

There are four cases: the texts as they are; the title of the review's item masked in the queries; the same title masked in
training too; the titles of all reviewed items masked in the queries. In the third case training can learn from missing
words: a brand that is still in a text is not the item's. Texts that masking leaves empty are left out for all methods, and
counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import data_folder
from benchmarks.peers.bm25 import Bm25
from benchmarks.peers.query_data import Reviews, UserParts, training_project
from benchmarks.peers.query_report import METRICS, markdown, remarks_on, rows_of
from benchmarks.rows import argument_parser, finish
from benchmarks.shop import SMALL_MODEL, demo_project
from semconv.metrics import hit_ratio, reciprocal_rank, target_ranks
from semconv.progress import Silent
from semconv.stages.night import fit_all
from semconv.stages.tune.tuned import TunedFiles
from semconv_warehouse.project import Project

LIST_LENGTH = 20
SEED_SETTINGS = ("behavior.seed", "backbone.seed", "codebook.seed", "tasks.seed", "tuning.seed")
SETTINGS: Mapping[str, Any] = {
    "split.train_cut": "[:]",  # the project holds only training users
    "split.k_core": 1,
    "recommend.seen": "kept",
    "recommend.top_k": LIST_LENGTH,
    "tuning.validation_users": 0,
}
TEXT_ALONE: Mapping[str, Any] = {"tasks.sequential": False, "tasks.negatives": 0}
# Validation chooses among these; all tune the built-in backbone.
# A few epochs learn which items are popular. Only many epochs of the text task learn the names of the items.
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
    """The data of the benchmark, with the settings to try."""

    name: str
    reviews: Reviews
    settings: Mapping[str, Any]
    candidates: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Questions:
    """Queries with the item that each is about, and the model that answers them."""

    case: str
    asked: Reviews  # of test users
    is_new: NDArray[np.bool_]  # whether no training review had the same text before masking
    trained: Reviews  # of training users; their items are the popularity
    model: Project


def load(size: Literal["small", "full"], folder: Path) -> Shop:
    """Load Gift Cards, or make a demo shop with a review for every interaction."""
    base = folder / "base"
    if size == "small":
        from semconv_warehouse.demo.catalog import DemoShape

        project = demo_project(base, DemoShape(users=120, query_share=1.0), {})
        return Shop("demo shop", Reviews.read(project), {**SETTINGS, **SMALL_MODEL}, SMALL_CANDIDATES)
    is_known = (base / "semconv.toml").is_file()
    if not is_known:
        Project.init(base, "# Gift Cards\n")
    project = Project.open(base, progress=Silent())
    if not is_known:
        data = data_folder("gift_cards")
        project.ingest_amazon(data / "Gift_Cards_5.json.gz", data / "meta_Gift_Cards.json.gz")
    return Shop("Gift Cards", Reviews.read(project), SETTINGS, CANDIDATES)


def trained_project(folder: Path, reviews: Reviews, settings: Mapping[str, Any]) -> Project:
    """Tune a project on these reviews. Runs that the folder has already are reused."""

    project = training_project(folder, reviews, settings)
    fit_all(project.workspace)
    return project


def model_lists(project: Project, texts: list[str], allowed: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the lists ``(n, 20)`` of item_index of the model's query task alone, for many texts at a time."""
    workspace = project.workspace
    files = TunedFiles.read(workspace, workspace.lineage(), workspace.store.catalog(), None)
    tuned = files.load(workspace.settings, allowed, workspace.progress.say)
    limit = workspace.settings.tasks.max_prompt_tokens
    prompts = [tuned.maker.of_query(tuned.encoder.query_prompt(text)[-limit:]) for text in texts]
    return tuned.searcher.search(prompts, None).items[:, : workspace.settings.recommend.top_k]


def peer_lists(
    texts: list[str], titles: list[str], popularity: NDArray[np.int64], allowed: NDArray[np.bool_]
) -> dict[str, NDArray[np.int32]]:
    """Return the lists ``(n, 20)`` of item_index of BM25 over titles and of popularity."""
    order = np.argsort(-popularity, kind="stable")
    order = order[allowed[order]]  # the most popular first
    index = Bm25([title if may else "" for title, may in zip(titles, allowed, strict=True)])
    found = {text: order[np.argsort(-index.scores(text)[order], kind="stable")][:LIST_LENGTH] for text in set(texts)}
    return {
        "BM25 over titles": np.stack([found[text] for text in texts]).astype(np.int32),
        "popularity": np.tile(order[:LIST_LENGTH], (len(texts), 1)).astype(np.int32),
    }


def per_review(ranks: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Return the value of each metric for every review."""
    values = (hit_ratio(ranks, 1), hit_ratio(ranks, 10), reciprocal_rank(ranks, LIST_LENGTH))
    return dict(zip(METRICS, values, strict=True))


def interval(values: NDArray[np.float64], user: NDArray[np.int64], seed: int) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean over reviews.

    Users are drawn with replacement, not reviews, because the reviews of one user are alike.
    """
    _, of_user = np.unique(user, return_inverse=True)
    sums, counts = np.bincount(of_user, values), np.bincount(of_user)
    draws = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=1000)
    low, high = np.quantile((draws @ sums) / (draws @ counts), [0.025, 0.975])
    return float(low), float(high)


def measure(questions: Questions, seed: int) -> Iterator[dict[str, Any]]:
    """Yield the figures of every method with intervals, and the model's leads, for each set of candidates and texts."""
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
    """Return the candidate with the best hit ratio at 10 for the first seed's validation users, and that of each one."""
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
    """Yield the queries of every case for one seed."""
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
    """Choose settings, train every seed, and print rows and tables."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--seeds", type=int, help="number of seeds of users and models; default: 3 for full, 1 for small"
    )
    parser.add_argument(
        "--candidate", action="append", metavar="NAME", help="settings that validation may choose; default: all"
    )
    parser.add_argument("--folder", type=Path, help="keep the projects in this folder, so that a killed run can resume")
    given = parser.parse_args()
    num_seeds = given.seeds or (3 if given.size == "full" else 1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        shop = load(given.size, folder)
        if unknown := set(given.candidate or ()) - set(shop.candidates):
            parser.error(f"no candidate {', '.join(sorted(unknown))}; choose from {', '.join(shop.candidates)}")
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
        scores = ", ".join(f"{name} {value:.4f}" for name, value in validation.items())
        remarks = [
            f"{given.size}, {num_seeds} seeds; chosen on validation: {chosen} (validation HR@10: {scores}).",
            *remarks_on(shop.reviews),
        ]
        finish(rows_of(shop.name, measured), given.json, markdown(shop.name, measured, remarks))


if __name__ == "__main__":
    main()
