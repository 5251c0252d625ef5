"""Code tokens whose rows a network computes from the codebooks: at the start, in training, resumed, and saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semconv.backbone.code_tokens import add_code_tokens
from semconv.backbone.load import load_backbone
from semconv.settings.tuning import TuningSettings
from semconv.tuning.batches import collate
from semconv.tuning.code_rows import CodeRows, RowNetwork
from semconv.tuning.model import load_tuned, prepare, save_tuned, trainable
from tests.worlds import prompts
from tests.worlds.tuning.training import SETTINGS, Case, EndingProgress, batch_loss

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
MODES = pytest.mark.parametrize("mode", ["full", "lora"])
TIED = pytest.mark.parametrize("tied", [False, True])


def made_case(folder: Path, mode: str, tied: bool, start: str = "mlp2", **settings: Any) -> Case:
    return Case(folder, replace(SETTINGS, mode=mode, code_start=start, **settings), tied=tied)


@torch.no_grad()
def input_rows(made: Case) -> torch.Tensor:
    """Return the rows of the code tokens as the model applies them."""
    made.model.eval()
    inner = made.model.get_base_model() if hasattr(made.model, "get_base_model") else made.model
    return inner.get_input_embeddings()(torch.from_numpy(made.level_tokens.ravel())).clone()


def test_the_network_is_linear_layers_with_relu_between() -> None:
    books = np.random.default_rng(1).standard_normal((2, 3, 4)).astype(np.float32)
    network = RowNetwork(books, 6, 3, seed=0)
    with torch.no_grad():
        network.linears[0].bias.fill_(0.1)
        rows = books.reshape(6, 4)
        for index, linear in enumerate(network.linears):
            rows = np.maximum(rows, 0) if index else rows
            rows = rows @ linear.weight.numpy().T + linear.bias.numpy()
        np.testing.assert_allclose(network().numpy(), rows, rtol=1e-5, atol=1e-6)
    assert [tuple(linear.weight.shape) for linear in network.linears] == [(6, 4), (6, 6), (6, 6)]
    assert torch.equal(RowNetwork(books, 6, 3, seed=0).linears[1].weight, network.linears[1].weight)
    assert not torch.equal(RowNetwork(books, 6, 3, seed=1).linears[1].weight, network.linears[1].weight)


@MODES
@TIED
@pytest.mark.parametrize("start", ["mlp2", "mlp3"])
def test_rows_are_the_networks_at_the_start_and_after_every_step(
    tmp_path: Path, mode: str, tied: bool, start: str
) -> None:
    made = made_case(tmp_path, mode, tied, start, max_samples=60)
    made.validate = None
    assert made.code_rows is not None
    network = made.code_rows.network
    first = network().detach().clone()
    torch.testing.assert_close(input_rows(made), first)
    plain, _, _ = prompts.coded(tied=tied)
    expected = float(plain.get_input_embeddings().weight.detach().pow(2).mean().sqrt())
    assert float(first.pow(2).mean().sqrt()) == pytest.approx(expected, rel=1e-4)
    made.run()
    assert not torch.equal(network().detach(), first)
    torch.testing.assert_close(input_rows(made), network().detach())


@MODES
@TIED
def test_the_gradient_is_that_of_a_model_whose_rows_are_computed(tmp_path: Path, mode: str, tied: bool) -> None:
    made = made_case(tmp_path, mode, tied, dropout=0.0, lora_dropout=0.0)
    assert made.code_rows is not None
    network, target = made.code_rows.network, made.code_rows.target
    made.model.double().eval()
    batch = collate(made.rows(0)[:4], 0)
    batch_loss(made.model, batch, 0.5)[0].backward()
    assert target.grad is not None
    assert not target.grad[made.code_rows.index].any()
    gradients = {name: weight.grad.clone() for name, weight in network.named_parameters()}
    assert all(gradient.abs().max() > 0 for gradient in gradients.values())
    # Compare with differences: along the gradient the loss rises by the gradient's squared length.
    length = sum(float(gradient.pow(2).sum()) for gradient in gradients.values())
    losses = []
    for sign in (1, -1):
        step = sign * 1e-4 / length**0.5
        with torch.no_grad():
            for name, weight in network.named_parameters():
                weight += step * gradients[name]
            losses.append(float(batch_loss(made.model, batch, 0.5)[0]))
            for name, weight in network.named_parameters():
                weight -= step * gradients[name]
    assert (losses[0] - losses[1]) / 2e-4 == pytest.approx(length**0.5, rel=1e-3)


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("mode", "start"), [("full", "mlp2"), ("lora", "mlp3")])
def test_an_interrupted_training_ends_with_the_same_bits(tmp_path: Path, mode: str, start: str) -> None:
    whole = made_case(tmp_path / "whole", mode, False, start, checkpoint_seconds=10_000, epochs=2)
    whole.folder.mkdir()
    figures = whole.run()
    first = made_case(tmp_path, mode, False, start, checkpoint_seconds=0, epochs=2)
    first.remarks = EndingProgress(7, interrupt)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    last = made_case(tmp_path, mode, False, start, checkpoint_seconds=10_000, epochs=2)
    times = {"seconds": 0, "processor_seconds": 0}
    assert {**last.run(), **times} == {**figures, **times}
    expected = whole.weights()
    assert {"code_rows.books", "code_rows.linears.0.weight"} <= expected.keys()
    for name, weight in last.weights().items():
        assert torch.equal(weight, expected[name]), name
    assert torch.equal(input_rows(last), input_rows(whole))


@MODES
@TIED
def test_a_saved_model_is_plain_and_gives_the_same_logits(tmp_path: Path, mode: str, tied: bool) -> None:
    backbone = tmp_path / "backbone"
    tokenizer = prompts.tokenizer("embedded")
    prompts.model(len(tokenizer), tied=tied).save_pretrained(backbone)
    tokenizer.save_pretrained(backbone)
    model, tokenizer = load_backbone(backbone)
    tokens = add_code_tokens(model, tokenizer, prompts.LEVELS, prompts.CODES)
    plain_names = set(model.state_dict())
    model = prepare(model, tokens, TuningSettings(mode=mode, code_start="mlp3"))
    books = np.random.default_rng(0).standard_normal((prompts.LEVELS, prompts.CODES, 5)).astype(np.float32)
    made = CodeRows(model, tokens, books, 3, seed=0)
    with torch.no_grad():
        for parameter in trainable(model).values():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    ids = torch.from_numpy(tokens.T.ravel()[None].copy())
    with torch.no_grad():
        expected = model.eval()(input_ids=ids).logits
    made.fold()
    assert not any("code_rows" in name for name in model.state_dict())
    assert mode == "lora" or set(model.state_dict()) == plain_names
    manifest = {
        "mode": mode, "dtype": "float32", "backbone": str(backbone), "trust_remote_code": False,
        "levels": prompts.LEVELS, "codes": prompts.CODES, "codes_digest": "x", "code_set_run_id": "c",
    }  # fmt: skip
    save_tuned(model, tokenizer, tmp_path / "model", manifest)
    loaded = load_tuned(tmp_path / "model", "x", trust_remote_code=False)
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-5)


def test_half_precision_trains_the_network_in_full_precision(tmp_path: Path) -> None:
    made = made_case(tmp_path, "full", True, dtype="bfloat16", max_samples=40)
    assert made.code_rows is not None
    first = {name: weight.detach().clone() for name, weight in made.code_rows.network.named_parameters()}
    made.run()
    for name, weight in made.code_rows.network.named_parameters():
        assert weight.dtype == torch.float32
        assert not torch.equal(weight, first[name])
