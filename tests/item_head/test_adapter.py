"""Histories as items with LoRA: which weights are trained, and that the loaded model is the trained one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from semconv.backbone.forward import decoder, input_matrix
from semconv.item_head.files import ItemFile
from semconv.item_head.parts import NAME
from semconv.settings.tuning import TuningSettings
from semconv.tuning.code_rows import CodeRows
from semconv.tuning.model import ADAPTER, load_tuned, save_tuned, take_adapter, trainable
from semconv.tuning.step import Stepper
from tests.worlds import prompts as case
from tests.worlds.tuning.items import SETTINGS, ItemCase

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
LORA = replace(SETTINGS, mode="lora", lora_rank=4, lora_dropout=0.0)
BOTH_MODES = pytest.mark.parametrize("settings", [SETTINGS, LORA], ids=["full", "lora"])
BOTH_TIES = pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
CODE_ROWS = "token_adapter.trainable_tokens_delta"


def saved(made: ItemCase, backbone: Path, folder: Path) -> Any:
    """Save a model and its item parts, and load the model as lists do."""
    made.setup.detach(made.model, folder)
    manifest = {"mode": made.settings.mode, "dtype": "float32", "backbone": str(backbone)}
    save_tuned(made.model, made.tokenizer, folder / "model", {**manifest, "levels": case.LEVELS, "codes": case.CODES})
    return load_tuned(folder / "model", trust_remote_code=False).model


@BOTH_TIES
@BOTH_MODES
def test_the_loaded_model_makes_the_lists_of_the_trained_one(
    tmp_path: Path, settings: TuningSettings, tied: bool
) -> None:
    backbone = case.saved_model(tmp_path / "backbone", tied=tied)
    made = ItemCase(backbone, settings)
    made.disturb()
    expected = made.search(made.model.eval(), made.parts)  # as validation searches, before an adapter is merged
    loaded = saved(made, backbone, tmp_path)
    parts = ItemFile.load(tmp_path).parts(made.setup.code_tokens, made.setup.texts)
    assert not hasattr(loaded, "peft_config")
    found = made.search(loaded, parts)
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)


@BOTH_TIES
def test_the_code_rows_of_an_adapter_make_the_vectors_of_items(tmp_path: Path, tied: bool) -> None:
    """The rows are trained apart from the frozen matrix, so a search that read the matrix would ignore them."""
    made = ItemCase(case.saved_model(tmp_path / "backbone", tied=tied), LORA)
    before = made.search(made.model.eval(), made.parts)
    (rows,) = (weight for name, weight in trainable(made.model).items() if CODE_ROWS in name)
    with torch.no_grad():
        rows += 1.0
    assert not np.allclose(made.search(made.model, made.parts).scores, before.scores, atol=1e-2)
    input_matrix(made.model)[torch.from_numpy(made.level_tokens.ravel())].sum().backward()
    assert rows.grad is not None
    assert torch.equal(rows.grad, torch.ones_like(rows))


@BOTH_TIES
@BOTH_MODES
def test_a_step_changes_every_trained_weight_and_no_other(tmp_path: Path, settings: TuningSettings, tied: bool) -> None:
    made = ItemCase(case.saved_model(tmp_path / "backbone", tied=tied), settings)
    made.disturb()  # a new adapter is 0, and half of it has no gradient then
    before, chosen = made.weights(), trainable(made.model)
    made.step()
    changed = {name for name, weight in made.weights().items() if not torch.equal(weight, before[name])}
    assert changed == set(chosen)
    parts = {f"{NAME}.{name}" for name, weight in made.parts.named_parameters() if weight.requires_grad}
    assert parts < changed
    assert not [name for name in changed if "lm_head" in name]  # which the item head does not use
    if settings.mode == "lora":
        assert {name.split(".")[0] for name in changed - parts} == {"base_model"}
        assert all("lora_" in name or CODE_ROWS in name for name in changed - parts)
        layers = [name for name, _ in decoder(made.model).named_modules() if name.endswith("lora_A.default")]
        assert len(layers) == 2 * 7  # all linear projections of two layers; the item parts have no adapter


def test_the_files_of_an_adapter_hold_no_item_parts_and_continue_it(tmp_path: Path) -> None:
    backbone = case.saved_model(tmp_path / "backbone")
    made = ItemCase(backbone, LORA)
    made.disturb()
    expected = {name: weight.clone() for name, weight in trainable(made.model).items() if not name.startswith(NAME)}
    saved(made, backbone, tmp_path)
    arrays = load_file(tmp_path / "model" / ADAPTER)
    assert len(arrays) == len(expected)
    assert not [name for name in arrays if NAME in name or "lm_head" in name]
    assert max(len(array) for array in arrays.values()) < 100  # no matrix of all words
    model = ItemCase(backbone, LORA).model
    delattr(model, NAME)
    take_adapter(model, tmp_path / "model")
    assert all(torch.equal(weight, expected[name]) for name, weight in trainable(model).items())


def test_checkpointed_layers_give_the_same_gradients(tmp_path: Path) -> None:
    backbone, found = case.saved_model(tmp_path / "backbone"), []
    for checkpointing in (False, True):
        made = ItemCase(backbone, replace(LORA, lora_dropout=0.2, dropout=0.2, gradient_checkpointing=checkpointing))
        made.disturb()
        found.append(made.step())
    assert found[0].loss == pytest.approx(found[1].loss, rel=1e-5)
    assert found[0].gradient_norm == pytest.approx(found[1].gradient_norm, rel=1e-4)


def test_dropout_acts_on_the_read_items_of_an_adapter(tmp_path: Path) -> None:
    backbone = case.saved_model(tmp_path / "backbone")
    losses = [ItemCase(backbone, replace(LORA, dropout=dropout)).step().loss for dropout in (0.0, 0.0, 0.5)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("with_texts", [True, False])
@BOTH_MODES
def test_a_network_of_code_rows_is_trained_by_histories_as_items(
    tmp_path: Path, settings: TuningSettings, with_texts: bool
) -> None:
    """Item vectors read the rows without a forward pass of the embedding layer, which prompts with text alone have."""
    made = ItemCase(case.saved_model(tmp_path / "backbone", tied=True), settings)
    books = np.random.default_rng(0).standard_normal((case.LEVELS, case.CODES, 5)).astype(np.float32)
    code_rows = CodeRows(made.model, made.level_tokens, books, 2, seed=0)
    chosen = torch.from_numpy(made.level_tokens.ravel())
    rows = made.form.rows(0)
    stepper = Stepper(made.model, made.form, made.settings)
    for number in range(2):
        before = {name: weight.detach().clone() for name, weight in code_rows.network.named_parameters()}
        with torch.no_grad():
            torch.testing.assert_close(input_matrix(made.model)[chosen], code_rows.network())
        stepper.step([rows if with_texts else rows[: len(made.form.windows)]], number, 1.0)
        changed = [
            name for name, weight in code_rows.network.named_parameters() if not torch.equal(weight, before[name])
        ]
        assert changed == list(before)
    code_rows.fold()
    with torch.no_grad():
        torch.testing.assert_close(input_matrix(made.model)[chosen], code_rows.network())
