"""Jobs that compute beside others that compute or bring rows in: nothing is lost, and what is published is right."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from semconv.progress import Task
from semconv_warehouse.project import Project
from tests.worlds import listed
from tests.worlds import projects as case
from tests.worlds.command import Commands

WRITING, READING = "semconv.stages.lists.run:write_part", "semconv.stages.lists.job:allowed_items"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return listed.make_tuned(tmp_path_factory.mktemp("two-jobs") / "tuned")


def newcomers(folder: Path) -> tuple[str, ...]:
    """An ingest of items that nobody has met before."""
    rows = [{"user_id": "u000", "item_id": f"new {place}", "source_position": 100 + place} for place in range(30)]
    return ("ingest", "interactions", str(case.write_lines(folder / "new.jsonl", rows)))


def test_one_of_two_jobs_makes_the_lists_and_the_other_names_it(
    commands: Commands, tuned: Path, tmp_path: Path
) -> None:
    undisturbed = listed.copied(tuned, tmp_path / "undisturbed")
    expected = listed.lists(undisturbed, undisturbed.recommend())
    project = listed.copied(tuned, tmp_path / "project")
    root = project.layout.root
    working = commands.start(root, "recommend", "--json", stop_in=WRITING)
    refused = commands.run(root, "recommend")
    done = commands.wait(working)
    assert refused.status == 3, refused.stderr
    assert f"is being computed by process {working['pid']}" in refused.error
    assert done.status == 0, done.stderr
    again = commands.run(root, "recommend", "--json")
    assert again.status == 0, again.stderr
    assert json.loads(again.stdout)["run_id"] == json.loads(done.stdout)["run_id"]
    assert listed.lists(project, project.workspace.need("recommend")).equals(expected)


def test_rows_come_in_before_or_after_a_job_reads_and_never_between(
    commands: Commands, tuned: Path, tmp_path: Path
) -> None:
    root = listed.copied(tuned, tmp_path / "project").layout.root
    working = commands.start(root, "recommend", stop_in=READING)
    ingest = newcomers(tmp_path)
    refused = commands.run(root, *ingest)
    done = commands.wait(working)
    assert refused.status == 3, refused.stderr
    assert f"process {working['pid']}" in refused.error
    assert done.status == 0, done.stderr
    assert commands.run(root, *ingest).status == 0
    assert commands.run(root, "recommend").status == 0


def test_an_ingest_is_in_no_jobs_way_while_it_computes(commands: Commands, tuned: Path, tmp_path: Path) -> None:
    root = listed.copied(tuned, tmp_path / "project").layout.root
    working = commands.start(root, "recommend", stop_in=WRITING)
    assert commands.run(root, *newcomers(tmp_path)).status == 0
    assert commands.wait(working).status == 0


class Ingesting(case.Remarks):
    """Brings rows in when some lists of a run for serving are made."""

    def __init__(self, bring: Callable[[], Any]) -> None:
        super().__init__()
        self.bring, self.is_serving, self.times = bring, False, 0

    def task(self, label: str, total: float, unit: str, done: float = 0.0) -> AbstractContextManager[Task]:
        self.is_serving = label == "recommend serve"
        return nullcontext(self)

    def advance(self, amount: float, note: str = "") -> None:
        if self.is_serving and self.times == 0:
            self.times += 1
            self.bring()


def test_a_night_asks_again_for_those_whose_rows_came_in_while_it_computed(tuned: Path, tmp_path: Path) -> None:
    root = listed.copied(tuned, tmp_path / "project").layout.root
    everything = [
        {"user_id": "u001", "item_id": case.item_id(number), "source_position": 100 + number}
        for number in range(case.NUM_ITEMS)
    ]
    file = case.write_lines(tmp_path / "late.jsonl", everything)
    beside = Project.open(root)
    progress = Ingesting(lambda: beside.ingest_interactions([file], {}))
    night = Project.open(root, progress=progress).publish_due(refit=False)
    assert progress.times == 1
    assert any("rows were ingested while the lists were made" in line for line in progress.said)
    assert [stage["stage"] for stage in night.stages].count("recommend") == 2
    assert night.publication.generation == 1
    project = Project.open(root)
    served = project.sql("SELECT user_id, list(item_id) AS items FROM recommendation GROUP BY user_id").to_pylist()
    lists = {row["user_id"]: set(row["items"]) for row in served}
    assert lists.pop("u001", set()) <= set(listed.UNKNOWN)
    assert len(lists) >= case.NUM_USERS - 2
    assert all(check.passed for check in project.check())
    assert project.publish_due(refit=False).publication.is_new is False
