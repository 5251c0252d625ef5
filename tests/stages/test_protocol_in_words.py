"""What `semconv evaluate` says of the protocol: with event types, repeats, and compared with another run."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from semconv.reports.protocol import entry_in_words, is_difference, joined_protocol, stated
from semconv_cli.main import cli
from tests.stages import test_held_out as shop

TARGETS = 'targets = ["purchase"]\n'
KEPT = 'repeats = "keep"\n'


def with_rules(rules: str) -> str:
    """The settings of the shop with further rules of events."""
    return shop.SETTINGS.replace("[events]\n", f"[events]\n{rules}", 1)


def evaluate(root: Path, *arguments: str) -> str:
    result = CliRunner().invoke(cli, ["--project", str(root), *arguments])
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("", "events (weights purchase 1, return -1, view 0.1)"),
        (TARGETS, "events (targets purchase; weights purchase 1, return -1, view 0.1)"),
        (KEPT, "events (repeats keep; weights purchase 1, return -1, view 0.1)"),
    ],
)
def test_the_rules_of_events_are_said_on_the_terminal_and_on_the_page(tmp_path: Path, rules: str, words: str) -> None:
    root, page = tmp_path / "shop", tmp_path / "page.html"
    shop.made(root, shop.viewed_and_bought(), with_rules(rules))
    assert f", {words}, " in evaluate(root, "evaluate", "--html", str(page))
    assert words.removeprefix("events (").removesuffix(")") in page.read_text()
    assert "events none" not in evaluate(root, "evaluate")


def test_two_runs_that_differ_in_one_setting_are_compared(tmp_path: Path) -> None:
    root, page = tmp_path / "shop", tmp_path / "page.html"
    run = shop.made(root, shop.viewed_and_bought()).evaluate()[0]["run_id"]
    longer = ("--set", "recommend.top_k=12")
    told = evaluate(root, *longer, "evaluate", "--against", run, "--html", str(page))
    assert "list_length 12 here and 10 there" in told
    assert "where" not in told.splitlines()[-1]
    assert "they differ in list_length." in page.read_text()
    other = evaluate(root, "--set", "recommend.where=item_id > ''", "evaluate", "--against", run)
    assert "where item_id > '' here and none there" in other
    same = evaluate(root, "evaluate", "--against", run)
    assert " here and " not in same


def test_entries_in_words() -> None:
    rules = {"weights": [["view", 0.5], ["purchase", 1.0]], "targets": ["purchase"]}
    assert entry_in_words(rules) == "weights view 0.5, purchase 1; targets purchase"
    assert entry_in_words({"decay": 0.25, "alpha": 1.0}) == "decay 0.25, alpha 1"
    assert [entry_in_words(value) for value in (12, "test", ["a", "b"], None, {}, False)] == [
        "12", "test", "a, b", "none", "none", "False",
    ]  # fmt: skip
    joined = joined_protocol({"k": 1, "events": {}, "where": "x"}, {"k": 1, "events": {}, "where": ""})
    assert joined == {"k": 1, "events": {}, "where": {"ours": "x", "theirs": ""}}
    assert [is_difference(value) for value in joined.values()] == [False, False, True]
    assert entry_in_words(joined["where"]) == "x here and none there"
    assert stated({"where": "", "events": {}, "types": [], "seed": 0, "no": None}) == {"seed": 0}
