"""The loss over existing codes, compared with brute force over the items and with the scores of the search."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semconv.search.search import SearchSettings
from semconv.search.trie import CodeTrie
from semconv.tuning.batches import collate
from semconv.tuning.choices import CodeChoices
from tests.worlds import prompts as case
from tests.worlds.search import best_items
from tests.worlds.tuning.training import SETTINGS, Case, batch_loss


def brute_force(states: torch.Tensor, rows: torch.Tensor, codes: np.ndarray[Any, Any], item: int) -> float:
    """Return the mean over the levels of -log of the probability of an item's code among those that follow its prefix."""
    loss = 0.0
    for level in range(codes.shape[1]):
        same = (codes[:, :level] == codes[item, :level]).all(axis=1)
        existing = sorted(set(codes[same, level].tolist()))
        logits = (rows[level] @ states[level])[existing]
        loss -= float(logits.log_softmax(0)[existing.index(codes[item, level])])
    return loss / codes.shape[1]


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_loss_is_over_the_codes_that_continue_the_prefix(levels: int) -> None:
    rng = np.random.default_rng(levels)
    codes = rng.integers(0, 5, (30, levels))  # with items that share all codes, and codes that no item has
    codes[codes == 3] = 2
    tokens = 7 + rng.permutation(levels * 5).reshape(levels, 5)
    matrix, states = torch.randn(40, 6), torch.randn(30, levels, 6, requires_grad=True)
    labels = torch.from_numpy(tokens[np.arange(levels), codes])
    loss = CodeChoices(tokens, codes).losses(states, matrix, labels).mean()
    expected = [brute_force(states[item].detach(), matrix[torch.from_numpy(tokens)], codes, item) for item in range(30)]
    assert float(loss.detach()) == pytest.approx(np.mean(expected), rel=1e-5)
    loss.backward()
    assert states.grad is not None
    assert torch.isfinite(states.grad).all()


def test_the_only_item_after_a_prefix_has_no_further_loss() -> None:
    codes = np.array([[0, 1], [1, 0], [1, 2]])
    tokens = np.arange(6).reshape(2, 3)
    states = torch.zeros(1, 2, 4)
    loss = CodeChoices(tokens, codes).losses(states, torch.randn(6, 4), torch.tensor([[0, 4]])).mean()
    assert float(loss) == pytest.approx(np.log(2) / 2)  # one of two first codes, then no choice


def test_shared_histories_give_the_loss_of_the_labels_that_search_would_score(tmp_path: Path) -> None:
    made = Case(tmp_path, replace(SETTINGS, dropout=0.0))
    index, codes = case.item_codes(40, (11, 12))
    choices = CodeChoices(made.level_tokens, codes)
    rows = made.rows(0)
    batches = (collate(rows[int(row)], 0) for row in np.flatnonzero(rows.num_samples == 1))
    batch = next(batch for batch in batches if not len(batch.history_tokens))
    _, value = batch_loss(made.model.eval(), batch, 0.0, choices)
    prompt = batch.input_ids[0, : int(batch.label_index[0]) + 1].numpy()
    label = batch.label_tokens[: case.LEVELS].numpy()
    item = int(np.flatnonzero((made.encoder.item_tokens == label).all(axis=1))[0])
    search = SearchSettings(top_k=38, beams=38, scores="trie")
    items, scores = best_items(made.model, CodeTrie.build(codes, index), made.level_tokens, [prompt], None, search)
    found = float(scores[0][items[0] == item][0])
    assert -found / case.LEVELS == pytest.approx(value, rel=1e-4)
    assert np.exp(scores[0]).sum() == pytest.approx(1.0, rel=1e-4)  # a distribution over the items


def test_training_over_existing_codes_learns_and_resumes(tmp_path: Path) -> None:
    _, codes = case.item_codes(40, (11, 12))

    def trained(folder: Path, epochs: list[int]) -> Case:
        folder.mkdir()
        for count in epochs:
            made = Case(folder, replace(SETTINGS, epochs=3))
            made.choices = CodeChoices(made.level_tokens, codes)
            before = made.rows
            if count:
                made.rows = lambda epoch, limit=count, rows=before: rows(epoch) if epoch < limit else interrupt()
            try:
                made.run()
            except KeyboardInterrupt:
                continue
        return made

    whole, resumed = trained(tmp_path / "whole", [0]), trained(tmp_path / "resumed", [1, 2, 0])
    expected = whole.weights()
    assert all(torch.equal(weight, expected[name]) for name, weight in resumed.weights().items())


def interrupt() -> Any:
    raise KeyboardInterrupt
