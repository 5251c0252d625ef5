"""The figures of `benchmarks.peers.pretrained`, each with its interval, and their tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.rows import Interval, markdown_table
from semconv import columns
from semconv.artifacts import read_arrays
from semconv.backbone.text_vectors import TextVectors
from semconv.metrics import bootstrap_interval, hit_ratio, ndcg, paired_bootstrap, target_ranks
from semconv.runs.files import BEHAVIOR_VECTORS, TEXT_VECTORS, USER_FIGURES
from semconv.stages.tune.tuned import TunedFiles
from semconv.tasks.text_tasks import ItemTextTask
from semconv.tokenization.text_map import fit_text_map
from semconv_warehouse.project import Project

DRAWN = {"samples": 1000, "confidence": 0.95, "seed": 0}
TEXTS = 200  # items whose text is asked for
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A figure of one model. ``lead`` is its paired difference from ``peer``."""

    model: str
    name: str
    value: float
    interval: Interval
    count: int  # of users, items or questions
    peer: str = ""
    lead: float | None = None
    lead_interval: Interval | None = None


class Cost(Protocol):
    """The cost of a command."""

    command: str
    seconds: float
    processor_seconds: float
    peak_memory_bytes: int


def figures_of(projects: Mapping[str, Project], questions: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Figure]:
    """Return the figures of all models; the second model is the peer of the first one."""
    found = []
    text = {name: _text_vectors(project) for name, project in projects.items()}
    lists = {name: _next_items(project) for name, project in projects.items()}
    texts = {name: _text_task(project) for name, project in projects.items()}
    first, second = projects
    for name in projects:
        found.append(_explained(name, *text[name]))
        model, popular = lists[name]["model"], lists[name]["popularity"]
        found.append(_figure(name, "next item, NDCG@10", model, "popularity", popular))
        if name == first:
            found.append(_figure(name, "next item, NDCG@10", model, second, lists[second]["model"]))
        found.append(
            _figure(
                name, "text task, HR@10", hit_ratio(texts[name][0], 10), "popularity", hit_ratio(texts[name][1], 10)
            )
        )
        if name == first:
            ours, theirs = (hit_ratio(texts[key][0], 10) for key in (first, second))
            found.append(_figure(name, "text task, HR@10", ours, second, theirs))
        found += [_question_figure(name, method, questions[name]) for method in ("question-model", "question-fused")]
    popular = lists[first]["popularity"]
    return [*found, _figure("popularity", "next item, NDCG@10", popular, "", None)]


def _figure(model: str, name: str, ours: Floats, peer: str, theirs: Floats | None) -> Figure:
    interval = bootstrap_interval(ours, **DRAWN)  # type: ignore[arg-type]
    if theirs is None:
        return Figure(model, name, float(ours.mean()), interval, len(ours))
    lead, low, high = paired_bootstrap(ours, theirs, **DRAWN)  # type: ignore[arg-type]
    return Figure(model, name, float(ours.mean()), interval, len(ours), peer, lead, (low, high))


def _text_vectors(project: Project) -> tuple[Floats, Floats]:
    """Return the squared errors of predicting the behaviour vectors of held-out items from text, and of the mean."""
    workspace = project.workspace
    text = TextVectors.load(workspace.intact(workspace.need(columns.EMBED_TEXT), TEXT_VECTORS))
    behavior = read_arrays(workspace.intact(workspace.need(columns.EMBED_BEHAVIOR), BEHAVIOR_VECTORS))
    _, ours, theirs = np.intersect1d(text.item_index, behavior["item_index"], return_indices=True)
    vectors = behavior["item_vectors"][theirs].astype(np.float64)
    _, predicted = fit_text_map(text.vectors[ours], vectors)
    return ((vectors - predicted) ** 2).sum(axis=1), ((vectors - vectors.mean(axis=0)) ** 2).sum(axis=1)


def _explained(model: str, errors: Floats, spread: Floats) -> Figure:
    """Return R^2 of the text vectors; the bootstrap draws items."""
    draws = np.random.default_rng(0).multinomial(len(errors), np.full(len(errors), 1 / len(errors)), size=1000)
    low, high = np.quantile(1 - (draws @ errors) / (draws @ spread), [0.025, 0.975])
    value = 1 - float(errors.sum() / spread.sum())
    return Figure(model, "text vectors, R^2 of held-out behaviour", value, (float(low), float(high)), len(errors))


def _next_items(project: Project) -> dict[str, Floats]:
    """Return NDCG@10 of each test user by method, users in one order."""
    workspace = project.workspace
    rows = pl.read_parquet(workspace.intact(workspace.need(columns.EVALUATE), USER_FIGURES)).sort("user_id")
    return {
        method: ndcg(rows.filter(pl.col("method") == method)["rank"].to_numpy(), 10)
        for method in ("model", "popularity")
    }


def _text_task(project: Project) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rank of an item after the prompt of its own text, for items drawn at random, and in popularity.

    The training had the texts of these items. So the figure says how much of the text task the model has learned.
    """
    workspace, task = project.workspace, ItemTextTask()
    catalog = workspace.store.catalog()
    tuned = TunedFiles.read(workspace, workspace.lineage(), catalog, None)
    loaded = tuned.load(workspace.settings, catalog.is_servable, workspace.progress.say)
    has_text = np.array([bool(title) for title in catalog.titles]) & loaded.encoder.has_codes
    items = np.sort(np.random.default_rng(0).choice(np.flatnonzero(has_text), TEXTS, replace=False)).astype(np.int32)
    prompts = [
        loaded.maker.of_query(
            loaded.encoder.tokenize([task.prompt([catalog.titles[i], catalog.descriptions[i]], 0)])[0]
        )
        for i in items.tolist()
    ]
    found = loaded.searcher.search(prompts, None).items
    popular = np.argsort(-tuned.codes.popularity, kind="stable")[:20].astype(np.int32)
    return target_ranks(found, items), target_ranks(np.tile(popular, (len(items), 1)), items)


def _question_figure(model: str, method: str, rows: Sequence[Mapping[str, Any]]) -> Figure:
    row = next(row for row in rows if (row["method"], row["name"], row["k"]) == (method, "hit_ratio", 10))
    name = {"question-model": "questions by the model, HR@10", "question-fused": "questions by all parts, HR@10"}[
        method
    ]
    return Figure(model, name, row["value"], (row["ci_low"], row["ci_high"]), row["num_users"])


def markdown(figures: Sequence[Figure], stages: Mapping[str, Sequence[Cost]]) -> str:
    """Return the table of figures and the table of costs."""
    lines = []
    for one in sorted(figures, key=lambda one: one.name):
        lead = "" if one.lead is None else f"{one.lead:+.4f}"
        value, of = f"{one.value:.4f}", str(one.count)
        lines.append([one.name, one.model, value, _words(one.interval), of, one.peer, lead, _words(one.lead_interval)])
    heads = ["figure", "model", "value", "95 % interval", "of", "less", "difference", "95 % interval of it"]
    costs = [
        [
            cost.command[:40],
            name,
            f"{cost.processor_seconds:.0f}",
            f"{cost.seconds:.0f}",
            f"{cost.peak_memory_bytes / 1e9:.2f}",
        ]
        for name, costs in stages.items()
        for cost in costs
    ]
    return "\n".join(
        [
            markdown_table(heads, lines),
            markdown_table(["command", "model", "processor seconds", "seconds", "peak memory, GB"], costs),
        ]
    )


def _words(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"
