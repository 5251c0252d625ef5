"""Verdicts on the paper's claims, and when its figures may stand beside measured ones."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from semconv.columns import Split
from semconv.data.statistics import DataStatistics
from semconv.settings.load import load_settings
from semconv.settings.presets import read_preset
from semconv_warehouse.experiments.comparison import Comparison
from semconv_warehouse.experiments.options import ExperimentOptions, chosen_rows
from semconv_warehouse.experiments.plan import read_experiment
from semconv_warehouse.experiments.published import differences_from_paper, paper_data_set
from semconv_warehouse.experiments.report import figure_rows, markdown
from semconv_warehouse.experiments.verdicts import Measured, verdict
from semconv_warehouse.project import Project

GAMES = DataStatistics(50_546, 16_859, 452_989, 0.9995, 452_989 / 50_546, 0.048, 0)


@pytest.mark.parametrize(
    ("difference", "low", "high", "paper", "says"),
    [
        (0.003, 0.001, 0.005, 0.0001, "holds"),  # wider than the paper's difference, but clear
        (0.003, 0.001, 0.005, None, "holds"),
        (-0.003, -0.005, -0.001, 0.01, "does not hold"),
        (0.001, -0.002, 0.004, 0.0001, "too small to tell"),  # 0.006 wide
        (0.001, -0.002, 0.004, 0.0059, "too small to tell"),
        (0.001, -0.002, 0.004, 0.0061, "no difference of the paper's size"),
        (0.001, -0.002, 0.004, -0.0061, "no difference of the paper's size"),
        (0.001, -0.002, 0.004, None, "too small to tell"),
        (0.0, 0.0, 0.0, 0.0047, "the same lists"),
        (0.0, 0.0, 0.0, None, "the same lists"),
        (0.0, -0.002, 0.002, 0.0047, "no difference of the paper's size"),
        (0.001, 0.0, 0.002, 0.001, "too small to tell"),  # an interval that touches 0 is not above it
    ],
)
def test_a_verdict_follows_from_the_interval_and_the_papers_difference(
    difference: float, low: float, high: float, paper: float | None, says: str
) -> None:
    assert verdict(Measured(difference, low, high), paper) == says


@pytest.mark.parametrize(
    ("by_seed", "says"),
    [
        ((0.001, 0.005, 0.003), "holds"),
        ((-0.005, -0.002, 0.016), "seeds disagree"),
        ((0.0, 0.006), "seeds disagree"),  # the same lists with one seed
        ((), "holds"),  # one seed alone
    ],
)
def test_a_clear_difference_needs_the_same_sign_with_every_seed(by_seed: tuple[float, ...], says: str) -> None:
    assert verdict(Measured(0.003, 0.001, 0.005, by_seed), 0.0047) == says
    opposite = Measured(-0.003, -0.005, -0.001, tuple(-one for one in by_seed))
    assert verdict(opposite, 0.0047) == ("does not hold" if says == "holds" else says)


def test_a_small_difference_stays_small_whatever_the_seeds_say() -> None:
    assert verdict(Measured(0.001, -0.002, 0.004, (-0.001, 0.003)), 0.0001) == "too small to tell"


@pytest.mark.parametrize(
    ("by_seed", "says"),
    [
        ((-0.001, 0.003), "no difference of the paper's size"),
        ((-0.009, 0.011), "too small to tell"),  # the seeds differ by more than the paper's difference
    ],
)
def test_seeds_that_are_far_apart_show_nothing_about_the_papers_size(by_seed: tuple[float, ...], says: str) -> None:
    assert verdict(Measured(0.001, -0.001, 0.003, by_seed), 0.0047) == says


def test_seeds_that_cancel_out_have_other_lists() -> None:
    assert verdict(Measured(0.0, 0.0, 0.0, (-0.001, 0.001)), 0.0047) == "no difference of the paper's size"
    assert verdict(Measured(0.0, 0.0, 0.0, (0.0, 0.0)), 0.0047) == "the same lists"


def test_a_claim_without_a_measured_row_has_no_verdict() -> None:
    assert verdict(None, 0.0047) == "not measured"


@pytest.mark.parametrize("low", [-0.005, 0.001])
def test_a_row_that_is_not_above_popularity_tells_nothing(low: float) -> None:
    assert verdict(Measured(0.003, low, 0.005), 0.0047, is_learned=False) == "not above popularity"


def test_without_alignment_nothing_is_said_about_alignment() -> None:
    assert verdict(Measured(0.003, 0.001, 0.005), 0.0047, is_learned=False, is_aligned=False) == "alignment is off"


@pytest.mark.parametrize(
    ("backbones", "claims"),
    [
        (
            ("m/Llama-7B", "m/Llama-2-7B", "m/Llama-13B"),
            [("m/Llama-7B > m/Llama-2-7B", 0.0025), ("m/Llama-13B > m/Llama-2-7B", 0.0072)],
        ),
        (("m/Llama-13B", "m/other", "m/Llama-7B"), [("m/Llama-13B > m/Llama-7B", 0.0047)]),
        (("built-in", "built-in:1x32"), []),
        (("built-in", "m/Llama-7B"), []),
    ],
)
def test_claims_about_backbones_follow_the_papers_own_figures(
    tmp_path: Path, backbones: tuple[str, ...], claims: list[tuple[str, float]]
) -> None:
    table = read_experiment("table6")
    chosen, _ = chosen_rows(table, ExperimentOptions(backbones=backbones))
    published = {row.label: row.paper for row in (*table.rows, *chosen.rows)}
    project = Project.init(tmp_path, "")
    found = Comparison(project, chosen, (0,), GAMES, [], published).verdicts()
    assert [(row["claim"], row["paper difference"]) for row in found] == claims
    assert {row["verdict"] for row in found} <= {"not measured"}


def test_the_papers_figures_belong_to_its_data_and_protocol() -> None:
    settings = load_settings(None, environment={}, overrides=read_preset("paper").values)
    assert paper_data_set(GAMES) == "Games"
    assert differences_from_paper(GAMES, settings, "test") == []
    toy = DataStatistics(80, 60, 500, 0.9, 6.25, 0.0, 0)
    assert paper_data_set(toy) is None
    (reason,) = differences_from_paper(toy, settings, "test")
    assert reason.startswith("the data has 80 users, 60 items and 500 interactions")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"tasks.negatives": 0}, "tasks.negatives is 0, and the preset paper has 3"),
        ({"blend.use": "always"}, "blend.use is always, and the preset paper has never"),
        ({"tuning.history": "items"}, "tuning.history is items"),
        ({"tuning.dates": True}, "tuning.dates is True"),
        ({"split.k_core": 5}, "split.k_core is 5, and the preset paper has 1"),
        ({"backbone.heads": 2}, "backbone.heads is 2"),
        ({"codebook.iterations": 3}, "codebook.iterations is 3"),
        ({"events.repeats": "collapse"}, "settings of [events] change which interactions there are"),
    ],
)
def test_another_method_is_not_the_papers(changed: dict[str, Any], says: str) -> None:
    settings = load_settings(None, environment={}, overrides={**read_preset("paper").values, **changed})
    (reason,) = differences_from_paper(GAMES, settings, "test", "paper")
    assert reason.startswith(says)
    if "events" not in says:  # a setting of the row itself makes the row
        assert differences_from_paper(GAMES, settings, "test", "paper", changed) == []


def test_the_encoder_and_decoder_belong_to_the_method_of_the_row_that_has_them() -> None:
    row = {"codebook.method": "rqvae"}
    for changed, reasons in (
        ({"rqvae.hidden": 2}, ["rqvae.hidden is 2, and the preset paper has 128"]),
        ({"rqvae.epochs": 7, "rqvae.hidden": 128}, []),
    ):
        used, unused = (
            load_settings(None, environment={}, overrides={**read_preset("paper").values, **changed, **own})
            for own in (row, {})
        )
        assert differences_from_paper(GAMES, used, "test", "paper", row) == reasons
        assert differences_from_paper(GAMES, unused, "test", "paper") == []


def test_epochs_that_an_earlier_run_chose_and_seeds_change_no_method() -> None:
    chosen = {"dccf.epochs": 7, "tuning.epochs": 3, "tuning.seed": 5, "tuning.max_samples": 9}
    settings = load_settings(None, environment={}, overrides={**read_preset("paper").values, **chosen})
    assert differences_from_paper(GAMES, settings, "test", "paper") == []


def test_further_items_compete_with_the_held_out_ones() -> None:
    settings = load_settings(None, environment={}, overrides=read_preset("paper").values)
    (reason,) = differences_from_paper(dataclasses.replace(GAMES, items_without_interactions=9), settings, "test")
    assert "9 items without interactions" in reason


@pytest.mark.parametrize("change", [{"users": 50_545}, {"items": 16_858}, {"average_length": 452_900 / 50_546}])
def test_other_counts_are_other_data(change: dict[str, Any]) -> None:
    assert paper_data_set(dataclasses.replace(GAMES, **change)) is None


@pytest.mark.parametrize(
    ("overrides", "split", "says"),
    [
        ({}, "valid", "the held-out items are those of the split valid"),
        ({"split.train_cut": "[:-2]"}, "test", "the train cut is [:-2]"),
        ({"recommend.seen": "masked"}, "test", "seen items are masked"),
        ({"split.history_length": 10}, "test", "histories have 10 items"),
        ({"split.temporal_at": "0.9"}, "test", "the split is in time"),
        ({"recommend.where": "true"}, "test", "recommend.where leaves out items"),
        ({"evaluate.max_users": 100}, "test", "evaluate.max_users leaves out all users but 100"),
    ],
)
def test_another_protocol_is_named(overrides: dict[str, Any], split: Split, says: str) -> None:
    settings = load_settings(None, environment={}, overrides={**read_preset("paper").values, **overrides})
    (reason,) = differences_from_paper(GAMES, settings, split)
    assert reason.startswith(says)


def result() -> dict[str, Any]:
    """A made-up result of Table 5 with two rows, one of them published."""
    shared = {"hr@1": 0.1, "hr@5": 0.2, "hr@10": 0.3, "ndcg@5": 0.15, "num_users": 7, "tuning_samples": 1000}
    rates = {"collision_rate": 0.108, "collision_rate_distinct": 0.06, "new_tokens": 512.0}
    none = dict.fromkeys(["ndcg@10_less_reference", "ndcg@10_less_reference_low", "ndcg@10_less_reference_high"])
    less = dict(zip(none, [-0.02, -0.03, -0.01], strict=True))
    interval = {"ndcg@10_low": 0.05, "ndcg@10_high": 0.09, "tuning_processor_seconds": 61.4}
    return {
        "table": "table5", "argument": "table5", "title": "Table 5", "split": "test", "train_cut": "[:-1]", "seen": "kept", "seeds": [0, 1], "confidence": 0.9,
        "budget": 5000, "backbones": [], "codes": "Games.index.json", "settings": {"split.train_cut": "[:-2]"}, "not_above_popularity": ["C = 2"],
        "not_aligned": {"C = 4": "seed 1: text explains 0.019 of the behaviour vectors' variance, less than codebook.min_text_r2 = 0.02"},
        "preset": "paper", "reference": "C = 4", "published": "shown", "rows": [], "notes": ["5 of 7 held-out items can be in no list of the row C = 2: 5 without codes."],
        "data": {**dataclasses.asdict(GAMES), "paper_data_set": "Games"},
        "left_out": [{"label": "P5", "reason": "it is another model"}],
        "means": [
            {"label": "C = 2", **shared, **interval, **rates, "ndcg@10": 0.06, **less, "paper ndcg@10": 0.0668},
            {"label": "C = 4", **shared, **interval, **rates, "ndcg@10": 0.08, **none, "tuning_processor_seconds": None},
        ],
        "verdicts": [
            {"claim": "C = 4 > C = 2", "difference": 0.02, "low": 0.01, "high": 0.03, "by seed": [0.005, 0.035], "paper difference": 0.0056, "paper data set": "Games", "verdict": "holds"},
            {"claim": "C = 4 > P5", "difference": None, "low": None, "high": None, "by seed": [], "paper difference": None, "paper data set": None, "verdict": "not measured"},
        ],
    }  # fmt: skip


def test_a_report_has_the_conditions_the_costs_and_the_verdicts() -> None:
    page = markdown(result())
    for part in (
        "`semconv --set 'split.train_cut=[:-2]' experiment table5 --split test --seeds 2 --budget 5000 --codes Games.index.json`",
        "- Not above popularity on the same users: C = 2.",
        "- The codes of the row C = 4 are not aligned with text (seed 1: text explains 0.019 of the",
        "\n- 5 of 7 held-out items can be in no list of the row C = 2: 5 without codes.\n",
        "50,546 users, 16,859 items, 452,989 interactions (Games)",
        "train cut `[:-1]`, seen items kept, 7 users evaluated, seeds 0, 1",
        "5,000 training samples for each row. Settings: preset paper.",
        "- Intervals: 90 % bootstrap over users",
        "| 90 % interval of NDCG@10 |",
        "| C = 2 | 0.1000 | 0.2000 | 0.3000 | 0.1500 | 0.0600 | (0.0500 to 0.0900) | -0.0200 (-0.0300 to -0.0100) | 0.0668 | 1,000 | 61 |",
        "| C = 2 | 10.80% | 6.00% | 512 |",
        "- P5: it is another model",
        "| C = 4 > C = 2 | +0.0200 (+0.0100 to +0.0300) | +0.0050, +0.0350 | +0.0056 Games | holds |",
        "| C = 4 > P5 |  |  |  | not measured |",
    ):
        assert part in page


def test_the_figures_of_a_report_are_rows_like_those_of_other_benchmarks() -> None:
    from benchmarks.rows import table

    rows = list(figure_rows(result()))
    assert "C = 2: Games, 50546 users, test, [:-1], seen kept, 2 seeds, 5000 samples" in table(rows)
    (published,) = [row for row in rows if row["peer_name"] == "paper" and row["unit"] == "mean over users"]
    assert (published["ours"], published["peer"]) == (0.06, 0.0668)
    assert published["ratio"] == pytest.approx(0.06 / 0.0668)
    assert published["interval"] == [0.05, 0.09]
    claims = {row["case"].partition(":")[0]: row["verdict"] for row in rows if row["unit"] == "difference of the claim"}
    assert claims == {"C = 4 > C = 2": "holds", "C = 4 > P5": "not measured"}
    assert [row["ours"] for row in rows if row["metric"] == "tuning_processor_seconds"] == [61.4]
