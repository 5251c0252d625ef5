"""A small shop whose customers move around a ring of items, as files, and a project that trains in a second on it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result

from semconv.progress import Silent
from semconv_cli.main import cli
from semconv_warehouse.project import Project
from tests.worlds.once import made_once, short_name

NUM_ITEMS, NUM_USERS = 60, 80
# A metric's protocol without the ids of runs, which hold the second in which they began.
PROTOCOL = """json_merge_patch(protocol, '{"behavior_run": null, "tuned_by": null}')"""

SETTINGS = """
[split]
k_core = 2
[behavior]
dimensions = 8
[backbone]
width = 16
layers = 1
heads = 2
mlp_width = 32
vocabulary = 320
context = 512
[codebook]
levels = 2
codes = 16
iterations = 4
[tasks]
negatives = 1
[tuning]
epochs = 1
batch_tokens = 2048
history = "tokens"
validation_users = 20
[blend]
use = "never"
[recommend]
top_k = 10
shard_users = 30
[evaluate]
bootstrap_samples = 50
[gates]
max_quality_drop = 0
above_popularity = false
"""
# With the gates on quality, whose lists take time. Models of one epoch would not pass them.
WITH_ALL_GATES = SETTINGS[: SETTINGS.index("[gates]")]
KINDS = ("lamp", "chair", "table", "rug", "shelf", "vase")
COLOURS = ("red", "green", "blue", "white", "black", "grey", "brown", "yellow", "pink", "violet")


def item_id(number: int) -> str:
    return f"i{number:03d}"


def user_id(number: int) -> str:
    return f"u{number:03d}"


def item(number: int) -> dict[str, Any]:
    kind, colour = KINDS[number * len(KINDS) // NUM_ITEMS % len(KINDS)], COLOURS[number % len(COLOURS)]
    return {"item_id": item_id(number), "title": f"{colour} {kind}", "description": f"A {kind} in {colour}."}


def histories() -> dict[str, list[int]]:
    """User u starts somewhere and goes on by one or two items; the last users have three items, two and one."""
    rng = np.random.default_rng(0)
    lengths = [*rng.integers(4, 12, NUM_USERS - 3).tolist(), 3, 2, 1]
    starts = rng.integers(0, NUM_ITEMS, NUM_USERS)
    steps = [np.cumsum(rng.integers(1, 3, length)) for length in lengths]
    return {user_id(user): ((starts[user] + steps[user]) % NUM_ITEMS).tolist() for user in range(NUM_USERS)}


def events(of: dict[str, list[int]], start: int = 0) -> list[dict[str, Any]]:
    """Rows of an interaction file; positions of every user count from ``start``."""
    return [
        {
            "user_id": user,
            "item_id": item_id(number),
            "source_position": place,
            "query": f"something like a {item(number)['title']}" if place % 4 == 0 else None,
        }
        for user, numbers in of.items()
        for place, number in enumerate(numbers, start)
    ]


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Remarks(Silent):
    """Keeps what is said to the user."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def make_project(root: Path, *, settings: str = SETTINGS, items: int = NUM_ITEMS) -> Project:
    """A project with everything ingested and nothing run."""
    names = short_name(item_id(0), user_id(0), *KINDS)  # projects with other names are other ones
    return _copied(made_once(f"ingested-{items}-{names}", lambda folder: _ingest(folder, items)), root, settings)


def make_coded_project(root: Path) -> Project:
    """The same with codes, and nothing tuned."""
    return _copied(made_once("coded", _code), root, SETTINGS)


def _copied(template: Path, root: Path, settings: str) -> Project:
    shutil.copytree(template, root, dirs_exist_ok=True)
    (root / "semconv.toml").write_text(settings)
    return Project.open(root, progress=Remarks())


def _ingest(folder: Path, items: int) -> None:
    """Make the project that :func:`make_project` copies."""
    root = Project.init(folder, SETTINGS).root
    project = Project.open(root, progress=Remarks())
    inputs = root / "inputs"
    inputs.mkdir()
    project.ingest_items([write_lines(inputs / "items.jsonl", [item(number) for number in range(items)])], {})
    project.ingest_interactions([write_lines(inputs / "events.jsonl", events(histories()))], {})


def _code(folder: Path) -> None:
    project = make_project(folder)
    for command in (project.backbone_create, project.embed_behavior, project.embed_text, project.codebook_fit):
        command()


def finetune(root: Path, *args: str, code: int = 0) -> Result:
    """`semconv finetune` in the project at ``root``."""
    result = CliRunner().invoke(cli, ["--project", str(root), "finetune", *args])
    assert result.exit_code == code, result.stderr
    return result


def without_digests(root: Path) -> None:
    """Drop the checksums of finished runs, except those of lists, so that a reader meets damage without a warning."""
    for path in root.rglob("complete.json"):
        facts = json.loads(path.read_text())
        parts = {name: digest for name, digest in facts["files"].items() if name.startswith("part-")}
        path.write_text(json.dumps({**facts, "files": parts}))


def reopened(project: Project, **overrides: Any) -> Project:
    """The same project as a later command sees it; ``section__key=value`` overrides a setting."""
    dotted = {name.replace("__", ".", 1): value for name, value in overrides.items()}
    return Project.open(project.layout.root, overrides=dotted, progress=Remarks())


def rows(project: Project, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query on the warehouse."""
    with project.store.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]
