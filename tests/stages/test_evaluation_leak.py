"""The data of the slow test of the same name show a leak where there is one, so that test can fail."""

from __future__ import annotations

from pathlib import Path

from semconv.data import splits
from semconv.data.store import BaselineRequest
from semconv.metrics import bootstrap_interval, ndcg, target_ranks
from tests.worlds.stages.ring import made, overlap, ring, shuffled


def test_the_same_data_shows_a_leak_where_there_is_one(tmp_path: Path) -> None:
    """A counter that has counted the targets themselves stands out, so the test above can fail."""
    project = made(tmp_path, shuffled(ring()))
    sequences = project.store.sequences()
    targets = splits.targets(sequences, "test")
    spans = {}
    for name, cut in (("popularity", "[:-2]"), ("transition", "[:-2]"), ("transition", "[:]")):
        top = project.store.baseline_top_k(BaselineRequest(name, "test", cut, "masked", 10))  # type: ignore[arg-type]
        values = ndcg(target_ranks(top.items, targets[top.users]), 10)
        low, high = bootstrap_interval(values, samples=500, confidence=0.95, seed=0)
        spans[name, cut] = {"ci_low": low, "ci_high": high}
    assert overlap(spans["transition", "[:-2]"], spans["popularity", "[:-2]"])
    assert spans["transition", "[:]"]["ci_low"] > spans["popularity", "[:-2]"]["ci_high"]
