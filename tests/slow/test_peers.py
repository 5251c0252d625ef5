"""Each peer learns a certain pattern: users that walk round a ring of items."""

from pathlib import Path

import pytest

from semconv.peers.ranking import exact_ranks
from semconv.peers.registry import NETWORKS
from semconv.peers.settings import Limits
from semconv.peers.training import PeerTraining
from tests.worlds.ring import SMALL, ring


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_certain_pattern_is_learnt(tmp_path: Path, name: str) -> None:
    data = ring(num_users=80, num_items=20)
    training = PeerTraining(name, data.for_training(80, 0), SMALL, tmp_path)
    training.run(Limits(12, patience=12))
    ranks = exact_ranks(training.best_model(), data.ranking_task("test", data.evaluated("test")))
    assert (ranks == 1).mean() > 0.9
