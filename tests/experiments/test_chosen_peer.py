"""On a train cut with the validation items, a peer takes the epochs of an equal training alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from semconv.runs.digests import write_complete
from semconv.stages.evaluate.peer import Peer, training_settings
from semconv_warehouse.experiments import row_settings
from semconv_warehouse.opened import OpenedProject
from tests.worlds import published


@pytest.fixture
def project(tmp_path: Path) -> OpenedProject:
    return OpenedProject.open(published.make_project(tmp_path / "project")[0].root)


def add_training(project: OpenedProject, number: int, peer: Peer, inputs: tuple[str, ...] = ()) -> None:
    """Record a finished training of a peer with the settings of the project."""
    store: Any = project.store
    run_id = f"peer-{number}"
    folder = project.layout.runs / run_id
    folder.mkdir()
    write_complete(folder, content={"interaction": store.content_hash("interaction")})
    settings = training_settings(project.workspace, peer)
    published.add_run(store, run_id, "peer", inputs=inputs, settings=settings)


def test_a_peer_that_reads_other_inputs_chooses_nothing(project: OpenedProject) -> None:
    plain, dated, worded = Peer("sasrec"), Peer("sasrec", dates=True), Peer("sasrec", texts=True)
    text = published.add_run(project.store, "embed_text-1", "embed_text")
    other = published.add_run(project.store, "embed_text-2", "embed_text")
    add_training(project, 1, plain)
    add_training(project, 2, worded, (text.run_id,))
    add_training(project, 3, dated)

    def found(peer: Peer, of: Any = None) -> str | None:
        run = row_settings._finished_peer(project, peer, of)
        return None if run is None else run.run_id

    assert (found(plain), found(dated), found(worded, text)) == ("peer-1", "peer-3", "peer-2")
    assert found(worded, other) is None
    assert found(Peer("sasrec", dates=True, texts=True), text) is None
    assert found(Peer("bert4rec")) is None
