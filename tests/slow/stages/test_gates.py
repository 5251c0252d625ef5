"""Models, blends and methods that a gate on quality refuses or passes, and the disasters with processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from semconv_warehouse.project import Project
from tests.worlds import dated, listed
from tests.worlds import projects as case
from tests.worlds.gated import EVERYONE, done, forced, make_gated, refused, semconv, state, write_lists

pytestmark = pytest.mark.slow

NO_GATE_ON_ITEMS = "[gates]\nmin_items = 0\n"
MODEL = listed.SETTINGS[: listed.SETTINGS.index("[gates]")] + NO_GATE_ON_ITEMS  # blend.use = "never"
BLEND = MODEL.replace('use = "never"', 'use = "always"')
WITHOUT_MODEL = MODEL.replace('use = "never"', "model = false")


@pytest.fixture(scope="module")
def blended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that serves the lists of a blend; its model was trained for one epoch and ranks far worse."""
    root = listed.make_tuned(tmp_path_factory.mktemp("gates") / "project")
    (root / "semconv.toml").write_text(BLEND)
    for command in ("blend", "recommend"):
        done(root, command)
    first = semconv(root, "publish")
    assert first.exit_code == 0
    assert "because the model of these lists has no evaluation" in first.stderr
    return root


@pytest.fixture
def root(blended: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(blended, tmp_path / "project"))


def with_settings(root: Path, settings: str) -> Path:
    (root / "semconv.toml").write_text(settings)
    return root


def evaluated_lists(root: Path) -> list[dict[str, Any]]:
    """Return the recommend runs for evaluation, the one that was made or reused last first."""
    runs = [run for run in Project.open(root).runs() if run["stage"] == "recommend"]
    return [run for run in runs if run["settings"]["split"] == "test"]


def test_a_worse_method_is_refused_until_it_is_forced(root: Path) -> None:
    assert done(root, "publish")["is_new"] is False
    assert evaluated_lists(root) == []  # the lists are served already, so nothing is scored
    done(with_settings(root, MODEL), "recommend")
    (line,) = refused(root, "publish")
    assert "gate max_quality_drop: NDCG@10 is" in line
    assert "with the new model and" in line
    assert "with the served blend on the same 80 users" in line
    made = evaluated_lists(root)
    assert len(made) == 2
    assert len({run["run_id"] for run in made if "method" not in run["settings"]}) == 1  # the model alone was searched
    before = state(root)
    night = semconv(root, "run")
    assert night.exit_code == 1
    assert "gate max_quality_drop" in night.stderr
    assert state(root)["served"] == before["served"]
    assert {run["run_id"] for run in evaluated_lists(root)} == {
        run["run_id"] for run in made
    }  # reused, also by the night
    assert done(root, "publish", "--force")["forced"] == ["max_quality_drop"]
    assert forced(root) == {2: ["max_quality_drop"]}
    assert done(root, "publish")["is_new"] is False  # the worse model is the served one now
    done(root, "publish", "--rollback")  # which passes no gate
    refused(root, "publish")  # and the worse lists are compared again


def test_a_gate_that_is_off_scores_nothing(root: Path) -> None:
    done(with_settings(root, MODEL), "recommend")
    off = ("--set", "gates.max_quality_drop=0", "--set", "gates.above_popularity=false")
    assert semconv(root, *off, "publish", "--force").exit_code == 0
    assert forced(root) == {}
    assert evaluated_lists(root) == []


def test_a_blend_without_a_model_replaces_a_blend_and_a_model_alone_does_not(root: Path) -> None:
    with_settings(root, WITHOUT_MODEL)
    for command in ("blend", "recommend", "publish"):
        done(root, command)
    done(with_settings(root, MODEL), "recommend")
    (line,) = refused(root, "publish")
    assert "with the served blend-without-model on the same 80 users" in line


def test_a_model_on_other_codes_is_compared_on_the_lists_that_the_night_evaluated(root: Path) -> None:
    old = Project.open(root).workspace.need("codebook").run_id
    night = semconv(root, "--set", "codebook.codes=20", "run", "--refit")
    assert night.exit_code == 0, night.stderr
    assert "gate" not in night.stderr
    assert Project.open(root).workspace.need("codebook").run_id != old
    assert len(evaluated_lists(root)) == 2  # those of the evaluation, and those of the served model on its own codes
    evaluation = Project.open(root).workspace.need("evaluate")
    newest = Project.open(root).book.finished("recommend")
    assert next(run for run in newest if run.settings["split"] == "test").run_id in evaluation.inputs


def test_external_lists_for_some_users_hide_no_worse_model(root: Path, tmp_path: Path) -> None:
    done(root, "recommend", "load", "--merge", write_lists(tmp_path / "few.parquet", EVERYONE[:2], shift=3))
    done(root, "publish")
    done(with_settings(root, MODEL), "recommend")
    (line,) = refused(root, "publish")
    assert "with the served blend on the same 80 users" in line
    done(root, "recommend", "load", write_lists(tmp_path / "all.parquet", shift=3))
    done(root, "publish", "--force")
    done(root, "recommend")
    result = semconv(root, "publish")  # nobody knows how good external lists are
    assert result.exit_code == 0
    assert "gate max_quality_drop: the new lists could not be compared with the served ones" in result.stderr


def test_models_under_another_split_are_compared_where_the_held_out_items_agree(tmp_path: Path) -> None:
    root = Path(shutil.copytree(dated.tuned_template(), tmp_path / "project"))
    by_one = dated.SETTINGS[: dated.SETTINGS.index("[gates]")] + NO_GATE_ON_ITEMS
    in_time = by_one.replace("[split]\n", '[split]\ntemporal_at = "0.8"\n')
    with_settings(root, by_one)
    for command in ("recommend", "publish"):
        done(root, command)
    with_settings(root, in_time)
    for command in ("embed behavior", "codebook fit", "finetune", "recommend"):
        done(root, *command.split())
    result = semconv(root, "publish")
    assert result.exit_code == 0
    assert (
        "have a held-out item that is the same under both splits, and a comparison needs at least 30" in result.stderr
    )
    # Nothing is learned, and there are no counts, which make even such a model a good one.
    nothing = in_time.replace("epochs = 8", "epochs = 1\nsuccessor_items = 0").replace("= 0.01\n", "= 1e-9\n")
    with_settings(root, nothing)
    for command in ("finetune", "recommend"):
        done(root, command)
    (line,) = refused(root, "publish")
    assert "gate max_quality_drop" in line


def test_a_model_on_vectors_that_learned_from_after_the_cut_is_not_compared(tmp_path: Path) -> None:
    root = Path(shutil.copytree(dated.tuned_template(), tmp_path / "project"))
    by_one = dated.SETTINGS[: dated.SETTINGS.index("[gates]")] + NO_GATE_ON_ITEMS
    with_settings(root, by_one)
    for command in ("recommend", "publish"):
        done(root, command)
    with_settings(root, by_one.replace("[split]\n", '[split]\ntemporal_at = "0.8"\n'))
    for command in ("finetune", "recommend"):
        done(root, command)
    result = semconv(root, "publish")
    assert result.exit_code == 0
    assert "the new lists could not be compared with others, because the split test begins at" in result.stderr


def run(root: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "semconv_cli", "--project", str(root), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})


def test_disasters_in_processes_of_their_own(tmp_path: Path) -> None:
    root = make_gated(tmp_path / "project")
    few_items = case.write_lines(tmp_path / "few.jsonl", [case.item(number) for number in range(2)])
    snapshot = ("ingest", "items", few_items, "--snapshot")
    for words, load in (
        (snapshot, None),
        (("publish",), write_lists(tmp_path / "few.parquet", EVERYONE[:5], shift=2)),
        (("publish",), write_lists(tmp_path / "eight.parquet", items=8)),
    ):
        if load is not None:
            assert run(root, "recommend", "load", load).returncode == 0
        before = state(root)
        refusal = run(root, *words)
        assert refusal.returncode == 1, refusal.stderr
        assert "error: gate " in refusal.stderr
        assert "--force" in refusal.stderr
        assert state(root) == before
    assert run(root, "publish", "--force").returncode == 0
    assert forced(root) == {2: ["min_items"]}
    assert run(root, *snapshot, "--force").returncode == 0
