"""Users who always go from an item to the next one on a ring, and the same interactions shuffled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semconv_warehouse.project import Project
from tests.worlds import projects as case

NUM_USERS = 240
SETTINGS = (
    case.SETTINGS.replace("width = 16", "width = 32")
    .replace("epochs = 1", "epochs = 12")
    .replace("validation_users = 20", "validation_users = 0")
    .replace("negatives = 1", "negatives = 0\nquery = false")
    .replace("bootstrap_samples = 50", "bootstrap_samples = 500")
    .replace("shard_users = 30", "shard_users = 240")
)


def ring() -> list[list[int]]:
    """User u starts somewhere on the ring of items, and after item a always comes a + 1."""
    rng = np.random.default_rng(0)
    lengths, starts = rng.integers(5, 11, NUM_USERS), rng.integers(0, case.NUM_ITEMS, NUM_USERS)
    return [
        ((start + np.arange(length)) % case.NUM_ITEMS).tolist() for start, length in zip(starts, lengths, strict=True)
    ]


def shuffled(histories: Sequence[Sequence[int]]) -> list[list[int]]:
    """The same interactions dealt out to the same users anew; what a user would have twice is left out."""
    items = np.random.default_rng(1).permutation(np.concatenate([np.array(history) for history in histories]))
    ends = np.cumsum([len(history) for history in histories])[:-1]
    return [list(dict.fromkeys(part.tolist())) for part in np.split(items, ends)]


def made(root: Path, histories: Sequence[Sequence[int]]) -> Project:
    Project.init(root, SETTINGS)
    project = Project.open(root, progress=case.Remarks())
    inputs = root / "inputs"
    inputs.mkdir()
    project.ingest_items([case.write_lines(inputs / "items.jsonl", [case.item(n) for n in range(case.NUM_ITEMS)])], {})
    rows = case.events({f"u{user:03d}": list(history) for user, history in enumerate(histories)})
    project.ingest_interactions([case.write_lines(inputs / "events.jsonl", rows)], {})
    return project


def overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one["ci_low"] <= other["ci_high"] and other["ci_low"] <= one["ci_high"])
