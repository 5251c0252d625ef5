"""The registry of methods: unique names, the order of reports, parameters, and the documentation of each method."""

from __future__ import annotations

import re

import pytest

from semconv.errors import SettingsError
from semconv.evaluation.methods import METHODS, baselines, compared_names, report_order, sql_method
from tests.worlds.paths import ROOT


def test_names_are_unique_and_documented_in_order() -> None:
    names = [method.name for method in METHODS]
    assert len(set(names)) == len(names)
    text = (ROOT / "docs" / "evaluation.md").read_text()
    table = text[text.index("## Methods") : text.index("## Protocol")]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")][1:]  # without the head
    assert [name for row in rows for name in re.findall("`([^`]+)`", row)] == names


def test_an_evaluation_compares_the_baselines_with_its_own_lists() -> None:
    counters = ("transition-smoothed", "transition-two-hops")
    shared = ("popularity", "recent-popularity", "transition", *counters, "item-cosine", "behavior-dccf")
    assert tuple(method.name for method in baselines("dccf", is_tuned=False)) == shared
    tuned = (*shared[:3], "transition-tuned", *shared[3:])
    assert compared_names("dccf", ["model", "blend"]) == ("model", "blend", *tuned)
    assert compared_names("dccf", ["model"], for_new=["newest"]) == ("model", *tuned, "newest")
    assert {method.name for method in METHODS if method.is_for_new} == {"newest", "text-cosine"}
    assert sorted(["other", *tuned, "blend", "model"], key=report_order) == ["model", "blend", *tuned, "other"]


def test_the_parameters_of_a_baseline_come_from_settings_and_constants() -> None:
    assert sql_method("recent-popularity").defaults() == {"half_life_days": 90.0}
    assert sql_method("transition").defaults().keys() == {"decay", "symmetry", "history_decay", "alpha"}
    assert sql_method("transition-two-hops").defaults().keys() >= {"hop_items", "hop_successors", "scale"}
    assert sql_method("transition-tuned").defaults() == sql_method("transition").defaults()
    with pytest.raises(SettingsError, match="unknown baseline model; known baselines are popularity,"):
        sql_method("model")
