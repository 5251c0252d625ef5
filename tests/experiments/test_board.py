"""A leaderboard measures what the project has now, and says what was made with other settings."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from semconv import columns
from semconv.data.store import RunRecord
from semconv.runs.lineage import Lineage
from semconv_warehouse.experiments.board import Board, stale_runs
from semconv_warehouse.experiments.options import ExperimentOptions
from semconv_warehouse.project import Project
from semconv_warehouse.store.duckdb_store import DuckDBStore
from tests.worlds import dated
from tests.worlds.projects import SETTINGS, Remarks, make_project, reopened, write_lines

WITHOUT_MODEL = SETTINGS.replace('use = "never"', "model = false\ntext = false")
BLEND = {"label": "blend", "method": "blend"}
SASREC = {"label": "SASRec", "peer": "sasrec"}


def measured(project: Project, *rows: dict[str, Any], **overrides: Any) -> Board:
    """Measure a leaderboard on the test items under changed settings; the first row is the reference."""
    plan = project.layout.root / "board.toml"
    lines = ['title = "t"', 'model = "project"', f'reference = "{rows[0]["label"]}"']
    for row in rows:
        lines += ["[[row]]", *(f"{name} = {json.dumps(value)}" for name, value in row.items())]
    plan.write_text("\n".join(lines))
    overrides["evaluate__counter_search_users"] = 0  # it takes long
    board = reopened(project, **overrides).experiment(str(plan), ExperimentOptions(split="test"))
    assert isinstance(board, Board)
    assert len(list(board)) == len(rows)
    return board


def runs_made(project: Project, stage: str) -> Sequence[RunRecord]:
    """Return the runs of a stage in the project of the experiments, newest first."""
    return DuckDBStore(project.layout.experiments).runs(stage=stage)


def measured_blend(project: Project, **overrides: Any) -> str:
    """Measure a leaderboard of the blend alone, and return the id of the blend."""
    row = measured(project, BLEND, **overrides).result()["rows"][0]
    store = DuckDBStore(project.layout.experiments)
    evaluation = next(run for run in store.runs() if run.run_id == row["evaluate_run_id"])
    blend = Lineage.of(store, evaluation).blend
    assert blend is not None
    return blend.run_id


def outdated(project: Project, lineage: Lineage) -> list[tuple[str, str]]:
    return list(stale_runs(project, lineage, lineage.blend))


@pytest.fixture
def tuned(tmp_path: Path) -> Project:
    """A project with a tuned model, which has no blend."""
    return Project.open(shutil.copytree(dated.tuned_template(), tmp_path / "shop"))


def test_a_peer_is_trained_on_the_events_of_the_model_and_again_when_they_change(tmp_path: Path) -> None:
    rows = dated.events()
    for row in rows:
        row["event_type"] = "view" if row["source_position"] % 3 == 1 else "buy"
    project, changed = dated.make_project(tmp_path / "shop", rows, WITHOUT_MODEL), {"events__weights": {"view": 0}}
    project.embed_behavior()
    project.blend()
    measured(project, SASREC, **changed)  # the vectors still have the events of the default
    (first,) = runs_made(project, columns.PEER)
    assert "events" not in first.settings["split"]
    again = reopened(project, **changed)
    again.embed_behavior()
    again.blend()
    measured(project, SASREC, **changed)
    second, kept = runs_made(project, columns.PEER)
    assert kept.run_id == first.run_id
    assert second.settings["split"]["events"] == {"weights": [["view", 0.0]]}


def test_a_peer_is_trained_again_for_a_new_item_that_may_not_be_listed(tmp_path: Path) -> None:
    project = make_project(tmp_path, settings=WITHOUT_MODEL)
    project.embed_behavior()
    project.blend()
    where = {"recommend__where": "item_id <> 'new'"}
    measured(project, SASREC, **where)
    project.ingest_items([write_lines(tmp_path / "new.jsonl", [{"item_id": "new", "title": "red rug"}])], {})
    measured(project, SASREC, **where)
    assert len(runs_made(project, columns.PEER)) == 2


def test_a_peer_that_reads_texts_is_trained_again_when_the_text_of_a_later_item_changes(tmp_path: Path) -> None:
    project = make_project(tmp_path, settings=WITHOUT_MODEL.replace("text = false", ""))
    for command in (project.backbone_create, project.embed_behavior, project.embed_text, project.blend):
        command()
    row = {**SASREC, "texts": True}
    for title, count in (("red rug", 1), ("red rug", 1), ("green lamp", 2)):
        project.ingest_items([write_lines(tmp_path / "new.jsonl", [{"item_id": "new", "title": title}])], {})
        measured(project, row)
        assert len(runs_made(project, columns.PEER)) == count


def test_the_blend_is_the_current_one_of_the_project(tuned: Project) -> None:
    first, second = (reopened(tuned, blend__l2=l2).blend()["run_id"] for l2 in (1.0, 5.0))
    assert measured_blend(tuned, blend__l2=5.0) == second
    assert reopened(tuned, blend__l2=1.0).blend()["run_id"] == first
    assert measured_blend(tuned, blend__l2=1.0) == first


def test_a_project_without_a_blend_gets_one_with_todays_settings(tuned: Project) -> None:
    first = measured_blend(tuned)
    assert measured_blend(tuned, counter__decay=0.3) != first


def test_a_line_says_that_the_settings_of_the_blend_changed(tuned: Project) -> None:
    fitted, lineage = tuned.blend()["run_id"], tuned.workspace.model_lineage()
    assert outdated(tuned, lineage) == []
    for changed in ({"counter__decay": 0.3}, {"blend__l2": 5.0}):
        assert outdated(reopened(tuned, **changed), lineage) == [(fitted, "semconv blend")]
    progress = measured(tuned, BLEND, counter__decay=0.3).project.progress
    assert isinstance(progress, Remarks)
    line = (
        f"{fitted} was made before data or settings changed, and is measured as it is; `semconv blend` makes a new one"
    )
    assert line in progress.said
    both = reopened(tuned, counter__decay=0.3, behavior__dimensions=4)
    assert outdated(both, lineage) == [(lineage.ranker.run_id, "semconv run --refit"), (fitted, "semconv blend")]


def test_the_same_line_is_printed_for_a_blend_without_a_model(tmp_path: Path) -> None:
    project = make_project(tmp_path, settings=WITHOUT_MODEL)
    project.embed_behavior()
    fitted = project.blend()["run_id"]
    lineage = project.workspace.lineage()
    assert outdated(project, lineage) == []
    for changed in ({"counter__decay": 0.3}, {"behavior__dimensions": 4}):
        assert outdated(reopened(project, **changed), lineage) == [(fitted, "semconv run --refit")]
