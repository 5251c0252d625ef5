"""The real Games interactions: figures that the project states about its codes."""

import numpy as np
import pytest

from benchmarks.data import games_sequences
from semconv.behavior.svd import fit_svd
from semconv.data.core import train_part
from semconv.settings.behavior import BehaviorSettings
from semconv.settings.codebook import CodebookSettings
from semconv.settings.split import SplitSettings
from semconv.tokenization.fit import fit_code_set


def test_games_codes() -> None:
    games = games_sequences()
    if games is None:
        pytest.skip("no real data; set SEMCONV_TEST_DATA to the folder that holds games/")
    sequences, ids = games
    train = train_part(sequences, "[:-2]", SplitSettings().k_core, len(ids))
    vectors = fit_svd(train, len(ids), BehaviorSettings())
    popularity = np.bincount(train.items, minlength=len(ids))
    no_text = np.zeros(0, dtype=np.int32), np.zeros((0, 4), dtype=np.float32)
    figures = fit_code_set(vectors, *no_text, popularity, CodebookSettings(alignment=0.0)).figures
    assert figures["items"] == 16_746  # 77 of the 16,917 items are held out of every training, 94 are seen once in it
    assert figures["collision_share_before"] < 0.05  # without shrinkage to text
    assert figures["collision_share_after"] == 0
    assert figures["reconstruction_error"] < 0.035
    assert all(level["dead_codes"] == 0 for level in figures["levels"])
