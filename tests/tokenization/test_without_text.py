"""With codebook.alignment = 0 and codebook.shrinkage = 0, the codes of items with interactions do not depend on text."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from semconv.settings.codebook import CodebookSettings, RqvaeSettings
from semconv.settings.load import load_settings
from semconv.tokenization.fit import fit_code_set
from semconv_warehouse.experiments.plan import read_experiment
from tests.worlds.codebooks import SETTINGS, Case

WITHOUT_TEXT = {"alignment": 0.0, "shrinkage": 0.0}
FEW_EPOCHS = RqvaeSettings(hidden=8, epochs=3)


def texts_of(case: Case) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(9)
    noise = rng.standard_normal(case.text.shape).astype(np.float32)
    return {
        "own": case.text,
        "noise": noise,
        "reversed": case.text[::-1].copy(),
        "of one item": case.text[:1] + 0 * noise,
    }


def warm_codes(settings: CodebookSettings, text: np.ndarray, part: slice = slice(None)) -> bytes:
    """The codes and the order of the items with interactions, and their centroids."""
    case = Case()
    found = fit_code_set(case.vectors, case.index[part], text[part], case.popularity, settings, FEW_EPOCHS)
    return found.codes.tobytes() + found.item_index.tobytes() + found.books.tobytes()


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"collisions": "keep"},
        {"assign_with": "both"},
        {"distance": "cosine"},
        {"alignment_distance": "cosine", "assign_with": "both"},
        {"residual": "absolute"},
        {"sample": 150},
        {"method": "rqvae"},
    ],
    ids=str,
)
def test_without_alignment_and_shrinkage_text_reaches_no_code(choices: dict[str, Any]) -> None:
    settings = CodebookSettings(levels=3, codes=16, **WITHOUT_TEXT, **choices)
    found = {warm_codes(settings, text) for text in texts_of(Case()).values()}
    assert len(found) == 1
    assert found == {warm_codes(settings, Case().text, part) for part in (slice(0), slice(100, 300), slice(5))}


@pytest.mark.parametrize("one", [{"alignment": 0.1}, {"shrinkage": 10.0}], ids=str)
def test_either_of_them_alone_lets_text_in(one: dict[str, float]) -> None:
    settings = replace(SETTINGS, **{**WITHOUT_TEXT, **one})
    texts = texts_of(Case())
    assert warm_codes(settings, texts["own"]) != warm_codes(settings, texts["noise"])


def test_table_3_takes_all_text_out_of_the_codes_of_its_row_without_alignment() -> None:
    experiment = read_experiment("table3")
    row = next(row for row in experiment.rows if row.label == "w/o LA")
    settings = load_settings(environment={}, overrides={**experiment.settings, **row.settings})
    assert {name: getattr(settings.codebook, name) for name in WITHOUT_TEXT} == WITHOUT_TEXT
