"""Shared histories, packing and padding change the cost of a loss, never its value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semconv.settings.tuning import TuningSettings
from semconv.tasks.export import samples
from semconv.tasks.padded import EpochRows
from semconv.tasks.plan import plan_epoch
from semconv.tasks.rows import RowBuilder, epoch_rows
from semconv.tuning import loss as loss_module
from semconv.tuning.batches import batch_order, collate, span_mask
from semconv.tuning.model import prepare, trainable
from tests.worlds import plain_rows
from tests.worlds import prompts as case
from tests.worlds.tuning.training import SETTINGS, TASKS, batch_loss

LORA = replace(SETTINGS, mode="lora")
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def prepared(kind: str, tuning: TuningSettings, *, tied: bool = False, tokens: str = "embedded") -> tuple[Any, Any]:
    model, tokenizer, level_tokens = case.coded(tokens, kind=kind, tied=tied)
    model = prepare(model, level_tokens, tuning).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # adapters start at zero and would hide
        for parameter in trainable(model).values():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model, case.encoder_of(tokenizer, level_tokens)


def rows_of(encoder: Any) -> tuple[EpochRows, list[Any]]:
    tasks = replace(TASKS, negatives=2, negative_share=1.0, late_position_share=0.15)
    data = case.small_data(encoder, tasks)
    plan = plan_epoch(data, tasks, 0, 6)
    plan = replace(plan, texts=plan.texts.select(slice(None, None, 6)))
    builder = RowBuilder(encoder, data, tasks)
    return epoch_rows(builder, plan, np.random.default_rng(0)), list(samples(builder, plan))


def one_at_a_time(model: Any, encoder: Any, exported: list[Any]) -> tuple[torch.Tensor, int]:
    """Sum the cross entropy of label tokens by the model's own forward pass, one sample at a time."""
    total, count = torch.zeros(()), 0
    for sample in exported:
        prompt = encoder.tokenizer(sample.prompt)["input_ids"]
        label = [*encoder.item_tokens[sample.item].tolist(), encoder.end]
        logits = model(input_ids=torch.tensor([[*prompt, *label[:-1]]])).logits[0, len(prompt) - 1 :]
        total = total + torch.nn.functional.cross_entropy(logits, torch.tensor(label), reduction="sum")
        count += len(label)
    return total, count


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "mistral"])
@pytest.mark.parametrize(
    ("tuning", "tied"), [(SETTINGS, False), (LORA, False), (LORA, True)], ids=["full", "lora", "lora-tied"]
)
def test_loss_and_gradient_equal_those_of_samples_one_at_a_time(kind: str, tuning: TuningSettings, tied: bool) -> None:
    model, encoder = prepared(kind, tuning, tied=tied, tokens="metaspace-first" if kind == "llama" else "embedded")
    rows, exported = rows_of(encoder)
    loss, value = batch_loss(model, collate(rows, 0))
    loss.backward()
    shared = {
        name: parameter.grad.clone() for name, parameter in trainable(model).items() if parameter.grad is not None
    }
    model.zero_grad()
    total, count = one_at_a_time(model, encoder, exported)
    assert abs(float(total.detach()) / count - value) < 1e-4
    assert value == float(loss.detach())
    assert {sample.task for sample in exported} == {"sequential", "negative", "text", "query"}
    (total / count).backward()
    assert set(shared) == set(trainable(model))  # everything that is trained has a gradient, adapters too
    for name, parameter in trainable(model).items():
        torch.testing.assert_close(shared[name], parameter.grad, rtol=1e-3, atol=2e-5)


def test_history_loss_is_that_of_the_plain_text_of_the_history() -> None:
    model, encoder = prepared("llama", SETTINGS)
    rows, _ = rows_of(encoder)
    batch = collate(rows, 0)
    label, value = batch_loss(model, batch)
    both, value_again = batch_loss(model, batch, history_weight=0.25)
    assert value == value_again
    losses = []
    with torch.no_grad():
        for row in (rows[index].padded(0) for index in range(len(rows))):
            if not len(row.history_index):
                continue
            trunk = int(row.history_index[-1]) + 2
            log_probs = model(input_ids=torch.from_numpy(row.tokens[:, :trunk])).logits[0].log_softmax(-1)
            losses += [
                -float(log_probs[at, token]) for at, token in zip(row.history_index, row.history_tokens, strict=True)
            ]
            codes = encoder.item_tokens[encoder.has_codes]
            assert set(row.history_tokens.tolist()) <= set(codes.ravel().tolist())
    assert abs(float((both - label).detach()) / 0.25 - np.mean(losses)) < 1e-4


def test_padding_changes_nothing() -> None:
    model, encoder = prepared("llama", SETTINGS)
    rows, _ = rows_of(encoder)
    padded, _ = batch_loss(model, collate(rows, 0), 0.5)
    other_pad, _ = batch_loss(model, collate(rows, 7), 0.5)
    assert abs(float((padded - other_pad).detach())) < 1e-6
    singles = [collate(rows[index], 0) for index in range(len(rows))]
    alone = [(batch_loss(model, single)[1], len(single.label_tokens)) for single in singles]
    mean = sum(value * count for value, count in alone) / sum(count for _, count in alone)
    assert abs(mean - batch_loss(model, collate(rows, 0))[1]) < 1e-5
    assert len(set(rows.lengths.tolist())) > 3


def test_a_batch_without_a_mask_is_plainly_causal() -> None:
    model, encoder = prepared("llama", SETTINGS)
    tasks = replace(TASKS, negatives=0, late_position_share=1.0, text=False, query=False)
    data = case.small_data(encoder, tasks)
    rows = epoch_rows(RowBuilder(encoder, data, tasks), plan_epoch(data, tasks, 0, 6), np.random.default_rng(0))
    batch = collate(rows[np.flatnonzero(rows.num_samples == 1)][0], 0)  # a path: nothing branches
    plain = replace(batch, mask=None)
    assert torch.equal(batch.mask[0, 0], torch.ones_like(batch.mask[0, 0]).tril())
    assert batch_loss(model, plain)[1] == pytest.approx(batch_loss(model, batch)[1], rel=1e-5)
    assert plain.to(torch.device("cpu")).mask is None


def test_logits_in_chunks_give_the_same_loss_and_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    model, encoder = prepared("llama", SETTINGS)
    batch = collate(rows_of(encoder)[0], 0)
    whole, _ = batch_loss(model, batch, 0.5)
    whole.backward()
    expected = {name: parameter.grad.clone() for name, parameter in trainable(model).items()}
    model.zero_grad()
    monkeypatch.setattr(loss_module, "_LOGITS_AT_ONCE", 7 * 350)
    chunked, _ = batch_loss(model, batch, 0.5)
    chunked.backward()
    assert abs(float((whole - chunked).detach())) < 1e-5
    for name, parameter in trainable(model).items():
        torch.testing.assert_close(expected[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_a_padded_token_sees_itself_alone() -> None:
    short = plain_rows.layout(2, [], 2)
    spans = np.zeros((1, 4, 4), dtype=np.int64)
    spans[0, :, 3] = np.arange(4)
    spans[0, :2] = short.spans
    assert span_mask(torch.from_numpy(spans))[0, 0].int().tolist() == [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
    ]


@settings(max_examples=40)
@given(st.lists(st.integers(1, 300), max_size=120), st.integers(64, 700), st.integers(0, 5), st.integers(0, 9))
def test_batches_hold_every_row_once_within_the_budget(lengths: list[int], budget: int, seed: int, epoch: int) -> None:
    batches = batch_order(lengths, budget, seed, epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget
    assert batches == batch_order(lengths, budget, seed, epoch)
    if len(batches) > 20:
        assert batches != batch_order(lengths, budget, seed, epoch + 1)


def test_labels_and_histories_count_with_their_weights() -> None:
    """Weights are 1, 2 or 3, so the loss is that of each label and each history item as often as its weight says."""
    model, encoder = prepared("llama", SETTINGS)
    tasks = replace(TASKS, negatives=1, negative_share=1.0, text=False, query=False)
    data = case.small_data(encoder, tasks)
    weights = np.random.default_rng(0).integers(1, 4, len(data.items)).astype(np.float64)
    plain, weighted = (
        epoch_rows(RowBuilder(encoder, of, tasks), plan_epoch(of, tasks, 0, 6), np.random.default_rng(0))
        for of in (data, replace(data, weights=weights))
    )
    module = loss_module.SummedLoss(model, None, 0.5)
    total, history, label_weight, history_weight = torch.zeros(()), torch.zeros(()), 0.0, 0.0
    for row in range(len(plain)):
        one, other = collate(plain[row], 0), collate(weighted[row], 0)
        assert other.sample_weights is not None
        assert other.history_weights is not None
        states = loss_module.decode_hidden(
            model, loss_module.ModelInput(one.input_ids, one.position_ids, one.mask)
        ).flatten(0, 1)
        logits = states @ loss_module.output_matrix(model).t()
        labels = torch.nn.functional.cross_entropy(logits[one.label_index], one.label_tokens, reduction="none")
        codes = torch.nn.functional.cross_entropy(logits[one.history_index], one.history_tokens, reduction="none")
        total = total + (labels.view(one.num_samples, -1).sum(dim=1) * other.sample_weights).sum()
        history = history + (codes * other.history_weights).sum()
        label_weight += float(other.sample_weights.sum()) * len(one.label_tokens) / one.num_samples
        history_weight += float(other.history_weights.sum())
        is_next = other.sample_tasks == 0
        assert (other.sample_weights[~is_next] == 1).all()
    batch = collate(weighted[list(range(len(weighted)))], 0)
    sums, counts = module(batch), module.counts([batch])
    torch.testing.assert_close(sums.label, total)
    torch.testing.assert_close(sums.history, history)
    assert (counts.label, counts.history) == pytest.approx((label_weight, history_weight))
    assert counts.label != len(batch.label_tokens)
