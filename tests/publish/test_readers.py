"""Other processes read again and again while one generation after the other is published."""

from __future__ import annotations

import pytest

from benchmarks.serving.readers import PUBLISHES, READS, readers_beside_publishes
from benchmarks.timing import percentile


@pytest.mark.slow
def test_readers_meet_no_error_and_no_mixed_generation() -> None:
    found = {row.metric: row.ours for row in readers_beside_publishes("small")}
    assert found["errors"] == 0
    assert found["connections that saw two generations"] == 0
    assert 2 <= found["generations seen"] <= PUBLISHES["small"] + 1
    assert found["questions"] == READS * found["connections"]


def test_percentiles_are_values_by_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert (percentile(values, 50), percentile(values, 99)) == (50, 99)
    assert (percentile([7.0], 50), percentile([7.0], 99)) == (7, 7)
    assert percentile([1.0, 2.0, 3.0], 50) == 2
