"""Experiments on a small shop: rows share runs, seeds are pooled over users, nothing published is touched."""

import dataclasses
import json
import os
import statistics
from operator import attrgetter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from semconv.errors import InputError, LockedError, SettingsError
from semconv.settings.load import load_settings
from semconv_cli.main import cli
from semconv_warehouse.experiments.options import ExperimentOptions
from semconv_warehouse.experiments.plan import CODE_FIGURES, FIGURES, read_experiment
from semconv_warehouse.experiments.row_settings import plan_row
from semconv_warehouse.experiments.separate import experiment_lock
from semconv_warehouse.project import Project
from tests.worlds.paths import ROOT
from tests.worlds.projects import SETTINGS, make_project, reopened


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose tests share the runs of their experiments."""
    settings = SETTINGS.replace("[evaluate]\n", "[evaluate]\ncounter_search_users = 0\n")
    return make_project(tmp_path_factory.mktemp("experiments"), settings=settings)


def test_rows_share_runs_and_leave_the_project_alone(project: Project, tmp_path: Path) -> None:
    before = project.runs()
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'title = "t"\nreference = "model"\n'
        '[[row]]\nlabel = "counter"\nmethod = "transition"\npaper.Games = { "ndcg@10" = 0.5 }\n'
        '[[row]]\nlabel = "model"\n[[row]]\nlabel = "blend"\nmethod = "blend"\nsettings = { "blend.use" = "always" }\n'
        '[[row]]\nlabel = "SASRec"\npeer = "sasrec"\ntexts = true\ntime = "model"\n'
        '[[row]]\nlabel = "P5"\nleft_out = "no reason"\n'
        '[[claim]]\nbetter = "model"\nthan = "counter"\n[[claim]]\nbetter = "model"\nthan = "P5"\n'
    )
    experiment = project.experiment(str(plan))
    rows = list(experiment)
    assert [row["label"] for row in rows] == ["model", "counter", "blend", "SASRec"]  # the reference first
    model, counter, blend, peer = rows
    assert {row["train_cut"] for row in rows} == {"[:-2]"}
    assert blend["finetune_run_id"] == model["finetune_run_id"]
    assert blend["ndcg@10"] != model["ndcg@10"]
    assert counter["evaluate_run_id"] == model["evaluate_run_id"] != peer["evaluate_run_id"]
    assert counter["ndcg@10"] != model["ndcg@10"]
    assert model["new_tokens"] == blend["new_tokens"] == 2 * 16
    of_codes = {*CODE_FIGURES, "why_not_aligned"}
    assert of_codes <= model.keys() & blend.keys()
    assert not of_codes & {*counter, *peer}  # they use no codes
    costs = ("tuning_samples", "tuning_processor_seconds", "ndcg@10_per_minute")
    assert [counter[name] for name in costs] == [None] * 3  # nothing is trained for the counter
    folder = project.layout.data / "experiments" / "data" / "runs" / model["finetune_run_id"]
    figures = json.loads((folder / "figures.json").read_text())
    assert figures["processor_seconds"] > 0
    assert [model[name] for name in costs[:2]] == [figures["samples"], figures["processor_seconds"]]
    assert model[costs[2]] == pytest.approx(model["ndcg@10"] * 60 / figures["processor_seconds"])
    assert peer["tuning_samples"] > 0
    assert peer["tuning_processor_seconds"] < model["tuning_processor_seconds"] + 1  # a step may begin before the end
    less = [[row[f"ndcg@10_less_reference{end}"] for end in ("", "_low", "_high")] for row in rows]
    assert less[0] == [None] * 3
    for row, (difference, low, high) in zip(rows[1:], less[1:], strict=True):
        assert difference == pytest.approx(row["ndcg@10"] - model["ndcg@10"])
        assert low <= difference <= high
        assert high > low
    assert project.runs() == before
    again = list(project.experiment(str(plan)))
    strip = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
    assert [{key: value for key, value in row.items() if key != "seconds"} for row in again] == strip
    means = experiment.comparison.means()
    assert [row["label"] for row in means] == ["counter", "model", "blend", "SASRec"]  # the order of the table
    assert means[1]["ndcg@10"] == model["ndcg@10"]
    assert (means[1]["ndcg@10_low"], means[1]["ndcg@10_high"]) == (model["ndcg@10_low"], model["ndcg@10_high"])
    assert isinstance(means[1]["tuning_samples"], int)  # the mean of whole numbers is printed without decimals
    assert [means[0]["ndcg@10_less_reference"], means[0]["ndcg@10_less_reference_low"]] == less[1][:2]
    assert all("paper ndcg@10" not in row for row in means)
    result = experiment.result()
    assert "no data set of the paper has these counts" in result["published"]
    assert result["left_out"] == [{"label": "P5", "reason": "no reason"}]
    first, second = result["verdicts"]
    assert first["difference"] == pytest.approx(model["ndcg@10"] - counter["ndcg@10"])
    assert second["verdict"] == "not measured"


def test_two_experiments_at_once_are_refused(project: Project, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('[[row]]\nlabel = "model"\n')
    with (
        experiment_lock(project),
        pytest.raises(
            LockedError, match=rf"^an experiment is being computed by process {os.getpid()}; stop it or use --wait"
        ),
    ):
        list(project.experiment(str(plan)))


def test_two_names_of_one_backbone_are_refused(project: Project) -> None:
    with pytest.raises(SettingsError, match=r"built-in:1x8 and built-in:01x8 are the same backbone"):
        project.experiment("table6", ExperimentOptions(backbones=("built-in:1x8", "built-in:01x8")))


def test_a_project_without_a_model_is_refused(project: Project, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        '[[row]]\nlabel = "b"\nmethod = "blend"\nsettings = { "blend.use" = "auto", "blend.model" = false }\n'
    )
    with pytest.raises(SettingsError, match=r"row b: every row tunes a model, and blend\.model = false"):
        project.experiment(str(plan))


@pytest.mark.slow
def test_seeds_are_pooled_over_users(project: Project, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        '[[row]]\nlabel = "model"\n[[row]]\nlabel = "vectors"\nmethod = "behavior-svd"\n'
        '[[claim]]\nbetter = "model"\nthan = "vectors"\n'
    )
    experiment = project.experiment(str(plan), ExperimentOptions(seeds=(0, 1)))
    rows = list(experiment)
    assert [(row["label"], row["seed"]) for row in rows] == [("model", 0), ("model", 1), ("vectors", 0), ("vectors", 1)]
    model, vectors = experiment.comparison.means()
    mean = sum(row["ndcg@10"] for row in rows[:2]) / 2
    assert model["ndcg@10"] == pytest.approx(mean)
    assert model["ndcg@10_low"] < mean < model["ndcg@10_high"]
    assert vectors["ndcg@10_less_reference"] == pytest.approx(vectors["ndcg@10"] - mean)
    assert vectors["ndcg@10_less_reference_low"] < vectors["ndcg@10_less_reference"]
    assert model["ndcg@10_deviation"] == pytest.approx(statistics.stdev(row["ndcg@10"] for row in rows[:2]))
    assert vectors["ndcg@10_deviation"] >= 0
    (claim,) = experiment.comparison.verdicts()
    assert claim["by seed"] == pytest.approx(
        [rows[seed]["ndcg@10"] - rows[2 + seed]["ndcg@10"] for seed in (0, 1)], abs=1e-6
    )


def test_a_train_cut_with_the_held_out_items_is_refused(project: Project, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('[[row]]\nlabel = "model"\n[[row]]\nlabel = "SASRec"\npeer = "sasrec"\n')
    with_validation, everything = (reopened(project, split__train_cut=cut) for cut in ("[:-1]", "[:]"))
    with pytest.raises(SettingsError, match=r"row model: the train cut \[:-1\] contains the validation items; leave"):
        with_validation.experiment(str(plan))
    with pytest.raises(SettingsError, match=r"row model: the train cut \[:\] contains the held-out items"):
        everything.experiment(str(plan), ExperimentOptions("test"))
    refused = r"^row model, seed 0: the train cut \[:-1\] contains the validation items, and no finished run on \[:-2\]"
    with pytest.raises(SettingsError, match=refused):  # a run with another budget has other settings
        next(iter(with_validation.experiment(str(plan), ExperimentOptions("test", budget=900))))


def test_command_prints_rows_and_verdicts_and_writes_a_report(project: Project, tmp_path: Path) -> None:
    plan, report = tmp_path / "plan.toml", tmp_path / "out.md"
    plan.write_text(
        'title = "t"\n[[row]]\nlabel = "Ours"\n'
        '[[row]]\nlabel = "popularity"\nmethod = "popularity"\n'
        '[[row]]\nlabel = "untrained"\nsettings = { "tuning.learning_rate" = 1e-9 }\n'
        '[[row]]\nlabel = "wordless"\nsettings = { "text.vectors" = "none", "codebook.alignment" = 0.5 }\n'
        '[[claim]]\nbetter = "Ours"\nthan = "wordless"\n'
        '[[claim]]\nbetter = "Ours"\nthan = "popularity"\n[[claim]]\nbetter = "Ours"\nthan = "untrained"\n'
    )
    arguments = ["--project", str(project.layout.root), "experiment", str(plan), "--report"]
    refused = CliRunner().invoke(cli, [*arguments, str(tmp_path / "out.txt")])
    assert refused.exit_code == 2
    assert "the name of a report must end with .md" in refused.stderr
    result = CliRunner().invoke(cli, [*arguments, str(report)])
    assert result.exit_code == 0, result.stderr
    head, _, *lines = result.stdout.splitlines()
    assert head.split()[:6] == ["label", *FIGURES]
    assert [line.split()[0] for line in lines[:3]] == ["Ours", "popularity", "untrained"]
    assert "Ours > popularity" in result.stdout
    said = next(line for line in result.stderr.splitlines() if line.startswith("popularity, seed 0: NDCG@10"))
    assert said.endswith("from Ours")
    assert "rows may train on different numbers of samples; --budget" in result.stderr
    page = report.read_text()
    assert page.startswith("# t, ")
    assert "\n`semconv experiment plan.toml --split valid --seeds 1`\n" in page
    assert "| Ours > popularity |" in page
    (unlearned,) = [line for line in lines if line.startswith("not above popularity: ")]
    assert "untrained, wordless; these rows have learned too little" in unlearned
    assert "The codes of the row wordless are not aligned with text (seed 0: fewer than 10 items have both text" in page
    assert "The codes of the row wordless are not aligned with text (seed 0: fewer than 10" in lines[-1]
    claims = [line.split(" | ") for line in page.splitlines() if line.startswith("| Ours > ")]
    assert [cells[-1] for cells in claims if "untrained" in cells[0]] == ["not above popularity |"]
    assert [cells[-1] for cells in claims if "wordless" in cells[0]] == ["alignment is off |"]
    units = {row["unit"] for row in json.loads(report.with_suffix(".json").read_text())}
    assert units == {"mean over users", "difference from Ours", "samples", "s", "difference of the claim"}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            'method = "ours"',
            "row x: there is no method ours; give one of model, popularity, recent-popularity, transition, transition-tuned, transition-smoothed, transition-two-hops, item-cosine, behavior-svd",
        ),
        (
            'settings = { "recommend.top_k" = 5 }',
            "row x: metrics at 10 need lists of 10 items; set recommend.top_k to at least 10",
        ),
        ('settings = { "codebook.levels" = 9 }', "codebook.levels = 9"),
        (
            'settings = { "codebook.method" = "rqvae", "codebook.residual" = "absolute" }',
            "row x: codebook.method = rqvae supports only codebook.residual = signed and l2 distances",
        ),
        ('settings = { "recommend.beams" = 9 }', "row x: recommend.beams = 9: must be at least recommend.top_k = 10"),
        ('settings = { "backbone.width" = 10 }', "row x: backbone.width = 10: must be a multiple of 4, twice"),
        ('settings = { "backbone.path" = "./none" }', "row x: backbone ./none: no such folder; check the path"),
        ('settings = { "backbone.path" = "." }', "row x: backbone .*: no model configuration that transformers knows"),
    ],
)
def test_a_row_that_cannot_come_out_is_named_before_the_first_is_run(tmp_path: Path, row: str, says: str) -> None:
    project = make_project(tmp_path)  # without experiments so far
    plan = tmp_path / "plan.toml"
    plan.write_text(f'[[row]]\nlabel = "fine"\n[[row]]\nlabel = "x"\n{row}\n')
    with pytest.raises((SettingsError, InputError), match=says):
        project.experiment(str(plan))
    assert not (project.layout.data / "experiments").exists()


def test_settings_that_no_stage_of_a_row_reads_are_no_reason_to_refuse_it(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    pl.DataFrame({"item_id": ["i000"], "codes": [[0, 0]]}).write_parquet(tmp_path / "codes.parquet")
    plan = tmp_path / "plan.toml"
    plan.write_text(
        '[[row]]\nlabel = "item head"\nsettings = { "tuning.history" = "items", "recommend.beams" = 9 }\n'
        '[[row]]\nlabel = "codes"\ncodes = "codes.parquet"\n'
        'settings = { "codebook.method" = "rqvae", "codebook.residual" = "absolute" }\n'
        '[[row]]\nlabel = "hub"\nsettings = { "backbone.path" = "owner/model" }\n'
    )
    assert len(project.experiment(str(plan)).planned) == 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"seeds": (0, 1)}, "peers measures the project's own model, which was tuned once; leave --seeds out"),
        ({"budget": 5}, "which was tuned once; leave --budget out"),
        ({"backbones": ("a", "b")}, "peers has one backbone"),
    ],
)
def test_a_leaderboard_has_no_options_for_another_tuning(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    project = make_project(tmp_path)
    with pytest.raises(SettingsError, match=says):
        project.experiment("peers", ExperimentOptions(**options))
    for own in ({"peer_seconds": 1.0}, {"other_head": True}):
        with pytest.raises(SettingsError, match="table1 is no leaderboard; leave --peer-seconds and --other-head out"):
            project.experiment("table1", ExperimentOptions(**own))


def test_a_leaderboard_names_an_unknown_method_and_short_lists(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    plan = tmp_path / "plan.toml"
    plan.write_text('model = "project"\n[[row]]\nlabel = "x"\nmethod = "best"\n')
    with pytest.raises(
        SettingsError, match=r"row x: there is no method best; give one of model, blend, .*popularity-28-d"
    ):
        project.experiment(str(plan))
    with pytest.raises(SettingsError, match="peers: metrics at 10 need lists of 10 items"):
        reopened(project, recommend__top_k=5).experiment("peers")


def test_codes_made_elsewhere_make_a_row(project: Project, tmp_path: Path) -> None:
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


def test_a_row_starts_from_the_preset_for_its_backbone(project: Project) -> None:
    table, (row, *_) = read_experiment("table3"), read_experiment("table3").rows
    built_in = plan_row(project, table, row, 0, ExperimentOptions())
    assert (built_in.preset, built_in.settings.tuning.mode) == ("paper", "full")
    pretrained = plan_row(reopened(project, backbone__path="models/tiny"), table, row, 0, ExperimentOptions())
    assert (pretrained.preset, pretrained.settings.tuning.mode) == ("paper-llm", "lora")
    of_table = dataclasses.replace(table, settings={"backbone.path": "models/tiny"})
    pretrained = plan_row(project, of_table, row, 0, ExperimentOptions())
    assert (pretrained.preset, pretrained.settings.backbone.path) == ("paper-llm", "models/tiny")
