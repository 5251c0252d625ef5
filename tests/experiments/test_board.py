"""A leaderboard measures what the project has now, and says what was made with other settings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from semconv import columns
from semconv.data.store import RunRecord
from semconv_warehouse.experiments.board import Board
from semconv_warehouse.experiments.options import ExperimentOptions
from semconv_warehouse.project import Project
from semconv_warehouse.store.duckdb_store import DuckDBStore
from tests.worlds import dated
from tests.worlds.projects import SETTINGS, reopened

WITHOUT_SEARCH = SETTINGS.replace("[evaluate]\n", "[evaluate]\ncounter_search_users = 0\n")
WITHOUT_MODEL = WITHOUT_SEARCH.replace('use = "never"', "model = false\ntext = false")
SASREC = {"label": "SASRec", "peer": "sasrec"}


def measured(project: Project, *rows: dict[str, str], **overrides: Any) -> Board:
    """Measure a leaderboard on the test items under changed settings; the first row is the reference."""
    plan = project.layout.root / "board.toml"
    lines = ['title = "t"', 'model = "project"', f'reference = "{rows[0]["label"]}"']
    for row in rows:
        lines += ["[[row]]", *(f'{name} = "{value}"' for name, value in row.items())]
    plan.write_text("\n".join(lines))
    board = reopened(project, **overrides).experiment(str(plan), ExperimentOptions(split="test"))
    assert isinstance(board, Board)
    assert len(list(board)) == len(rows)
    return board


def runs_made(project: Project, stage: str) -> Sequence[RunRecord]:
    """Return the runs of a stage in the project of the experiments, newest first."""
    return DuckDBStore(project.layout.experiments).runs(stage=stage)


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
