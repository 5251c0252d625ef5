"""A model that reads histories as items: tuned, listed, blended, asked in words and tuned further by the ordinary commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from semconv.artifacts import read_json
from semconv.runs.files import ITEM_PARTS, MODEL_FOLDER
from semconv_warehouse.project import Project
from tests.worlds import dated
from tests.worlds import projects as case


@pytest.fixture
def project(tmp_path: Path) -> Project:
    shutil.copytree(dated.tuned_template(), tmp_path / "project")
    return Project.open(tmp_path / "project", progress=case.Remarks())


def ndcg(project: Project) -> dict[str, float]:
    """NDCG@10 of every method on the validation users, seen items left out."""
    rows = [
        row for row in project.evaluate(split="valid") if (row["name"], row["k"], row["segment"]) == ("ndcg", 10, "all")
    ]
    return {row["method"]: row["value"] for row in rows}


def test_the_model_learns_the_ring(project: Project) -> None:
    found = ndcg(project)
    assert found["model"] > 0.4
    assert found["model"] > 2 * found["popularity"]


def test_the_files_of_the_model(project: Project) -> None:
    run = project.workspace.need("finetune")
    folder = project.workspace.book.folder(run) / MODEL_FOLDER
    assert read_json(folder / "semconv.json")["history"] == "items"
    assert (folder.parent / ITEM_PARTS).exists()
    names = json.loads((folder / "config.json").read_text())
    assert names["model_type"] == "llama"  # any program can load the decoder


def test_lists_blend_and_queries(project: Project) -> None:
    project.recommend()
    assert project.blend()["weights"][0]["feature"] == "model"
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
