"""The leaderboard from the command line to the report, on a small shop with dates and a tuned model."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from semconv_cli.main import cli
from semconv_warehouse.project import Project
from tests.worlds import dated
from tests.worlds import projects as case

pytestmark = pytest.mark.slow

LABELS = [
    "popularity",
    "popularity of 28 days",
    "transition",
    "transition, tuned",
    "transition, smoothed",
    "transition, two hops",
    "item cosine",
    "SASRec",
    "model, item head",
    "blend without model",
    "blend",
]
_TIMES = ("training_processor_seconds", "list_processor_seconds_per_1000_users")


def peers(root: Path, *arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["--project", str(root), "experiment", "peers", *arguments])
    assert result.exit_code == code, result.stderr
    return result


def untimed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in _TIMES} for row in rows]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(dated.tuned_template(), tmp_path_factory.mktemp("board") / "shop"))


def test_the_leaderboard_measures_the_projects_own_model_beside_peers(root: Path, tmp_path: Path) -> None:
    project = Project.open(root)
    before, tuned = project.runs(), project.workspace.need("finetune")
    report = tmp_path / "board.md"
    first = peers(root, "--split", "test", "--json", "--report", str(report))
    result = json.loads(first.stdout)
    rows = result["rows"]
    assert project.runs() == before  # nothing in the project itself changes
    assert list(dict.fromkeys(row["label"] for row in rows)) == LABELS
    assert {row["label"] for row in result["left_out"]} == {"model, both heads", "model, code head"}
    assert result["ranker"] == tuned.run_id
    of = {(row["label"], row["segment"]): row for row in rows}
    assert all(
        (row["split"], row["train_cut"], row["seen"], row["seed"]) == ("test", "[:-2]", "masked", 0) for row in rows
    )
    for label in LABELS:
        mine = {row["segment"]: row["num_users"] for row in rows if row["label"] == label}
        assert mine.pop("all") == sum(mine.values()) == result["num_users"]
        assert {"known transition"} <= set(mine) <= {"known transition", "new transition", "new target"}
    every = {label: of[label, "all"] for label in LABELS}
    assert result["references"]["reference"] == "blend without model"
    counters = LABELS[2:6]
    assert result["references"]["rival"] == max(counters, key=lambda label: every[label]["ndcg@10"])
    for metric in ("ndcg@10", "hr@10"):
        less = every["blend"][metric] - every["blend without model"][metric]
        assert every["blend"][f"{metric}_less_reference"] == pytest.approx(less)
        assert every["blend without model"][f"{metric}_less_reference"] is None
    assert every["model, item head"]["training_processor_seconds"] > 0
    limit = every["model, item head"]["training_processor_seconds"]
    assert 0 < every["SASRec"]["training_processor_seconds"] < limit + 1
    assert every["SASRec"]["reads"] == ["dates", "texts"]
    assert all(row["list_processor_seconds_per_1000_users"] >= 0 for row in rows)
    assert not any(row["is_chosen_on_these_users"] for row in rows)
    # The figures are those of `semconv evaluate` on the same lists.
    evaluated = json.loads(CliRunner().invoke(cli, ["--project", str(root), "evaluate", "--json"]).stdout)
    named = {(row["method"], row["name"], row["k"]): row for row in evaluated if row["segment"] == "all"}
    for label, method in (("model, item head", "model"), ("transition", "transition"), ("popularity", "popularity")):
        theirs = named[method, "ndcg", 10]
        ours = [every[label][name] for name in ("ndcg@10", "ndcg@10_low", "ndcg@10_high")]
        assert ours == [theirs[name] for name in ("value", "ci_low", "ci_high")]
    page = report.read_text()
    assert page.startswith("# Leaderboard: the project's model beside peers, 20")
    assert "## Targets whose transition was seen in training" in page
    assert "SASRec reads items and the dates of events and text vectors." in page
    figures = json.loads(report.with_suffix(".json").read_text())
    assert {row["unit"] for row in figures} >= {"mean over users", "s", "difference from blend without model"}
    # A second time, everything is there already.
    again = json.loads(peers(root, "--split", "test", "--json").stdout)
    assert untimed(again["rows"]) == untimed(rows)
    assert (again["references"], again["left_out"]) == (result["references"], result["left_out"])


def test_the_table_on_stdout_has_the_conditions_in_every_row_and_marks_what_was_chosen_here(root: Path) -> None:
    found = peers(root, "--peer-seconds", "0.2").stdout  # validation users
    tables = found.split("\n\n")
    assert tables[0].startswith("All targets\n")
    head, _, *lines = tables[0].splitlines()[1:]
    assert head.split()[-6:] == ["1,000", "train_cut", "seen", "split", "num_users", "seed"]
    assert all(line.split()[-5:-2] == ["[:-2]", "masked", "valid"] for line in lines)
    chosen = {line.split("  ")[0] for line in lines if line.split("  ")[0].endswith("*")}
    assert chosen == {"SASRec*", "transition, tuned*", "model, item head*", "blend without model*", "blend*"}
    assert "less_reference: the row less the row blend without model, paired over users" in found
    assert "*: chosen on users of this split, so the figures are too high; --split test is the fair comparison" in found


def test_without_dates_and_model_a_model_is_tuned_and_rows_are_left_out(tmp_path: Path) -> None:
    settings = case.SETTINGS.replace('history = "tokens"', 'history = "items"')
    project = case.make_project(tmp_path / "shop", settings=settings)
    result = json.loads(peers(project.layout.root, "--json", "--other-head", "--peer-seconds", "0.1").stdout)
    left_out = {row["label"]: row["reason"] for row in result["left_out"]}
    assert left_out["popularity of 28 days"] == "no training interaction has an event_time"
    assert project.workspace.latest("finetune") is None  # the model is not one of the project
    of = {row["label"]: row for row in result["rows"] if row["segment"] == "all"}
    assert of["SASRec"]["reads"] == ["texts"]
    assert of["model, code head"]["evaluate_run_id"] != of["model, item head"]["evaluate_run_id"]
    assert of["model, code head"]["num_users"] == of["model, item head"]["num_users"]


def test_a_project_that_ranks_without_a_model_has_a_leaderboard_too(tmp_path: Path) -> None:
    settings = case.SETTINGS.replace('use = "never"', 'use = "auto"\nmodel = false')
    project = case.make_project(tmp_path / "shop", settings=settings)
    for command in (project.backbone_create, project.embed_behavior, project.embed_text, project.blend):
        command()
    result = json.loads(peers(project.layout.root, "--json", "--peer-seconds", "0.1").stdout)
    left_out = {row["label"]: row["reason"] for row in result["left_out"]}
    assert (
        left_out["blend"] == left_out["model, item head"] == "the project ranks without a model (blend.model = false)"
    )
    assert {row["label"] for row in result["rows"]} == {*LABELS[:1], *LABELS[2:8], "blend without model"}


def test_a_counter_whose_search_is_off_is_left_out(root: Path) -> None:
    result = CliRunner().invoke(
        cli,
        [
            "--project",
            str(root),
            "--set",
            "evaluate.counter_search_users=0",
            "experiment",
            "peers",
            "--split",
            "test",
            "--json",
        ],
    )
    assert result.exit_code == 0, result.stderr
    left_out = {row["label"]: row["reason"] for row in json.loads(result.stdout)["left_out"]}
    assert "evaluate.counter_search_users = 0" in left_out["transition, tuned"]
