"""A model that reads histories as items: tuned, listed, blended, asked in words and tuned further by the ordinary commands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from semconv.artifacts import read_json
from semconv.data.calendar import gap_rows
from semconv.data.histories import Histories
from semconv.data.store import RunRecord
from semconv.errors import SettingsError
from semconv.item_head.files import ItemFile
from semconv.progress import Task
from semconv.runs.files import ITEM_PARTS, MODEL_FOLDER
from semconv.runs.workspace import Workspace
from semconv.stages.lists.carrying import user_states
from semconv.stages.stage_settings import finetune, resolved_tasks, resolved_tuning
from semconv.stages.tune.inputs import tuning_inputs
from semconv.stages.tune.run import wanted_tuning
from semconv.tuning.model import ADAPTER
from semconv_warehouse.project import Project
from tests.worlds import dated
from tests.worlds import projects as case
from tests.worlds.parts import read_parts

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
# The built-in backbone, all weights trained; and a pretrained model with an adapter.
TEMPLATES = {"full": dated.tuned_template, "lora": dated.lora_template}
BOTH_MODES = pytest.mark.parametrize("project", list(TEMPLATES), indirect=True)


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    shutil.copytree(TEMPLATES[getattr(request, "param", "full")](), tmp_path / "project")
    return Project.open(tmp_path / "project", progress=case.Remarks())


def ndcg(project: Project) -> dict[str, float]:
    """NDCG@10 of every method on the validation users, seen items left out."""
    rows = [
        row for row in project.evaluate(split="valid") if (row["name"], row["k"], row["segment"]) == ("ndcg", 10, "all")
    ]
    return {row["method"]: row["value"] for row in rows}


@BOTH_MODES
def test_the_model_learns_the_ring(project: Project) -> None:
    found = ndcg(project)
    assert found["model"] > 0.4
    assert found["model"] > 2 * found["popularity"]


@BOTH_MODES
def test_the_files_of_the_model(project: Project) -> None:
    run = project.workspace.need("finetune")
    folder = project.workspace.book.folder(run) / MODEL_FOLDER
    manifest = read_json(folder / "semconv.json")
    assert manifest["history"] == "items"
    assert (folder.parent / ITEM_PARTS).exists()
    if manifest["mode"] == "lora":
        assert not (folder / "model.safetensors").exists()
        assert not [name for name in load_file(folder / ADAPTER) if "item_parts" in name]
        return
    names = json.loads((folder / "config.json").read_text())
    assert names["model_type"] == "llama"  # any program can load the decoder


@BOTH_MODES
def test_lists_blend_and_queries(project: Project) -> None:
    project.recommend()
    assert project.blend()["weights"][0]["feature"] == "log p of items"
    answers = project.recommend_query("a red lamp")
    assert len(answers) == 10
    assert {answer["item_id"] for answer in answers} <= {case.item_id(number) for number in range(case.NUM_ITEMS)}
    project.publish()
    lists = project.sql("SELECT user_id, count(*) AS k FROM current_recommendation GROUP BY user_id").to_pydict()
    assert set(lists["k"]) == {10}


def test_no_seen_item_is_listed(project: Project) -> None:
    project.recommend()
    project.publish()
    joined = project.sql(
        "SELECT count(*) AS n FROM current_recommendation r JOIN user_history h USING (user_id, item_id)"
    ).to_pydict()
    assert joined["n"] == [0]


@BOTH_MODES
def test_a_further_tuning_reads_new_items_and_keeps_the_calendar(project: Project, tmp_path: Path) -> None:
    before = project.workspace.need("finetune")
    new = case.NUM_ITEMS
    project.ingest_items([case.write_lines(tmp_path / "items.jsonl", [case.item(new)])], {})
    rows = dated.events({case.user_id(user): [user, new] for user in range(10)})
    for row in rows:
        row["source_position"] += 100
    project.ingest_interactions([case.write_lines(tmp_path / "events.jsonl", rows)], {})
    after = project.finetune(from_run="current")
    assert before.run_id in after.inputs
    files = [ItemFile.load(project.workspace.book.folder(run)) for run in (before, after)]
    assert [len(file.counts) for file in files] == [case.NUM_ITEMS, case.NUM_ITEMS + 1]
    assert files[0].calendar == files[1].calendar
    assert not (files[0].weights["own"] == files[1].weights["own"][: case.NUM_ITEMS]).all()
    project.recommend()


@BOTH_MODES
def test_a_chain_of_further_tunings_applies_the_factor_of_the_successors_once(project: Project) -> None:
    """The further tunings learn nothing, so they must end with the weights of the first one, but for the factor."""
    still = {
        "tuning__learning_rate": 0.01,
        "tuning__from_learning_rate": 0.0,
        "tuning__replay": 1.0,
        "tuning__epochs": 1,
    }
    book, nobody = project.workspace.book, {"tuning__validation_users": 0}
    first = ItemFile.load(book.folder(project.workspace.need("finetune")))
    for more, factor in (({"tuning__successor_factor": 4.0}, 4.0), ({"tuning__successor_factor": 4.0}, 4.0), ({}, 4.0)):
        run = case.reopened(project, **still, **nobody, **more).finetune(from_run="current")
        file = ItemFile.load(book.folder(run))
        assert file.successor_factor == factor
        for name in ("successors", "successor_start"):
            trained = [each.weights[name] / each.weights["successor_factor"] for each in (first, file)]
            assert trained[1] == pytest.approx(trained[0], rel=1e-6)


def test_a_further_tuning_says_which_settings_it_ignores(project: Project) -> None:
    other = case.reopened(project, tuning__successor_items=3, tuning__dates=False, tuning__replay=1.0)
    wanted = wanted_tuning(other.workspace, tuning_inputs(other.workspace, "current"))
    assert wanted is not None
    assert wanted.prepared(other.workspace).task.setup is not None
    said = " ".join(other.workspace.progress.said)  # type: ignore[attr-defined]
    assert "tuning.successor_items = 3 is ignored: the earlier model has 7" in said
    assert "tuning.dates = false is ignored: the earlier model reads dates" in said


def test_a_tuning_cannot_continue_in_another_form(project: Project) -> None:
    settings = project.layout.settings_file
    settings.write_text(settings.read_text().replace('history = "items"', 'history = "tokens"'))
    other = Project.open(project.layout.root, progress=case.Remarks())
    with pytest.raises(SettingsError, match=r"tuning.history = tokens: .* was tuned with items"):
        other.finetune(from_run="current")


def test_a_corrected_date_changes_the_state_of_its_user_alone() -> None:
    items, codes = np.arange(4, dtype=np.int32), np.arange(8).reshape(4, 2)
    histories = Histories(np.array([0, 2]), np.array([2, 2]), items, np.array([1, 2, 3, 4]))
    users = np.arange(2, dtype=np.int32)
    first = user_states(users, histories, codes).states
    corrected = replace(histories, times=np.array([1, 2, 3, 5]))
    second = user_states(users, corrected, codes).states
    assert (first == second).tolist() == [True, False]


def test_a_date_that_is_ingested_again_recomputes_the_list_of_its_user_alone(project: Project, tmp_path: Path) -> None:
    before = lists_by_user(project, project.recommend())
    last = max((row for row in dated.events() if row["user_id"] == "u003"), key=lambda row: row["source_position"])
    moved = datetime.fromisoformat(last["event_time"]) + timedelta(days=60)
    file = case.write_lines(tmp_path / "moved.jsonl", [{**last, "event_time": moved.isoformat()}])
    report = project.ingest_interactions([file], {})
    assert (report.added, report.updated, report.duplicate) == (0, 1, 0)
    again = case.reopened(project)
    after = lists_by_user(again, again.recommend(only_changed=True))
    assert isinstance(again.progress, case.Remarks)  # narrows the type for the next line
    assert f"{case.NUM_USERS - 1} of {case.NUM_USERS} users are unchanged and keep their lists" in again.progress.said
    assert {user for user in after if after[user] != before[user]} == {"u003"}


def lists_by_user(project: Project, run: RunRecord) -> dict[str, list[tuple[str, float]]]:
    """The items of each user's list with their scores, in the order of their ranks."""
    found: dict[str, list[tuple[str, float]]] = {}
    for row in read_parts(project.book.folder(run)).to_pylist():
        found.setdefault(row["user_id"], []).append((row["item_id"], row["score"]))
    return found


def with_tuning(project: Project, **values: Any) -> Workspace:
    """Return the workspace with settings of the tuning that have no value, but for these."""
    empty: dict[str, Any] = {"history": "auto", "epochs": None, "learning_rate": None, "dropout": None}
    tuning = replace(project.workspace.settings.tuning, **{**empty, **values})
    return replace(project.workspace, settings=replace(project.workspace.settings, tuning=tuning))


def test_defaults_follow_the_mode(project: Project) -> None:
    backbone, codebook = (project.workspace.need(stage) for stage in ("backbone", "codebook"))
    for mode, wanted in (("lora", ("tokens", 6, 1.5e-3, 0.2)), ("full", ("items", None, 1e-3, 0.1))):
        workspace = with_tuning(project, mode=mode)
        found = resolved_tuning(workspace, backbone, codebook)
        assert (found.history, found.epochs, found.learning_rate, found.dropout) == wanted
        assert resolved_tasks(workspace, backbone).text_share == (0.2 if mode == "full" else 1.0)


@pytest.mark.parametrize(
    ("project", "rates", "first", "further"),
    [
        ("full", {}, (1e-3, 1e-3), (1e-3 / 3, 1e-3 / 3)),
        ("full", {"learning_rate": 2e-3}, (2e-3, 2e-3), (2e-3 / 3, 2e-3 / 3)),
        ("full", {"from_learning_rate": 7e-5}, (1e-3, 1e-3), (7e-5, 7e-5)),
        ("full", {"item_learning_rate": 4e-3}, (1e-3, 4e-3), (1e-3 / 3, 4e-3 / 3)),
        ("lora", {}, (5e-5, 1e-3), (5e-5 / 3, 1e-3 / 3)),
        ("lora", {"learning_rate": 1e-4}, (1e-4, 1e-3), (1e-4 / 3, 1e-3 / 3)),
        ("lora", {"from_learning_rate": 1e-5}, (5e-5, 1e-3), (1e-5, 2e-4)),
        ("lora", {"learning_rate": 0.0, "item_learning_rate": 3e-3}, (0.0, 3e-3), (0.0, 1e-3)),
    ],
    indirect=["project"],
)
def test_item_parts_have_a_default_rate(
    project: Project, rates: dict[str, float], first: tuple[float, float], further: tuple[float, float]
) -> None:
    backbone, codebook = (project.workspace.need(stage) for stage in ("backbone", "codebook"))
    workspace = with_tuning(project, history="items", **rates)
    for goes_on, wanted in ((False, first), (True, further)):
        found = resolved_tuning(workspace, backbone, codebook, goes_on=goes_on)
        assert (found.learning_rate, found.item_learning_rate) == pytest.approx(wanted, rel=1e-12)
    assert (first[0] == first[1]) == ("item_learning_rate" not in finetune(workspace, backbone, codebook)["tuning"])


class EndedError(Exception):
    pass


class EndsInTheThirdEpoch(case.Remarks):
    """Ends a training in the middle of an epoch."""

    @contextmanager
    def task(self, label: str, total: float, unit: str, done: float = 0.0) -> Iterator[Task]:
        with super().task(label, total, unit, done) as bar:
            yield EndingBar() if label.startswith("epoch 3") else bar


class EndingBar:
    def advance(self, amount: float, note: str = "") -> None:
        raise EndedError


@BOTH_MODES
def test_a_training_that_ended_early_goes_on_with_the_same_result(project: Project, tmp_path: Path) -> None:
    finished = project.workspace.need("finetune")
    folder = project.workspace.book.folder(finished)
    shutil.copytree(project.layout.root, tmp_path / "other")
    other = Project.open(tmp_path / "other", progress=EndsInTheThirdEpoch())
    shutil.rmtree(other.workspace.book.folder(finished))  # so it is trained again
    with pytest.raises(EndedError):
        other.finetune()
    assert not other.workspace.book.folder(finished).joinpath(MODEL_FOLDER).exists()
    again = Project.open(tmp_path / "other").finetune()
    files = [ITEM_PARTS, *(path.relative_to(folder) for path in (folder / MODEL_FOLDER).glob("*.safetensors"))]
    assert len(files) == 2
    for name in files:
        assert (folder / name).read_bytes() == (other.workspace.book.folder(again) / name).read_bytes()


def test_a_training_stops_by_the_score_of_the_lists_that_are_served(project: Project) -> None:
    project = Project.open(
        project.layout.root, overrides={"tuning.successor_factor": 8.0, "tuning.validation_users": 100}
    )
    folder = project.workspace.book.folder(project.finetune())
    figures = read_json(folder / "figures.json")
    assert {row["successor_factor"] for row in figures["validations"]} == {8.0}
    assert ndcg(project)["model"] == pytest.approx(figures["best_ndcg"], abs=1e-6)
    plain = Project.open(
        project.layout.root, overrides={"tuning.successor_factor": 1.0, "tuning.validation_users": 100}
    )
    other = read_json(plain.workspace.book.folder(plain.finetune()) / "figures.json")
    scores = [[row["ndcg@10"] for row in made["validations"]] for made in (figures, other)]
    assert scores[0] != scores[1]


def test_a_split_in_time(tmp_path: Path) -> None:
    settings = dated.SETTINGS.replace("[split]", '[split]\ntemporal_at = "0.8"')
    project = dated.fit(dated.make_project(tmp_path / "project", settings=settings))
    rows = [row for row in project.evaluate() if (row["name"], row["k"], row["segment"]) == ("ndcg", 10, "all")]
    found = {row["method"]: row["value"] for row in rows}
    assert found["model"] > found["popularity"]


def weights_for_dates(project: Project) -> set[str]:
    folder = project.workspace.book.folder(project.workspace.need("finetune"))
    names = {name.rpartition(".")[2] for name in load_file(folder / ITEM_PARTS)}
    return names & {"periods", "gaps", "waits", "popularity"}


def test_a_wait_longer_than_any_in_training_changes_nothing(project: Project) -> None:
    """Users of the shop take an item every nine days, so no prediction of the training waits longer than that."""
    file = ItemFile.load(project.workspace.book.folder(project.workspace.need("finetune")))
    waits = file.weights["waits"]
    trained, longer = (
        gap_rows(np.zeros(len(days), dtype=int), days) for days in (np.arange(10), np.arange(20, 10_000))
    )
    assert waits[trained].any(axis=1).all()
    assert not waits[longer].any()
    parts = file.parts(
        np.zeros((case.NUM_ITEMS, 2), int), np.zeros((case.NUM_ITEMS, file.basis.directions.shape[1]), "f4")
    )
    hidden = torch.ones(1, waits.shape[1])
    assert torch.equal(parts.at_moments(hidden, torch.from_numpy(longer[-1:])), hidden)


def test_a_model_can_leave_out_dates(project: Project, tmp_path: Path) -> None:
    """It is the model of events without times, also under a split in time: it has no weights for dates."""
    assert len(weights_for_dates(project)) == 4
    settings = dated.SETTINGS.replace("[split]", '[split]\ntemporal_at = "0.8"')
    settings = settings.replace("[tuning]", "[tuning]\ndates = false")
    without = dated.fit(dated.make_project(tmp_path / "without", settings=settings))
    assert weights_for_dates(without) == set()
    rows = [row for row in without.evaluate() if (row["name"], row["k"], row["segment"]) == ("ndcg", 10, "all")]
    found = {row["method"]: row["value"] for row in rows}
    assert found["model"] > found["popularity"]
