"""A project without a tuned model and without codes, and what the model adds to the blend of a project that has one."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from semconv.blend.features import feature_names
from semconv.errors import InputError, SettingsError
from semconv.reports.evaluation_page import evaluation_page
from semconv.stages.blend import files
from semconv.stages.evaluate.report import evaluation_report
from semconv_cli.main import cli
from semconv_warehouse.project import Project
from tests.worlds import listed
from tests.worlds import projects as case
from tests.worlds.once import made_once
from tests.worlds.parts import read_parts
from tests.worlds.stages.night import add_events, night, served

WITHOUT = case.SETTINGS.replace('use = "never"', "model = false")
STAGES = ["embed_behavior", "backbone", "embed_text", "blend", "recommend", "evaluate"]


def _first_night(folder: Path) -> None:
    project = case.make_project(folder, settings=WITHOUT)
    assert list(night(project)[0].items()) == [(stage, "done") for stage in STAGES]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return listed.copied(made_once("without-model", _first_night), tmp_path / "project", WITHOUT)


def test_a_night_publishes_lists_without_a_model_and_without_codes(project: Project) -> None:
    assert {run.stage for run in project.store.runs()} == {*STAGES, "tune_baseline"}
    have = {user: {case.item_id(number) for number in numbers} for user, numbers in case.histories().items()}
    lists = served(project)
    assert sorted(lists) == sorted(have)
    for user, rows in lists.items():
        assert [int(row[0]) for row in rows] == list(range(1, 11))
        assert not {row[1] for row in rows} & have[user]
    sources = {source for rows in lists.values() for row in rows for source in eval(row[3])}
    assert sources == {"transition", "neighbor"}
    assert all(check.passed for check in project.check())
    assert all(row["ok"] for row in project.doctor()), project.doctor()
    methods = {row["method"] for row in project.evaluate()}
    assert {"blend-without-model", "popularity", "transition"} <= methods
    assert not methods & {"model", "blend"}
    assert project.show_item("i001")["codes"] is None
    assert len(project.show_user("u001")["recommendations"]) == 10
    warm = {row["segment"] for row in project.evaluate() if row["name"] == "ndcg"}
    assert "warm target" in warm, "items without codes are not cold when nothing needs codes"
    assert not [row for row in project.evaluate() if row["name"] == "diversity"]


def test_a_second_night_keeps_all_and_new_events_recompute_their_user(project: Project) -> None:
    before = served(project)
    states = {"backbone": "kept", "embed_behavior": "kept", "embed_text": "kept", "blend": "kept"}
    assert night(case.reopened(project))[0] == {**states, "recommend": "reused", "evaluate": "reused"}
    have = case.histories()["u005"]
    add_events(project, case.events({"u005": [(have[-1] + 1) % 60]}, start=len(have)))
    project = case.reopened(project)
    found = night(project)[0]
    assert found["embed_behavior"] == found["blend"] == "kept (stale)"
    assert found["recommend"] == "done"
    after = served(project)
    assert {user for user in after if after[user] != before[user]} == {"u005"}
    assert any("since the vectors were made" in line for line in project.progress.said)  # type: ignore[attr-defined]


def test_a_blend_with_other_features_is_refused_in_one_line(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "feature_names", lambda tables: (*feature_names(tables), "a later feature"))
    add_events(project, case.events({"u001": [1, 2]}, start=90))
    with pytest.raises(
        InputError, match=r"fitted by another version, which computes other features; run `semconv blend`"
    ):
        project.recommend()


@pytest.mark.slow
def test_a_refit_is_due_when_interactions_grow(project: Project) -> None:
    more = {f"new{number}": [number % 60, (number + 1) % 60, (number + 3) % 60] for number in range(300)}
    add_events(project, case.events(more))
    project = case.reopened(project)
    refit = project.publish_due(refit=False).refit
    assert refit["is_due"]
    assert "training interactions" in refit["reasons"][0]
    project = case.reopened(project)
    states = night(project, refit=True)[0]
    assert states["blend"] == states["embed_behavior"] == "done"
    assert len(served(project)) == case.NUM_USERS + 300


def test_lists_without_a_model_need_no_codes(project: Project) -> None:
    rows = project.store.metric_rows(project.workspace.need("evaluate").run_id)
    assert {row["protocol"]["num_targets_without_codes"] for row in rows} == {0}


def test_the_page_and_a_prune_need_no_model(project: Project) -> None:
    run = project.workspace.need("evaluate")
    rows = project.store.metric_rows(run.run_id)
    report = evaluation_report(project.workspace, run, rows)
    assert report["own"] == ["blend-without-model"]
    assert report["gain"] == ""
    assert "blend-without-model" in evaluation_page(report)
    pruned = project.prune(1, dry_run=False)
    assert not pruned["runs"]
    assert night(case.reopened(project))[0]["recommend"] == "reused"


def test_vectors_alone_are_enough_and_text_is_left_out(tmp_path: Path) -> None:
    project = case.make_project(tmp_path / "project", settings=WITHOUT)
    with pytest.raises(InputError, match="no finished run of embed_behavior; `semconv embed behavior`"):
        project.blend()
    project.embed_behavior()
    with pytest.raises(InputError, match="no blend without a model yet"):
        project.recommend()
    names = [row["feature"] for row in project.blend()["weights"]]
    assert "transition" in names
    assert not [name for name in names if name.startswith(("text", "log p"))]
    said = project.progress.said  # type: ignore[attr-defined]
    assert any("no text vectors yet" in line for line in said)
    project.recommend()
    assert {run.stage for run in project.store.runs()} == {"embed_behavior", "blend", "recommend"}
    assert "lamp" in project.recommend_query("a red lamp", "u001")[0]["title"]  # by text, and by the user's history


def test_a_project_must_rank_by_something(project: Project) -> None:
    never = case.reopened(project, blend__use="never")
    for command in (never.blend, never.recommend, never.publish_due):
        with pytest.raises(SettingsError, match=r"blend.model = false and blend.use = never leave no method"):
            command()


@pytest.fixture(scope="module")
def blended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = listed.make_tuned(tmp_path_factory.mktemp("blend") / "tuned")
    (root / "semconv.toml").write_text(listed.ALWAYS)
    Project.open(root).blend()
    return root


def test_evaluations_show_what_the_model_adds(blended: Path, tmp_path: Path) -> None:
    project = listed.copied(blended, tmp_path / "project", listed.ALWAYS)
    rows = project.evaluate()
    of_all = {(row["method"], row["name"], row["k"]): row for row in rows if row["segment"] == "all"}
    assert {"model", "blend", "blend-without-model"} <= {method for method, _, _ in of_all}
    for name, k in (("ndcg", 10), ("hit_ratio", 1)):
        gain = of_all["blend", f"{name}_gain", k]
        difference = of_all["blend", name, k]["value"] - of_all["blend-without-model", name, k]["value"]
        assert gain["value"] == pytest.approx(difference)
        assert gain["ci_low"] <= gain["value"] <= gain["ci_high"]
        assert gain["protocol"]["less"] == "blend-without-model"
    run = project.workspace.need("evaluate")
    said = evaluation_report(project.workspace, run, rows)["gain"]
    assert said.startswith("NDCG@10 of the blend is ")
    assert ("blend.model = false" in said) == (of_all["blend", "ndcg_gain", 10]["ci_low"] <= 0)
    printed = CliRunner().invoke(cli, ["--project", str(project.layout.root), "evaluate"]).stdout
    assert said in printed
    evaluated = read_parts(project.book.folder(project.recommend(split="test")), method="blend-without-model")
    # The same blend, fitted and asked in a project that is set to use no model.
    apart = listed.copied(blended, tmp_path / "apart", listed.ALWAYS.replace("[blend]", "[blend]\nmodel = false"))
    apart.blend()
    alone = read_parts(apart.book.folder(apart.recommend(split="test")))
    assert alone.equals(evaluated)
    assert {run.stage for run in apart.workspace.lineage().runs} == {
        "blend",
        "embed_behavior",
        "embed_text",
        "backbone",
    }
