"""A training on validation items takes the number of epochs that an equal training without them chose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from semconv.artifacts import write_json
from semconv.data.store import RunRecord
from semconv.runs.digests import write_complete
from semconv.runs.files import BACKBONE_MANIFEST, FIGURES
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages import stage_settings
from semconv.stages.tune.chosen_epochs import chosen_epochs
from semconv.stages.tune.inputs import TuningInputs
from semconv.stages.tune.run import wanted_tuning
from semconv_warehouse.project import Project
from tests.worlds import projects as case
from tests.worlds import published

HONEST, CUT = {"split.train_cut": "[:-2]"}, {"split.train_cut": "[:-1]"}
NOT_CHOSEN = (
    "decides the number of epochs: the train cut [:-1] leaves no validation items, and no finished tuning with [:-2], the"
    " same settings and the same data has chosen it"
)


def opened(root: Path, overrides: dict[str, Any]) -> tuple[Workspace, list[str]]:
    progress = case.Remarks()
    return Project.open(root, progress=progress, overrides=overrides).workspace, progress.said


def add_model(root: Path, number: int, overrides: dict[str, Any], best_epoch: int = 4, **figures: Any) -> RunRecord:
    """Record the runs of a model with the files that are read here, as if it had been tuned with these settings."""
    workspace, _ = opened(root, overrides)
    store: Any = workspace.store

    def add(stage: str, settings: dict[str, Any], inputs: list[str], files: dict[str, Any]) -> RunRecord:
        run_id = f"{stage}-{number}"
        folder = store.layout.runs / run_id
        folder.mkdir()
        for name, content in files.items():
            write_json(folder / name, content)
        write_complete(folder, content={"interaction": store.content_hash("interaction")})
        published.add_run(store, run_id, stage, inputs=inputs, settings=settings)
        return workspace.run(run_id)

    made = add("backbone", stage_settings.created_backbone(workspace), [], {BACKBONE_MANIFEST: {"is_relative": True}})
    behavior = add("embed_behavior", stage_settings.behavior(workspace), [], {})
    text = add("embed_text", stage_settings.text(workspace, made), [made.run_id], {})
    codebook = add("codebook", stage_settings.codebook(workspace), [behavior.run_id, text.run_id], {})
    return add(
        "finetune",
        stage_settings.finetune(workspace, made, codebook),
        [made.run_id, codebook.run_id],
        {FIGURES: {"epochs": 9, "best_epoch": best_epoch, **figures}},
    )


def chosen(root: Path, **overrides: Any) -> tuple[tuple[str, int] | None, list[str]]:
    """Return run and epochs that a tuning with other settings on the train cut [:-1] takes, and what it says."""
    dotted = {name.replace("__", ".", 1): value for name, value in overrides.items()}
    takes_epochs = dotted.pop("takes_epochs", True)
    workspace, said = opened(root, {**CUT, **dotted})
    model = Lineage.of(workspace.store, workspace.run("finetune-11"))
    codes = Lineage.current(workspace.store, model.codebook)
    found = chosen_epochs(workspace, TuningInputs(model.backbone, codes, takes_epochs=takes_epochs))
    return None if found is None else (found[0].run_id, found[1]), said


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return published.make_project(tmp_path / "project")[0].root


def test_the_best_epoch_of_an_equal_training_is_taken_and_said(root: Path) -> None:
    add_model(root, 11, HONEST)
    message = "training 4 epochs, because finetune-11 with the train cut [:-2], the same settings and the same data was best after 4"
    assert chosen(root) == (("finetune-11", 4), [message])
    assert chosen(root, takes_epochs=False) == (None, [])
    assert chosen(root, split__train_cut="[:-2]") == (None, [])


def test_the_factor_of_the_successors_is_taken_with_the_epochs(root: Path) -> None:
    add_model(root, 11, HONEST, successor_factor=4.0)

    def wanted(**settings: Any) -> tuple[float | None, Any]:
        workspace, _ = opened(root, {**CUT, **settings})
        model = Lineage.of(workspace.store, workspace.run("finetune-11"))
        codes = Lineage.current(workspace.store, model.codebook)
        found = wanted_tuning(workspace, TuningInputs(model.backbone, codes))
        assert found is not None
        return found.tuning.successor_factor, found.request.settings.get("chosen")

    assert wanted() == (4.0, {"epochs": 4, "successor_factor": 4.0})
    add_model(root, 12, HONEST, successor_factor=1.0)
    assert wanted() == (None, {"epochs": 4})
    add_model(root, 13, {**HONEST, "tuning.successor_factor": 0.5}, successor_factor=0.5)
    assert wanted(**{"tuning.successor_factor": 0.5}) == (0.5, {"epochs": 4})


@pytest.mark.parametrize(
    "other",
    [
        {"tuning__learning_rate": 0.5},
        {"tuning__epochs": 7},
        {"dccf__epochs": 1, "behavior__source": "dccf"},
        {"codebook__alignment": 0.7},
        {"backbone__width": 64},
        {"split__k_core": 3},
        {"recommend__seen": "kept"},
        {"text__dimensions": 16},
        {"text__vectors": "hidden"},
        {"text__vectors": "mean"},
    ],
)
def test_a_training_with_other_settings_chooses_nothing(root: Path, other: dict[str, Any]) -> None:
    add_model(root, 11, HONEST)
    decides = "tuning.epochs = 7" if "tuning__epochs" in other else "the default of tuning.epochs"
    assert chosen(root, **other) == (None, [f"{decides} {NOT_CHOSEN}"])


@pytest.mark.parametrize("other", ["auto", "none"])
def test_means_of_token_embeddings_are_a_setting_like_others(root: Path, other: str) -> None:
    add_model(root, 11, {**HONEST, "text.vectors": "mean"})
    assert chosen(root, text__vectors="mean")[0] == ("finetune-11", 4)
    assert chosen(root, text__vectors=other)[0] is None


def test_a_training_on_other_data_or_another_mask_or_without_validation_chooses_nothing(root: Path) -> None:
    add_model(root, 11, {**HONEST, "recommend.seen": "kept"})
    add_model(root, 12, {**HONEST, "tuning.validation_users": 0}, best_epoch=-1)
    assert chosen(root)[0] is None
    assert chosen(root, tuning__validation_users=0)[0] is None
    assert chosen(root, recommend__seen="kept")[0] == ("finetune-11", 4)
    store: Any = opened(root, HONEST)[0].store
    with store.write() as connection:
        connection.exec_driver_sql("INSERT INTO interaction (user_id, item_id, position) VALUES ('u0', 'i5', 9)")
    assert chosen(root, recommend__seen="kept")[0] is None
