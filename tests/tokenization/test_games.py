"""The real Games interactions: figures that the project states about its codes."""

import numpy as np
import polars as pl
import pytest

from semconv.behavior.svd import fit_svd
from semconv.data.splits import train_part
from semconv.data.store import Sequences
from semconv.settings.behavior import BehaviorSettings
from semconv.settings.codebook import CodebookSettings
from semconv.tokenization.code_set import fit_code_set
from tests.worlds.places import DATA

FILE = DATA / "games" / "interactions.parquet"


@pytest.mark.skipif(
    not FILE.is_file(), reason=f"no real data at {FILE}; set SEMCONV_TEST_DATA to the folder that holds games/"
)
def test_games_codes() -> None:
    rows = pl.read_parquet(FILE).sort("user_id", "position")
    users, lengths = np.unique(rows["user_id"].to_numpy(), return_counts=True)
    ids, items = np.unique(rows["item_id"].to_numpy(), return_inverse=True)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    unknown = np.full(len(items), np.nan, dtype=np.float32)
    sequences = Sequences(
        users.tolist(), offsets, items.astype(np.int32), np.zeros(len(items), dtype=np.int64), unknown
    )
    train = train_part(sequences, "[:-2]", 5, len(ids))
    vectors = fit_svd(train, len(ids), BehaviorSettings())
    popularity = np.bincount(train.items, minlength=len(ids))
    no_text = np.zeros(0, dtype=np.int32), np.zeros((0, 4), dtype=np.float32)
    code_set = fit_code_set(vectors, *no_text, popularity, CodebookSettings(alignment=0.0))
    figures = code_set.figures
    assert figures["items"] == 16_840  # the rest of the catalogue is held out of training everywhere
    assert figures["collision_share_before"] < 0.05  # vectors that no text steadies
    assert figures["collision_share_after"] == 0
    assert figures["reconstruction_error"] < 0.035
    assert all(level["dead_codes"] == 0 for level in figures["levels"])
