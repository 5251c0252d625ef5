"""An evaluation finds a transition that is always taken, and finds nothing in shuffled interactions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semconv.stages.night import fit_all
from semconv_warehouse.project import Project
from tests.worlds.stages.ring import made, overlap, ring, shuffled

Figures = Mapping[str, Mapping[str, Any]]


def evaluated(project: Project) -> Figures:
    """Method -> row of NDCG@10 of all users."""
    fit_all(project.workspace)
    rows = project.evaluate()
    return {row["method"]: row for row in rows if (row["segment"], row["name"], row["k"]) == ("all", "ndcg", 10)}


def test_in_shuffled_interactions_nothing_learned_beats_popularity(tmp_path: Path) -> None:
    project = made(tmp_path, shuffled(ring()))
    found = evaluated(project)
    learned = [method for method in found if "popularity" not in method]
    assert {"model", "transition", "transition-tuned", "item-cosine", "behavior-svd"} <= set(learned)
    for method in learned:
        assert overlap(found[method], found["popularity"]), (method, found[method], found["popularity"])


def test_a_transition_that_is_always_taken_is_found(tmp_path: Path) -> None:
    found = evaluated(made(tmp_path, ring()))
    finders = {"model", "transition", "transition-tuned", "blend"} & set(found)
    assert len(finders) >= 3
    for method in finders:
        assert found[method]["ci_low"] > max(0.5, found["popularity"]["ci_high"]), (method, found[method])
