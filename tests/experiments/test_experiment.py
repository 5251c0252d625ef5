"""Tables of the paper on a small shop: every shipped one is sound, rows share runs, nothing published is touched."""

import json
from operator import attrgetter
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from semconv.errors import InputError, SemconvError, SettingsError
from semconv.settings.load import load_settings
from semconv_cli.main import cli
from semconv_warehouse.experiments.experiment import mean_rows
from semconv_warehouse.experiments.plan import FIGURES, read_experiment, shipped
from tests.worlds.paths import ROOT
from tests.worlds.projects import make_project

QUICK = ("tuning.epochs=1", "tuning.validation_users=0", "evaluate.bootstrap_samples=20")


@pytest.mark.parametrize("name", shipped())
def test_shipped_tables_hold_valid_settings_and_published_figures(name: str) -> None:
    experiment = read_experiment(name)
    for row in experiment.rows:
        settings = {**experiment.settings, **row.settings}
        if settings.get("codebook.codes") == "items":
            settings["codebook.codes"] = 100
        load_settings(None, environment={}, overrides=settings)
    assert any(row.paper for row in experiment.rows)


def test_tables_are_the_papers_that_can_be_run() -> None:
    assert shipped() == [f"table{number}" for number in (1, 3, 4, 5, 6, 7, 8)]
    ours = {
        name: [row for row in read_experiment(name).rows if row.paper.get("ndcg@10") == 0.0724] for name in shipped()
    }
    assert all(len(rows) == 1 for rows in ours.values())  # the paper's own method stands in each


def test_rows_share_runs_and_leave_the_project_alone(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    before = project.runs()
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'title = "t"\n[settings]\n"tuning.validation_users" = 0\n'
        '[[row]]\nlabel = "counter"\nmethod = "transition"\npaper = { "ndcg@10" = 0.5 }\n'
        '[[row]]\nlabel = "model"\n[[row]]\nlabel = "no pull"\nsettings = { "codebook.alignment" = 0.0 }\n'
        '[[row]]\nlabel = "blend"\nmethod = "blend"\nsettings = { "blend.use" = "always" }\n'
    )
    rows = list(project.experiment(str(plan)))
    assert [row["label"] for row in rows] == ["counter", "model", "no pull", "blend"]
    assert rows[3]["finetune_run_id"] == rows[1]["finetune_run_id"]
    assert rows[3]["ndcg@10"] != rows[1]["ndcg@10"]
    assert rows[0]["evaluate_run_id"] == rows[1]["evaluate_run_id"] != rows[2]["evaluate_run_id"]
    assert rows[0]["ndcg@10"] != rows[1]["ndcg@10"]
    assert rows[0]["new_tokens"] == 2 * 16
    costs = ("tuning_samples", "tuning_processor_seconds", "ndcg@10_per_minute")
    assert [rows[0][name] for name in costs] == [None] * 3  # nothing is tuned for the counter
    folder = project.layout.data / "experiments" / "data" / "runs" / rows[1]["finetune_run_id"]
    figures = json.loads((folder / "figures.json").read_text())
    assert figures["processor_seconds"] > 0
    assert [rows[1][name] for name in costs[:2]] == [figures["samples"], figures["processor_seconds"]]
    assert rows[1][costs[2]] == pytest.approx(rows[1]["ndcg@10"] * 60 / figures["processor_seconds"])
    assert rows[3][costs[2]] / rows[1][costs[2]] == pytest.approx(rows[3]["ndcg@10"] / rows[1]["ndcg@10"])
    less = [[row[f"ndcg@10_less_first{end}"] for end in ("", "_low", "_high")] for row in rows]
    assert less[0] == [None] * 3
    for row, (difference, low, high) in zip(rows[1:], less[1:], strict=True):
        assert difference == pytest.approx(row["ndcg@10"] - rows[0]["ndcg@10"])
        assert low <= difference <= high
        assert high > low
    assert project.runs() == before
    again = list(project.experiment(str(plan)))
    strip = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
    assert [{key: value for key, value in row.items() if key != "seconds"} for row in again] == strip
    means = mean_rows(rows)
    assert means[0]["paper ndcg@10"] == 0.5
    assert means[1]["ndcg@10"] == rows[1]["ndcg@10"]
    assert isinstance(means[1]["tuning_samples"], int)  # the mean of whole numbers is printed without decimals
    assert [means[1][name] for name in costs] == [rows[1][name] for name in costs]
    assert means[0]["tuning_processor_seconds"] is None
    assert [row["ndcg@10_less_first"] for row in means] == [difference for difference, _, _ in less]
    half = mean_rows([rows[1], {**rows[1], "tuning_processor_seconds": None}])[0]
    assert half["tuning_processor_seconds"] is None  # a seed whose run kept no such time


def test_a_file_that_is_missing_is_told_from_a_table_that_nobody_knows(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with pytest.raises(InputError, match=r"^mine\.toml: no such file; give the path of a TOML file$"):
        list(project.experiment("mine.toml"))
    with pytest.raises(InputError, match="there is no experiment table2; give one of table1"):
        list(project.experiment("table2"))


def test_new_data_is_seen(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    plan = tmp_path / "plan.toml"
    plan.write_text('[[row]]\nlabel = "popular"\nmethod = "popularity"\n')
    (first,) = project.experiment(str(plan))
    more = tmp_path / "more.jsonl"
    lines = [{"user_id": "fresh", "item_id": f"i{number:03d}", "source_position": number} for number in range(4)]
    more.write_text("\n".join(map(json.dumps, lines)))
    project.ingest_interactions([more], {})
    (second,) = project.experiment(str(plan))
    assert second["num_users"] == first["num_users"] + 1


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("row = ", InputError, "TOML"),
        ("", InputError, "at least one"),
        ("[[row]]\n", InputError, "the row has no label"),
        ('[[row]]\nlabel = "a"\n[[row]]\nlabel = "a"\n', InputError, "same label"),
        ('[[row]]\nlabel = "a"\nsettings = { "tuning.epoch" = 1 }\n', SettingsError, "tuning.epoch"),
        ('[[row]]\nlabel = "a"\nset = 1\n', SettingsError, "unknown key set"),
        ('[[row]]\nlabel = "a"\npaper = { "mrr" = 1.0 }\n', SettingsError, "unknown key mrr"),
        ('[[row]]\nlabel = "a"\npaper = { "hr@5" = "high" }\n', InputError, "is not a number"),
        ('[[row]]\nlabel = "a"\nsettings = 3\n', InputError, "settings must be a TOML table"),
        ('[[row]]\nlabel = "a"\ncodes = "none.parquet"\n', InputError, "does not exist"),
        ("row = 3\n", InputError, "not a list of tables"),
        ("row = [3]\n", InputError, "row 1: this is not a table"),
    ],
)
def test_bad_plans_are_named(tmp_path: Path, text: str, error: type[SemconvError], says: str) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(text)
    with pytest.raises(error, match=says):
        read_experiment(str(file))


def test_unknown_table_lists_those_that_there_are() -> None:
    with pytest.raises(InputError, match="table1, table3"):
        read_experiment("table2")


def test_command_prints_our_row_beside_the_papers(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    arguments = ["--project", str(project.layout.root), "experiment", "table5"]
    for setting in (*QUICK, "behavior.source=svd"):
        arguments += ["--set", setting]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.stderr
    head, _, *lines = result.stdout.splitlines()
    assert head.split()[:6] == ["label", *FIGURES]
    assert "paper ndcg@10" in head
    assert [line[:5] for line in lines] == [f"C = {number}" for number in range(1, 6)]
    assert "0.0724" in next(line for line in lines if line.startswith("C = 4"))
    said = next(line for line in result.stderr.splitlines() if line.startswith("C = 4, seed 0: NDCG@10"))
    assert said.endswith("from the first row")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            'method = "sasrec"',
            "row x: there is no method sasrec; give one of model, popularity, recent-popularity, transition, transition-tuned, transition-smoothed, transition-two-hops, item-cosine, behavior-svd",
        ),
        (
            'settings = { "recommend.top_k" = 5 }',
            "row x: metrics at 10 need lists of 10 items; set recommend.top_k to at least 10",
        ),
        ('settings = { "codebook.levels" = 9 }', "codebook.levels = 9"),
    ],
)
def test_a_row_that_cannot_come_out_is_named_before_the_first_is_run(tmp_path: Path, row: str, says: str) -> None:
    project = make_project(tmp_path)
    plan = tmp_path / "plan.toml"
    plan.write_text(f'[[row]]\nlabel = "fine"\n[[row]]\nlabel = "x"\n{row}\n')
    with pytest.raises(SettingsError, match=says):
        list(project.experiment(str(plan)))
    assert not (project.layout.data / "experiments").exists()


def test_settings_may_be_written_as_in_the_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text('[settings.tuning]\nepochs = 2\n[[row]]\nlabel = "a"\nsettings.codebook.levels = 3\n')
    experiment = read_experiment(str(file))
    assert experiment.settings == {"tuning.epochs": 2}
    assert experiment.rows[0].settings == {"codebook.levels": 3}


def test_codes_made_elsewhere_make_a_row(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    pl.DataFrame(
        {
            "item_id": [f"i{number:03d}" for number in range(60)],
            "codes": [[number // 8, number % 8] for number in range(60)],
        }
    ).write_parquet(tmp_path / "codes.parquet")
    plan = tmp_path / "plan.toml"
    plan.write_text('[[row]]\nlabel = "foreign"\ncodes = "codes.parquet"\n[[row]]\nlabel = "fitted"\n')
    foreign, fitted = project.experiment(str(plan))
    assert foreign["finetune_run_id"] != fitted["finetune_run_id"]
    assert foreign["new_tokens"] == 16
    assert fitted["new_tokens"] == 32


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks" / "trials").glob("*.toml")), ids=lambda file: file.stem)
def test_trials_of_the_benchmarks_set_what_they_name(file: Path) -> None:
    experiment = read_experiment(str(file))
    for row in experiment.rows:
        wanted = {**experiment.settings, **row.settings}
        settings = load_settings(None, environment={}, overrides=wanted)
        assert wanted == {name: attrgetter(name)(settings) for name in wanted}
