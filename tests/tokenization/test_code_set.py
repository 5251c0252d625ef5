"""Code sets from vectors and text: figures, files, new items."""

from dataclasses import replace

import numpy as np
import pytest

from semconv.errors import InputError
from semconv.tokenization.assign import assign_new_items
from semconv.tokenization.code_set import CodeSet
from semconv.tokenization.fit import fit_code_set, shrink_to_text
from tests.worlds.codebooks import ITEMS, NEW, SETTINGS, Case


def test_all_items_have_different_codes_and_figures_agree() -> None:
    case = Case()
    code_set = case.fit()
    assert len(np.unique(code_set.codes, axis=0)) == ITEMS
    figures = code_set.figures
    assert figures["collision_share_after"] == 0
    assert figures["collision_share_before"] > 0
    assert figures["moved_items"] == code_set.is_reassigned.sum() > 0
    assert figures["moved"]["share"] == code_set.is_reassigned.mean()
    assert figures["moved"]["error_after"] >= figures["moved"]["error_before"] > 0
    assert [row["levels"] for row in figures["collisions"]] == [1, 2, 3]
    assert figures["collisions"][-1]["share_before"] == figures["collision_share_before"]
    assert figures["collisions"][-1]["moved_share"] == pytest.approx(code_set.is_reassigned.mean())
    assert figures["collisions"][0]["share_before"] > figures["collisions"][-1]["share_before"]
    np.testing.assert_array_equal(code_set.popularity, case.popularity[code_set.item_index])
    assert figures["alignment"] == {"lambda": 0.1, "is_on": True, "why_off": None}
    assert len(figures["levels"]) == 3
    for n, level in enumerate(figures["levels"]):
        counts = np.bincount(code_set.codes[:, n], minlength=16)
        assert level["dead_codes"] == (counts == 0).sum()
        share = counts[counts > 0] / ITEMS
        assert level["entropy_bits"] == pytest.approx(-(share * np.log2(share)).sum())


def test_kept_collisions_are_counted_and_not_moved() -> None:
    code_set = Case().fit(replace(SETTINGS, collisions="keep"))
    assert not code_set.is_reassigned.any()
    assert code_set.figures["collision_share_after"] == code_set.figures["collision_share_before"] > 0


def test_text_map_beats_the_most_frequent_code_on_items_it_did_not_see() -> None:
    figures = Case().fit().figures["text_map"]
    assert figures["held_out_r2"] > 0.8
    assert figures["first_code_agreement"] > 2 * figures["most_frequent_code"]


def test_text_that_predicts_nothing_turns_alignment_off() -> None:
    case = Case(is_text_noise=True)
    code_set = case.fit()
    assert not code_set.figures["alignment"]["is_on"]
    assert "less than codebook.min_text_r2 = 0.02" in code_set.figures["alignment"]["why_off"]
    plain = case.fit(replace(SETTINGS, alignment=0.0))
    np.testing.assert_array_equal(code_set.codes, plain.codes)
    kept_on = case.fit(replace(SETTINGS, min_text_r2=0.0))
    assert kept_on.figures["alignment"] == {"lambda": SETTINGS.alignment, "is_on": True, "why_off": None}
    assert not np.array_equal(kept_on.books, code_set.books)


def test_no_text_is_no_error() -> None:
    code_set = Case().fit(texts=slice(0, 0))
    assert code_set.text_map is None
    assert "fewer than 10 items" in code_set.figures["alignment"]["why_off"]
    with pytest.raises(InputError, match="no text map"):
        assign_new_items(code_set, np.array([1], dtype=np.int32), np.zeros((1, 30)), SETTINGS)


def test_items_without_text_are_coded_too() -> None:
    code_set = Case().fit(texts=slice(100, None))
    assert len(code_set.codes) == ITEMS
    assert code_set.figures["text_map"]["items"] == ITEMS - 100


def test_new_items_get_vectors_near_the_truth_and_codes_of_no_other_item() -> None:
    case = Case()
    code_set = case.fit()
    before = code_set.codes.copy()
    assigned = assign_new_items(code_set, case.index[ITEMS:], case.text[ITEMS:], SETTINGS)
    np.testing.assert_array_equal(code_set.codes, before)
    assert len(np.unique(np.concatenate([before, assigned.codes]), axis=0)) == ITEMS + NEW
    truth = (case.true_vectors[ITEMS:] - case.vectors.mean) * case.vectors.scale
    assert np.corrcoef(assigned.vectors.ravel(), truth.ravel())[0, 1] > 0.9
    for n in range(3):
        assert code_set.is_used[n][assigned.codes[~assigned.is_reassigned, n]].all()


def test_a_second_assign_run_repeats_no_codes_of_the_first() -> None:
    case = Case()
    code_set = case.fit()
    first = assign_new_items(code_set, case.index[ITEMS:], case.text[ITEMS:], SETTINGS)
    again = assign_new_items(code_set, case.index[ITEMS:] + 1, case.text[ITEMS:], SETTINGS, first.codes)
    assert again.is_reassigned.all()  # the same texts: every nearest code is taken
    everything = np.concatenate([code_set.codes, first.codes, again.codes])
    assert len(np.unique(everything, axis=0)) == ITEMS + 2 * NEW


def test_items_with_codes_are_not_new() -> None:
    case = Case()
    with pytest.raises(InputError, match="have codes already"):
        assign_new_items(case.fit(), case.index[:1], case.text[:1], SETTINGS)


def test_broken_text_of_new_items_is_refused() -> None:
    case = Case()
    text = case.text[ITEMS:].copy()
    text[3, 2] = np.nan
    with pytest.raises(InputError, match=r"1 of 60 .* row 3"):
        assign_new_items(case.fit(), case.index[ITEMS:], text, SETTINGS)


def test_save_and_load(tmp_path) -> None:
    case = Case()
    code_set = case.fit()
    code_set.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "codes.safetensors", "books.safetensors", "text_map.safetensors", "figures.json",
    }  # fmt: skip
    loaded = CodeSet.load(tmp_path)
    for name in ("item_index", "codes", "is_reassigned", "popularity", "books", "is_used"):
        stored = getattr(loaded, name)
        assert stored.dtype == getattr(code_set, name).dtype
        np.testing.assert_array_equal(stored, getattr(code_set, name))
    assert loaded.figures == code_set.figures
    a, b = (assign_new_items(s, case.index[ITEMS:], case.text[ITEMS:], SETTINGS) for s in (code_set, loaded))
    np.testing.assert_array_equal(a.codes, b.codes)


@pytest.mark.parametrize("assign_with", ["behavior", "both"])
@pytest.mark.parametrize("distance", ["l2", "cosine"])
@pytest.mark.parametrize("residual", ["signed", "absolute"])
def test_every_combination_of_options_gives_distinct_codes(assign_with: str, distance: str, residual: str) -> None:
    settings = replace(
        SETTINGS, assign_with=assign_with, distance=distance, alignment_distance=distance, residual=residual
    )
    code_set = Case().fit(settings)
    assert len(np.unique(code_set.codes, axis=0)) == ITEMS
    assert np.isfinite(code_set.books).all()


def test_shrinkage_draws_rare_items_to_their_text_and_leaves_popular_ones() -> None:
    vectors, rows = np.eye(3, dtype=np.float32), np.array([0, 1])
    predicted = -np.ones((2, 3), dtype=np.float32)
    mixed = shrink_to_text(vectors, np.array([10, 1_000_000, 0]), rows, predicted, 10.0)
    np.testing.assert_allclose(
        mixed[0], 0.5 * np.array([1, 0, 0]) - 0.5, atol=1e-6
    )  # text counts as much as the 10 interactions
    np.testing.assert_allclose(mixed[1], [0, 1, 0], atol=1e-4)
    np.testing.assert_array_equal(mixed[2], [0, 0, 1])  # no text
    assert shrink_to_text(vectors, np.ones(3, int), rows, predicted, 0.0) is vectors


def test_given_vectors_are_never_shrunk_to_text() -> None:
    case = Case()
    settings = replace(SETTINGS, shrinkage=1000.0)
    given = replace(case.vectors, source="given")
    index, text, popularity = case.index, case.text, case.popularity
    kept = fit_code_set(given, index, text, popularity, settings)
    plain = fit_code_set(given, index, text, popularity, replace(settings, shrinkage=0.0))
    assert kept.books.tobytes() == plain.books.tobytes() != case.fit(settings).books.tobytes()


def test_agreement_with_behaviour_alone_is_lower_if_vectors_were_shrunk_to_text() -> None:
    plain = Case().fit(replace(SETTINGS, shrinkage=0.0)).figures["text_map"]
    assert plain["first_code_agreement_behavior_alone"] == plain["first_code_agreement"]
    assert plain["most_frequent_code_behavior_alone"] == plain["most_frequent_code"]
    mixed = Case().fit(replace(SETTINGS, shrinkage=1000.0)).figures["text_map"]
    assert mixed["first_code_agreement"] > 0.9  # the learned vector is almost the prediction
    assert mixed["first_code_agreement_behavior_alone"] < mixed["first_code_agreement"]
    assert 0 < mixed["largest_share"] < 1
