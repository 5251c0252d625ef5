"""Notes of an experiment: held-out items that no list of a row can contain, and data without queries or times."""

import json
from pathlib import Path

import polars as pl
from click.testing import CliRunner

from semconv_cli.main import cli
from semconv_warehouse.project import Project
from tests.worlds.projects import SETTINGS, events, histories, item_id, make_project, write_lines

QUERIES = "No interaction has a query, so no row has samples of the query task (Alignment Task C of the paper)."
DATES = "No interaction has a time, so the row with dates reads no dates."


def plain_project(folder: Path) -> Project:
    """A project whose interactions have neither queries nor times."""
    project = Project.open(Project.init(folder, SETTINGS).root)
    rows = [{**row, "query": None} for row in events(histories())]
    project.ingest_interactions([write_lines(folder / "events.jsonl", rows)], {})
    return project


def test_items_out_of_reach_and_missing_data_are_named(tmp_path: Path) -> None:
    plain_project(tmp_path / "shop")
    few = {"item_id": [item_id(number) for number in range(20)], "codes": [[n // 8, n % 8] for n in range(20)]}
    pl.DataFrame(few).write_parquet(tmp_path / "codes.parquet")
    plan, report = tmp_path / "plan.toml", tmp_path / "out.md"
    plan.write_text(
        '[settings]\n"text.vectors" = "none"\n'
        '[[row]]\nlabel = "all codes"\n[[row]]\nlabel = "few codes"\ncodes = "codes.parquet"\n'
        '[[row]]\nlabel = "popularity"\nmethod = "popularity"\n'
        '[[row]]\nlabel = "with dates"\nsettings = { "tuning.history" = "items", "tuning.dates" = true }\n'
    )
    words = ["--project", str(tmp_path / "shop"), "experiment", str(plan)]
    found = json.loads(CliRunner().invoke(cli, [*words, "--report", str(report), "--json"]).stdout)
    rows = {row["label"]: row for row in found["rows"]}
    number, users = (rows["few codes"][name] for name in ("num_unreachable", "num_users"))
    targets = [items[-2] for items in histories().values() if len(items) >= 3]
    assert (number, users) == (sum(target >= 20 for target in targets), len(targets))
    assert "num_unreachable" not in rows["popularity"]
    unreachable = f"{number} of {users} held-out items can be in no list of the row few codes: {number} without codes."
    assert found["notes"][:2] == [QUERIES, DATES]
    assert unreachable in found["notes"]
    page, said = report.read_text(), CliRunner().invoke(cli, words).stdout
    for note in found["notes"]:
        assert f"\n- {note}\n" in page
        assert f"\n{note}\n" in said


def test_data_with_queries_and_lists_of_all_items_have_no_notes(tmp_path: Path) -> None:
    project = make_project(tmp_path / "shop")
    plan = tmp_path / "plan.toml"
    plan.write_text('[settings]\n"recommend.seen" = "kept"\n[[row]]\nlabel = "model"\n')
    experiment = project.experiment(str(plan))
    (row,) = experiment
    assert (row["num_unreachable"], row["why_unreachable"]) == (0, "")
    assert experiment.result()["notes"] == []


def test_rows_that_train_no_model_need_no_queries(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('[[row]]\nlabel = "popularity"\nmethod = "popularity"\n')
    assert plain_project(tmp_path / "shop").experiment(str(plan)).data_notes == []
