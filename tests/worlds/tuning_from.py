"""New data of the small shop after its first tuning, and the command that tunes on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
