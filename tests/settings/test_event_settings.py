"""Weights and lists of event types in the settings file, in variables and on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from semconv.errors import SettingsError
from semconv.settings.events import EventSettings
from semconv.settings.load import load_settings
from semconv.settings.text import settings_template


def test_a_table_and_lists_are_read_from_toml(tmp_path: Path) -> None:
    file = tmp_path / "semconv.toml"
    file.write_text(
        '[events]\nweights = { view = 0.1, buy = 1, return = -1 }\ntargets = ["buy"]\nseen = ["buy", "view"]\n'
    )
    events = load_settings(file, environment={}).events
    assert dict(events.weights) == {"view": 0.1, "buy": 1.0, "return": -1.0}
    assert (events.targets, events.seen, events.repeats) == (("buy",), ("buy", "view"), "collapse")
    assert events.recorded() == {"weights": [["buy", 1.0], ["return", -1.0], ["view", 0.1]], "targets": ["buy"]}
    file.write_text("[events.weights]\nview = 0.1\n")
    assert load_settings(file, environment={}).events.weights == (("view", 0.1),)


def test_recorded_values_give_the_same_settings_again() -> None:
    events = EventSettings((("buy", 1.0), ("view", 0.1)), ("buy",), ("view",), "keep")
    other = EventSettings((("view", 0.0),), (), ("view",))
    assert other.as_recorded(events.recorded()) == events
    assert events.as_recorded({}) == EventSettings(seen=("view",))


def test_text_has_the_same_meaning() -> None:
    variables = {"SEMCONV_EVENTS_WEIGHTS": "view=0.1, add to cart=.3", "SEMCONV_EVENTS_TARGETS": "buy, rent"}
    events = load_settings(environment=variables, overrides={"events.repeats": "keep"}).events
    assert events.weights == (("view", 0.1), ("add to cart", 0.3))
    assert events.targets == ("buy", "rent")
    assert events.recorded()["repeats"] == "keep"


def test_the_defaults_are_recorded_by_nothing_and_written_as_toml(tmp_path: Path) -> None:
    """So runs of a project without event types are the same as before there were any."""
    assert EventSettings().recorded() == {}
    text = settings_template()
    assert "# weights = {}\n" in text
    file = tmp_path / "semconv.toml"
    file.write_text(text.replace("# weights = {}", "weights = {}").replace("# targets = []", "targets = []"))
    assert load_settings(file, environment={}).events == EventSettings()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weights", "view", "events.weights.view = 'view': must be a number"),
        ("weights", 3, "must be a table of numbers"),
        ("weights", {"view": "much"}, "events.weights.view = 'much': must be a number"),
        ("weights", {"view": float("inf")}, "must be a finite number"),
        ("targets", {"buy": 1}, "must be a list of names"),
        ("seen", ["buy", 1], "must be a list of names"),
        ("repeats", "drop", "must be one of collapse, keep"),
    ],
)
def test_other_values_are_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(environment={}, overrides={f"events.{name}": value})
