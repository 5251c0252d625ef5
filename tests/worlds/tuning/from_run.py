"""New data of the small shop after its first tuning, and the command that tunes on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from semconv.artifacts import read_arrays
from semconv.runs.files import MODEL_FOLDER
from semconv_warehouse.project import Project
from tests.worlds import projects as case

GROWN = [f"u{user:03d}" for user in range(10)]  # users who return once


def tuned_by(root: Path, *args: str) -> tuple[dict[str, Any], str]:
    """Return the run that `semconv finetune` prints, and its stderr."""
    result = case.finetune(root, "--json", *args)
    return json.loads(result.stdout), result.stderr


def start_of(root: Path) -> str:
    """Return the id of the current tuning."""
    return Project.open(root).workspace.need("finetune").run_id


def grow(root: Path) -> None:
    """Add an interaction for each of ``GROWN``, so that its validation item moves into the train cut, and two items."""
    project = Project.open(root)
    more = [case.item(case.NUM_ITEMS + number) for number in range(2)]
    project.ingest_items([case.write_lines(root / "more.jsonl", more)], {})
    ends = {user: [case.histories()[user][-1] - 1] for user in GROWN}
    events = [row for user in GROWN for row in case.events({user: ends[user]}, len(case.histories()[user]))]
    project.ingest_interactions([case.write_lines(root / "later.jsonl", events)], {})


class Stopping(case.Remarks):
    """Interrupts the command at a progress line with this beginning."""

    def __init__(self, line: str) -> None:
        super().__init__()
        self.line = line

    def say(self, message: str) -> None:
        if message.startswith(self.line):
            raise KeyboardInterrupt
        super().say(message)


LORA = case.SETTINGS.replace(
    "[tuning]\nepochs = 1", "[tuning]\nmode = 'lora'\nlora_rank = 4\nlora_dropout = 0.2\nreplay = 0.5\nepochs = 2"
)
ADAPTER = "adapter_model.safetensors"


def make_tuned_adapter(folder: Path) -> Path:
    """Make a project with an adapter; items and interactions that are new since then are ingested."""
    root = case.make_coded_project(folder).layout.root
    (root / "semconv.toml").write_text(LORA)
    case.finetune(root)
    grow(root)
    return root


def model_folder(root: Path, run: dict[str, Any]) -> Path:
    return root / run["artifact_path"] / MODEL_FOLDER


def adapter(root: Path, run: dict[str, Any]) -> dict[str, Any]:
    return dict(read_arrays(model_folder(root, run) / ADAPTER))


def same(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)
