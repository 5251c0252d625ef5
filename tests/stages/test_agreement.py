"""Loss, early stopping, blend and lists agree on scores and mask, or the settings that differ are named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from semconv.data.store import RunRecord
from semconv.errors import InputError, SettingsError
from semconv.runs.lineage import Lineage, with_inputs
from semconv.runs.workspace import Workspace
from semconv.settings.recommend import RecommendSettings
from semconv.stages import stage_settings
from semconv.stages.agreement import code_scores, require_held_out, require_same_mask, stopping_mask
from semconv.stages.blend.choice import chosen_blend, fitting_blend, fitting_lineage, weights_before
from semconv.stages.night import _Night
from semconv_warehouse.project import Project
from semconv_warehouse.publish.plan import plan_generation
from tests.worlds import published

TUNED = {
    "split": {"train_cut": "[:-2]", "temporal_at": "", "k_core": 2, "history_length": 20},
    "tuning": {"loss_over": "trie", "validation_users": 10, "history": "tokens"},
    "recommend": {"seen": "masked"},
}


def tuned(**sections: dict[str, Any]) -> dict[str, Any]:
    return {name: {**values, **sections.get(name, {})} for name, values in TUNED.items()}


def run(settings: dict[str, Any]) -> RunRecord:
    return RunRecord("finetune-x", "finetune", "finished", settings, (), "f", "data/runs/finetune-x", "0.1.0")


@pytest.mark.parametrize(("loss", "scores"), [("trie", "trie"), ("vocabulary", "full")])
def test_lists_take_the_normalisation_of_the_loss(loss: str, scores: Any) -> None:
    tuning = {"loss_over": loss}
    assert code_scores(RecommendSettings(), tuning) == scores
    assert code_scores(RecommendSettings(scores=scores), tuning) == scores
    other = "full" if scores == "trie" else "trie"
    message = rf"recommend.scores = {other}: .*tuning.loss_over = {loss}\); set recommend.scores = auto"
    with pytest.raises(SettingsError, match=message):
        code_scores(RecommendSettings(scores=other), tuning)
    assert code_scores(RecommendSettings(scores=other), {**tuning, "history": "items"}) == other  # not used there


def test_the_mask_is_that_of_early_stopping_if_there_was_any() -> None:
    masked = {"seen": "masked", "seen_days": 0.0, "seen_types": []}
    assert stopping_mask(tuned()) == masked
    assert stopping_mask(tuned(recommend={"seen": "kept"})) == {**masked, "seen": "kept"}
    assert stopping_mask({name: TUNED[name] for name in ("split", "tuning")}) == masked  # recorded without a mask
    assert stopping_mask(tuned(split={"train_cut": "[:-1]"})) is None
    assert stopping_mask(tuned(tuning={"validation_users": 0})) is None
    kept = {"seen": "kept"}
    message = r"recommend.seen = kept: early stopping of finetune-x scored lists with recommend.seen = masked; set it"
    with pytest.raises(SettingsError, match=message):
        require_same_mask(kept, run(tuned()))
    require_same_mask(kept, run(tuned(recommend={"seen": "kept"})))
    require_same_mask(kept, run(tuned(split={"train_cut": "[:-1]"})))
    require_same_mask({"seen": "kept", "seen_days": 30.0}, run(tuned(recommend={"seen": "kept"})))  # no item is masked


@pytest.mark.parametrize(
    ("had", "wanted", "message"),
    [
        ({}, {"seen_days": 30.0}, "recommend.seen_days = 30: early .* recommend.seen_days = 0; set it to 0, or tune"),
        ({"seen_days": 1.5}, {}, "recommend.seen_days = 0: early .* recommend.seen_days = 1.5; set it to 1.5"),
        (
            {"seen_types": ["buy"]},
            {"seen_types": ["buy", "view"]},
            r'events.seen = \["buy", "view"\]: .* \["buy"\]; set it',
        ),
    ],
)
def test_days_and_types_of_seen_items_are_part_of_the_mask(
    had: dict[str, Any], wanted: dict[str, Any], message: str
) -> None:
    finetune = run(tuned(recommend=had))
    with pytest.raises(SettingsError, match=message):
        require_same_mask({"seen": "masked", **wanted}, finetune)
    require_same_mask({"seen": "masked", **had}, finetune)


@pytest.mark.parametrize(
    ("train_cut", "split", "known"),
    [
        ("[:-2]", "valid", None),
        ("[:-2]", "test", None),
        ("[:-1]", "valid", "the validation items"),
        ("[:-1]", "test", None),
        ("[:-1]", "serve", None),
        ("[:]", "valid", "the validation items"),
        ("[:]", "test", "the test items"),
        ("[:]", "serve", None),
    ],
)
def test_a_model_is_not_scored_on_items_that_it_was_trained_on(train_cut: Any, split: Any, known: str | None) -> None:
    lineage = Lineage((run(tuned(split={"train_cut": train_cut})),), (), None)
    if known is None:
        require_held_out(split, lineage)
        return
    with pytest.raises(SettingsError) as caught:
        require_held_out(split, lineage)
    other = "give --split test, or " if train_cut == "[:-1]" else ""
    assert str(caught.value) == (
        f"finetune-x was trained with split.train_cut = {train_cut}, which contains {known}, so figures on these items"
        f" would be too high; {other}set split.train_cut = [:-2] and train again with `semconv run --refit`"
    )


def test_vectors_of_a_longer_train_cut_count_like_the_model() -> None:
    vectors = dataclasses.replace(run({"split": {"train_cut": "[:-1]"}}), run_id="embed-x", stage="embed_behavior")
    lists = dataclasses.replace(run({"split": "valid"}), run_id="recommend-x", stage="recommend")
    lineage = Lineage((lists, run(tuned()), vectors), (), None)
    require_held_out("test", lineage)
    with pytest.raises(
        SettingsError, match=r"^embed-x was trained with split.train_cut = \[:-1\], which contains the v"
    ):
        require_held_out("valid", lineage)


# Blends, of runs without files


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A model of the train cut [:-2] whose early stopping chose nothing, and one of [:-1] with another code set."""
    layout, store = published.make_project(tmp_path)
    published.add_run(store, "backbone-1", "backbone")
    published.add_run(store, "codebook-2", "codebook", inputs=["embed-1"])
    for number, cut in ((1, "[:-2]"), (2, "[:-1]")):
        settings = tuned(split={"train_cut": cut}, tuning={"validation_users": 0})
        published.add_run(
            store, f"model-{number}", "finetune", inputs=["backbone-1", f"codebook-{number}"], settings=settings
        )
    return Project.open(layout.root)


def opened(project: Project, **overrides: Any) -> Workspace:
    dotted = {name.replace("__", ".", 1): value for name, value in overrides.items()}
    return Project.open(project.layout.root, overrides=dotted).workspace


def add_blend(workspace: Workspace, number: int, model: int, inputs: tuple[str, ...] = ()) -> RunRecord:
    """Record a blend with the settings of a workspace."""
    settings = stage_settings.blend(workspace, lineage(workspace, model))
    store: Any = workspace.store
    all_inputs = (f"model-{model}", f"codebook-{model}", "embed-1", *inputs)
    return published.add_run(store, f"blend-{number}", "blend", inputs=all_inputs, settings=settings)


def lineage(workspace: Workspace, model: int) -> Lineage:
    return Lineage.current(workspace.store, workspace.run(f"model-{model}"))


def test_a_blend_of_another_mask_is_not_taken(project: Project) -> None:
    masked, kept = opened(project, blend__use="always"), opened(project, blend__use="always", recommend__seen="kept")
    first = add_blend(masked, 1, 1)
    assert getattr(fitting_blend(masked, lineage(masked, 1)), "run_id", None) == first.run_id
    assert fitting_blend(kept, lineage(kept, 1)) is None
    message = "recommend.seen = kept: the weights of blend-1 were fitted with recommend.seen = masked; fit a blend"
    with pytest.raises(SettingsError, match=message):
        chosen_blend(kept, lineage(kept, 1), "serve")
    never = opened(project, blend__use="never", recommend__seen="kept")
    assert chosen_blend(never, lineage(never, 1), "serve") is None
    add_blend(kept, 2, 1)  # the newest, and the other one is still found
    found = fitting_blend(masked, lineage(masked, 1)), fitting_blend(kept, lineage(kept, 1))
    assert [record.run_id if record else None for record in found] == ["blend-1", "blend-2"]


def test_a_night_fits_a_blend_for_another_mask_and_keeps_one_for_the_same(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    masked, kept = opened(project), opened(project, recommend__seen="kept")
    add_blend(masked, 1, 1)
    monkeypatch.setattr("semconv.stages.night.reason_against", lambda *_: "it is asked for a new one here")
    for workspace, states in ((masked, ["kept"]), (kept, [])):
        night = _Night(workspace)
        night._blend(lineage(workspace, 1), is_fitted=False)
        assert [stage["state"] for stage in night.stages] == states


@pytest.mark.parametrize(
    ("setting", "value", "differs"),
    [
        ("recommend.seen", "kept", "recommend.seen = masked"),
        ("blend.candidates", 7, "blend.candidates = 60"),
        ("counter.decay", 1.5, "counter.decay = 0.6"),
        ("blend.smoothed", True, "blend.smoothed = false"),
        ("split.history_length", 5, "split.history_length = 20"),
    ],
)
def test_weights_are_taken_over_for_the_same_settings_alone(
    project: Project, setting: str, value: Any, differs: str
) -> None:
    workspace = project.workspace
    cut = lineage(workspace, 2)
    with pytest.raises(InputError, match=r"contains the validation items .* no blend was fitted with \[:-2\]"):
        weights_before(workspace, cut)
    first = add_blend(workspace, 1, 1)
    found = weights_before(workspace, cut)
    assert found is not None
    assert found.run_id == first.run_id
    assert weights_before(workspace, lineage(workspace, 1)) is None
    other = Project.open(project.layout.root, overrides={setting: value}).workspace
    with pytest.raises(InputError, match=f"blend-1 for .* was fitted with {differs}; fit a blend with these settings"):
        weights_before(other, cut)


@pytest.mark.parametrize(
    ("section", "value", "differs"),
    [
        ("split", {"temporal_at": "0.9"}, "split.temporal_at = "),
        ("split", {"k_core": 3}, "split.k_core = 2"),
        ("split", {"events": {"targets": ["buy"]}}, "events.targets = null"),
        ("tuning", {"history": "items"}, "tuning.history = tokens"),
    ],
)
def test_weights_of_another_split_or_kind_of_model_are_not_taken(
    project: Project, section: str, value: dict[str, Any], differs: str
) -> None:
    workspace = project.workspace
    add_blend(workspace, 1, 1)
    cut = lineage(workspace, 2)
    settings = {**cut.run.settings, section: {**cut.run.settings[section], **value}}
    other = dataclasses.replace(cut, runs=(dataclasses.replace(cut.run, settings=settings), *cut.runs[1:]))
    with pytest.raises(InputError, match=f"was fitted with {differs};"):
        weights_before(workspace, other)


def test_a_blend_without_a_model_takes_weights_and_mask_of_its_kind(project: Project) -> None:
    masked = opened(project, blend__model=False)
    store: Any = masked.store
    published.add_run(store, "embed-2", "embed_behavior", settings={"split": TUNED["split"]})
    settings = stage_settings.blend(masked, fitting_lineage(masked))
    published.add_run(store, "blend-alone", "blend", inputs=["embed-2"], settings=settings)
    alone = masked.lineage()
    chosen = chosen_blend(masked, alone, "serve")
    assert chosen is not None
    assert (chosen.record.run_id, chosen.served) == ("blend-alone", "blend-without-model")
    kept = opened(project, blend__model=False, recommend__seen="kept")
    assert fitting_blend(kept, kept.lineage()) is None
    with pytest.raises(SettingsError, match=r"recommend.seen = kept: the weights of blend-alone were fitted with"):
        chosen_blend(kept, kept.lineage(), "serve")


def test_a_model_that_lends_weights_is_not_part_of_a_lineage(project: Project) -> None:
    workspace = project.workspace
    add_blend(workspace, 1, 1)
    add_blend(workspace, 2, 2, inputs=("blend-1",))
    known = {record.run_id: record for record in workspace.store.runs()}
    found = [record.run_id for record in with_inputs(known, ["blend-2"])]
    assert found[-1] == "blend-1"
    assert not {"model-1", "codebook-1"} & set(found)
    assert "model-1" in {record.run_id for record in with_inputs(known, ["blend-2", "blend-1"])}
    store = project.store
    inputs = ["model-2", "codebook-2", "embed-1", "blend-2"]
    published.add_run(store, "recommend-2", "recommend", inputs=inputs, settings=published.SERVE)
    plan = plan_generation(store, "recommend-2")
    assert plan.code_runs == ("codebook-2",)
    assert {"blend-1", "blend-2"} <= {record.run_id for record in plan.runs}
