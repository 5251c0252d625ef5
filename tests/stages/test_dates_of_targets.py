"""No date of a held-out item reaches a model or its lists: moved years into the future, it changes neither."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from semconv.artifacts import read_json
from semconv.data.calendar import PERIOD_DAYS, Calendar
from semconv.data.store import day_numbers
from semconv.item_head.files import ItemFile
from semconv.runs.files import MODEL_FOLDER
from semconv.stages.tune.inputs import tuning_inputs
from semconv.stages.tune.run import wanted_tuning
from semconv.stages.tune.tuned import prompt_dates
from semconv.train.arrays import task_arrays, task_facts
from semconv.tuning.model import MANIFEST
from semconv_warehouse.project import Project
from tests.worlds import dated
from tests.worlds import projects as case
from tests.worlds.parts import read_parts

_YEARS = 3 * 365  # longer than all events of the shop


def moved(last: int) -> list[dict[str, Any]]:
    """Return the events of the shop, with the last items of each evaluated user moved into periods of their own.

    Args:
        last: 1 for the test items, 2 for the validation items as well. The order of a user's events stays the same.
    """
    rows, lengths = dated.events(), {user: len(items) for user, items in case.histories().items()}
    for row in rows:
        back = lengths[row["user_id"]] - row["source_position"]  # 1 for the last item
        if lengths[row["user_id"]] >= 3 and back <= last:
            later = timedelta(days=_YEARS * (3 - back))
            row["event_time"] = (datetime.fromisoformat(row["event_time"]) + later).isoformat()
    return rows


@pytest.fixture(scope="module", params=["items", "tokens"])
def settings(request: pytest.FixtureRequest) -> str:
    """The settings of a model that reads histories in one of the two forms."""
    return dated.SETTINGS if request.param == "items" else dated.TOKENS


@pytest.fixture(scope="module")
def as_it_was(settings: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("as it was") / "project"
    return Project.open(Path(shutil.copytree(dated.tuned_template(settings), folder)), progress=case.Remarks())


@pytest.fixture(scope="module", params=[1, 2])
def changed(
    request: pytest.FixtureRequest, settings: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Project, int]:
    folder = tmp_path_factory.mktemp("moved") / "project"
    return dated.fit(dated.make_project(folder, moved(request.param), settings)), request.param


def training_inputs(project: Project) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, Any]]:
    """Return everything that a tuning reads: its training rows, its calendar and its validation users."""
    wanted = wanted_tuning(project.workspace, tuning_inputs(project.workspace, None))
    assert wanted is not None
    task = wanted.prepared(project.workspace).task
    return task_arrays(task), task_facts(task)


def model(project: Project) -> tuple[Calendar, Mapping[str, NDArray[Any]]]:
    """Return the calendar and the weights of the current model."""
    folder = project.workspace.book.folder(project.workspace.need("finetune"))
    weights = load_file(folder / MODEL_FOLDER / "model.safetensors")
    dates = prompt_dates(read_json(folder / MODEL_FOLDER / MANIFEST))
    if dates is not None:
        return Calendar(dates.first_day, dates.num_periods), weights
    file = ItemFile.load(folder)
    return file.calendar, {**weights, **file.weights}


def lists(project: Project, split: Literal["valid", "test"]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_parts(project.workspace.book.folder(project.recommend(split=split))).to_pylist()
    return rows


def test_the_moved_dates_lie_in_new_periods(as_it_was: Project, changed: tuple[Project, int]) -> None:
    """Otherwise the other tests would show nothing."""
    project, last = changed
    sequences, before = project.workspace.sequences(), as_it_was.workspace.sequences()
    assert (sequences.items == before.items).all()
    calendar, _ = model(as_it_was)
    end = calendar.first_day + calendar.num_periods * PERIOD_DAYS
    evaluated = before.lengths >= 3
    for back in range(1, last + 1):
        rows = sequences.offsets[1:][evaluated] - back
        assert (day_numbers(sequences.times[rows]) >= end + 365).all()


def test_a_training_reads_the_same(as_it_was: Project, changed: tuple[Project, int]) -> None:
    (before, facts_before), (after, facts) = training_inputs(as_it_was), training_inputs(changed[0])
    assert facts == facts_before
    assert [name for name in before if not np.array_equal(before[name], after[name])] == []
    assert before.keys() == after.keys()


def test_the_trained_model_is_the_same(as_it_was: Project, changed: tuple[Project, int]) -> None:
    (calendar, before), (calendar_after, after) = model(as_it_was), model(changed[0])
    assert calendar_after == calendar
    assert before.keys() == after.keys()
    assert [name for name in before if not np.array_equal(before[name], after[name])] == []


def test_the_lists_are_the_same(as_it_was: Project, changed: tuple[Project, int]) -> None:
    project, last = changed
    assert lists(project, "valid") == lists(as_it_was, "valid")
    if last == 1:  # for the test item, the date of the validation item is history
        assert lists(project, "test") == lists(as_it_was, "test")
