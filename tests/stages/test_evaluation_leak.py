"""What an evaluation must find, and what it must not: a transition that is always taken, and nothing in shuffled interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semconv.data import splits
from semconv.data.store import BaselineRequest
from semconv.metrics import bootstrap_interval, ndcg, target_ranks
from semconv.stages.night import fit_all
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
Figures = Mapping[str, Mapping[str, Any]]


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


def evaluated(project: Project) -> Figures:
    """Method -> row of NDCG@10 of all users."""
    fit_all(project.workspace)
    rows = project.evaluate()
    return {row["method"]: row for row in rows if (row["segment"], row["name"], row["k"]) == ("all", "ndcg", 10)}


def overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one["ci_low"] <= other["ci_high"] and other["ci_low"] <= one["ci_high"])


@pytest.mark.slow
def test_in_shuffled_interactions_nothing_learned_beats_popularity(tmp_path: Path) -> None:
    project = made(tmp_path, shuffled(ring()))
    found = evaluated(project)
    learned = [method for method in found if "popularity" not in method]
    assert {"model", "transition", "transition-tuned", "item-cosine", "behavior-svd"} <= set(learned)
    for method in learned:
        assert overlap(found[method], found["popularity"]), (method, found[method], found["popularity"])


def test_the_same_data_shows_a_leak_where_there_is_one(tmp_path: Path) -> None:
    """A counter that has counted the targets themselves stands out, so the test above can fail."""
    project = made(tmp_path, shuffled(ring()))
    sequences = project.store.sequences()
    targets = splits.targets(sequences, "test")
    spans = {}
    for name, cut in (("popularity", "[:-2]"), ("transition", "[:-2]"), ("transition", "[:]")):
        top = project.store.baseline_top_k(BaselineRequest(name, "test", cut, "masked", 10))  # type: ignore[arg-type]
        values = ndcg(target_ranks(top.items, targets[top.users]), 10)
        low, high = bootstrap_interval(values, samples=500, confidence=0.95, seed=0)
        spans[name, cut] = {"ci_low": low, "ci_high": high}
    assert overlap(spans["transition", "[:-2]"], spans["popularity", "[:-2]"])
    assert spans["transition", "[:]"]["ci_low"] > spans["popularity", "[:-2]"]["ci_high"]


@pytest.mark.slow
def test_a_transition_that_is_always_taken_is_found(tmp_path: Path) -> None:
    found = evaluated(made(tmp_path, ring()))
    finders = {"model", "transition", "transition-tuned", "blend"} & set(found)
    assert len(finders) >= 3
    for method in finders:
        assert found[method]["ci_low"] > max(0.5, found["popularity"]["ci_high"]), (method, found[method])
