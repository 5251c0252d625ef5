"""A peer is trained again if its sequences differ from those of an earlier training, and only then."""

from pathlib import Path
from typing import Any

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


def test_the_mask_of_validation_is_recorded_unless_it_is_the_default(tmp_path: Path) -> None:
    """Validation chooses the epoch on masked lists."""

    def split(**overrides: Any) -> dict[str, Any]:
        found: dict[str, Any] = training_settings(reopened(project, **overrides).workspace, SASREC)["split"]
        return found

    project = make_project(tmp_path)
    plain = split()
    assert not {"seen_days", "seen_types"} & set(plain)  # so finished runs are found again
    assert split(recommend__seen_days=30) == {**plain, "seen_days": 30}
    assert split(events__seen=["view", "buy"]) == {**plain, "seen_types": ["buy", "view"]}
    assert split(recommend__seen="kept", recommend__seen_days=30) == {**plain, "seen": "kept"}
