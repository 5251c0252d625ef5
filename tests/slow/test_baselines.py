"""The published figures of the transition counter, on real data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from semconv import metrics
from semconv.columns import Seen
from semconv.data import splits
from semconv.data.store import BaselineRequest
from semconv_warehouse.ingest import ingest_interactions
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.migrate import migrate
from tests.worlds.paths import DATA


@pytest.mark.skipif(not (DATA / "games").is_dir(), reason=f"no games in {DATA}; SEMCONV_TEST_DATA names the folder")
def test_the_transition_counters_row_on_games(tmp_path: Path) -> None:
    """Check the order of ingest, split, mask and metrics together (method: Reference figures)."""
    layout = ProjectLayout(tmp_path)
    migrate(layout.warehouse)
    store = DuckDBStore(layout)
    ingest_interactions(store, [DATA / "games" / "interactions.parquet"], {"source_position": "position"})
    sequences = store.sequences()
    assert (len(sequences), len(sequences.items), len(store.catalog())) == (50_546, 452_989, 16_859)
    targets = splits.targets(sequences, "test")
    rows: dict[Seen, list[float]] = {
        "masked": [0.0344, 0.0833, 0.1191, 0.0594, 0.0709],
        "kept": [0.0299, 0.0753, 0.1092, 0.0528, 0.0637],
    }
    for seen, row in rows.items():
        top = store.baseline_top_k(BaselineRequest("transition", "test", "[:-2]", seen, k=10))
        ranks = metrics.target_ranks(top.items, targets[top.users])
        figures = [metrics.hit_ratio(ranks, k).mean() for k in (1, 5, 10)] + [
            metrics.ndcg(ranks, k).mean() for k in (5, 10)
        ]
        np.testing.assert_allclose(figures, row, atol=5e-4)
