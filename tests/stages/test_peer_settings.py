"""A peer is trained again if its sequences differ from those of an earlier training, and only then."""

from pathlib import Path

from semconv.peers.settings import Peer
from semconv.stages.evaluate.peer import training_settings
from tests.worlds.projects import make_project, reopened

SASREC = Peer("sasrec")


def test_events_and_cut_in_time_are_those_of_the_sequences(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    split = project.workspace.section("split")["split"]
    plain = training_settings(project.workspace, SASREC)
    assert training_settings(project.workspace, SASREC, split) == plain
    changed = reopened(project, events__repeats="keep", split__temporal_at="0.9", split__train_cut="[:-1]").workspace
    assert training_settings(changed, SASREC)["split"]["events"] == {"repeats": "keep"}
    as_model = training_settings(changed, SASREC, split)["split"]
    assert as_model == {**plain["split"], "train_cut": "[:-1]"}  # the part of the sequences is that of the settings
