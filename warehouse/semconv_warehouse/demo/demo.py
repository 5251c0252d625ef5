"""Run the demo: create a project with generated data, run every stage, and show one user's list."""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from semconv import columns
from semconv.artifacts import atomic_path, machine_errors, write_bytes
from semconv.errors import InputError
from semconv.modes import OWNER_FILE, make_folder
from semconv.progress import Progress
from semconv_warehouse.demo.catalog import DemoData, DemoShape, generate
from semconv_warehouse.project import Project
from semconv_warehouse.store.layout import SETTINGS_FILE

ITEM_FILE = "items.jsonl"
INTERACTION_FILE = "interactions.parquet"
# Two columns of the files have other names than in the warehouse, as in files of users.
INTERACTION_COLUMNS = {columns.EVENT_TIME: "timestamp", columns.QUERY: "review"}
SHOWN_USER = 7
SHOWN_METHODS = ("model", "blend", "transition", "popularity")

DEMO_SETTINGS = """\
# Settings of the demo. Its shop is small, so codebooks and model are small too.
# `semconv init` writes a file that describes every setting.
[split]
k_core = 2

[backbone]
width = 64
layers = 2
heads = 4
mlp_width = 192
vocabulary = 2000
context = 1024

[codebook]
levels = 3
codes = 64

[tasks]
negatives = 1
negative_share = 0.1
position_share = 1.0

[tuning]
batch_tokens = 2048
validation_users = 500
validate_every = 6
"""


@dataclass(frozen=True)
class DemoFigure:
    """The NDCG@10 of one method on the test split with its confidence interval, and the hit ratio at 10."""

    method: str
    ndcg: float
    ci_low: float | None
    ci_high: float | None
    hit_ratio: float


@dataclass(frozen=True)
class DemoResult:
    """The results of the demo: one user's history and list, the metrics, and commands to try next."""

    directory: Path
    user_id: str
    history: list[dict[str, Any]]  # item_id, title; oldest first
    top_k: list[dict[str, Any]]  # rank, item_id, title, score
    figures: list[DemoFigure]
    best_possible_ndcg: float
    best_possible_hit_ratio: float
    generation: int
    seconds: float
    next_commands: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the result of the demo as plain values for JSON."""
        return asdict(self) | {"directory": str(self.directory)}

    def text(self) -> str:
        """Return the result of the demo as text for a terminal."""
        history = [f"  {entry['title'] or entry['item_id']}" for entry in self.history]
        top_k = [f"  {entry['rank']:>2}  {entry['title'] or entry['item_id']}" for entry in self.top_k]
        best = f"  {'best possible':<14} {self.best_possible_ndcg:>8.4f} {'':>18} {self.best_possible_hit_ratio:>8.4f}"
        lines = [
            f"History of {self.user_id}, oldest first:",
            *history,
            "",
            "Recommended items:",
            *top_k,
            "",
            "Metrics on the test split, seen items excluded:",
            f"  {'method':<14} {'NDCG@10':>8} {'interval':>18} {'HR@10':>8}",
            *[_figure_line(figure) for figure in self.figures],
            best,
            "",
            f"Generation {self.generation} is published in {self.directory} ({self.seconds:.0f} s). Try next:",
            *[f"  {command}" for command in self.next_commands],
        ]
        return "\n".join(lines)


def run_demo(directory: Path, progress: Progress, shape: DemoShape | None = None) -> DemoResult:
    """Create a project in ``directory``, ingest generated data, run every stage, and return the results.

    A second call for the same folder reuses the ingested data and the finished runs, and returns the same results.

    Args:
        shape: size of the shop, and how its customers choose items; by default that of the demo.

    Raises:
        InputError: the folder is not empty and not a demo project.
    """
    started = time.monotonic()
    directory = directory.resolve()
    _prepare(directory)
    data = generate(shape)
    files = directory / "input"
    with machine_errors(files):
        make_folder(files)
    write_items(data, files / ITEM_FILE)
    write_interactions(data, files / INTERACTION_FILE)
    project = Project.open(directory, progress=progress)
    for report in (
        project.ingest_items([files / ITEM_FILE], {}),
        project.ingest_interactions([files / INTERACTION_FILE], INTERACTION_COLUMNS),
    ):
        for line in report.summary():
            progress.say(line)
    outcome = project.run(refit=True)
    return _collect(project, data, outcome, time.monotonic() - started)


def write_items(data: DemoData, path: Path) -> None:
    """Write the items as JSON lines. Ingest stores fields for which the warehouse has no column as attributes."""
    rows = [
        {
            columns.ITEM_ID: item.item_id,
            columns.TITLE: item.title,
            columns.DESCRIPTION: item.description,
            columns.BRAND: item.brand,
            columns.CATEGORIES: item.categories,
            "material": item.attributes.get("material"),
            "series": item.attributes.get("series"),
        }
        for item in data.items
    ]
    write_bytes(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def write_interactions(data: DemoData, path: Path) -> None:
    """Write the interactions as Parquet, with rows in random order and times in UTC without a time zone."""
    users = [
        user_id
        for user_id, count in zip(data.user_ids, data.offsets[1:] - data.offsets[:-1], strict=True)
        for _ in range(count)
    ]
    table = pa.table(
        {
            columns.USER_ID: pa.array(users, pa.string()),
            columns.ITEM_ID: pa.array([data.item_ids[index] for index in data.sequence_items], pa.string()),
            INTERACTION_COLUMNS[columns.EVENT_TIME]: pa.array(data.times, pa.timestamp("us")),
            columns.RATING: pa.array(data.ratings, pa.float64()),
            INTERACTION_COLUMNS[columns.QUERY]: pa.array(data.queries, pa.string()),
        }
    )
    with atomic_path(path, OWNER_FILE) as temporary:
        pq.write_table(table.take(pa.array(data.file_rows)), temporary)


def _prepare(directory: Path) -> None:
    settings = directory / SETTINGS_FILE
    if settings.is_file():
        if settings.read_text() != DEMO_SETTINGS:
            raise InputError(
                f"{directory} is already a project with other settings than the demo; give `semconv demo` a new folder"
            )
        return
    if directory.exists() and any(directory.iterdir()):
        raise InputError(f"{directory} is not empty; give `semconv demo` a new folder")
    Project.init(directory, DEMO_SETTINGS)


def _collect(project: Project, data: DemoData, outcome: dict[str, Any], seconds: float) -> DemoResult:
    user_id = data.user_ids[SHOWN_USER]
    shown = project.show_user(user_id)
    return DemoResult(
        directory=project.layout.root,
        user_id=user_id,
        history=shown["history"],
        top_k=shown["recommendations"][:10],
        figures=_figures(project.evaluate()),
        best_possible_ndcg=data.best_possible_ndcg(10),
        best_possible_hit_ratio=data.best_possible_hit_ratio(10),
        generation=outcome["publication"]["generation"],
        seconds=seconds,
        next_commands=next_commands(project.layout.root, user_id),
    )


def _figures(rows: list[dict[str, Any]]) -> list[DemoFigure]:
    """Return NDCG@10 and the hit ratio at 10 of the methods that the demo shows, the best method first."""
    at_ten = {(row["method"], row["name"]): row for row in rows if _is_shown(row)}
    figures = [
        DemoFigure(
            method=method,
            ndcg=at_ten[method, "ndcg"]["value"],
            ci_low=at_ten[method, "ndcg"]["ci_low"],
            ci_high=at_ten[method, "ndcg"]["ci_high"],
            hit_ratio=at_ten[method, "hit_ratio"]["value"],
        )
        for method in SHOWN_METHODS
        if (method, "ndcg") in at_ten
    ]
    return sorted(figures, key=lambda figure: -figure.ndcg)


def _is_shown(row: dict[str, Any]) -> bool:
    shown = {"split": "test", "segment": "all", "seen": "masked", "k": 10}
    return all(row[name] == value for name, value in shown.items())


def _figure_line(figure: DemoFigure) -> str:
    known = figure.ci_low is not None and figure.ci_high is not None
    interval = f"{figure.ci_low:.4f} to {figure.ci_high:.4f}" if known else ""
    return f"  {figure.method:<14} {figure.ndcg:>8.4f} {interval:>18} {figure.hit_ratio:>8.4f}"


def next_commands(directory: Path, user_id: str) -> list[str]:
    """Return three command lines to try on the demo project, for SQL, a search query and Feast."""
    project = f"--project {shlex.quote(_shortest(directory))}"
    query = f"SELECT rank, title, reason_title FROM current_recommendation WHERE user_id = '{user_id}' ORDER BY rank"  # noqa: S608 - printed, not run
    return [
        f'semconv {project} sql "{query}"',
        f'semconv {project} recommend --query "a packable tripod for long exposures"',
        f"semconv {project} features get --user {user_id}",
    ]


def _shortest(directory: Path) -> str:
    here = Path.cwd()
    return str(directory.relative_to(here)) if directory.is_relative_to(here) else str(directory)
