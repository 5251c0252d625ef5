"""The benchmark of equations 3 and 4: its loss is the one that it reports, and training lowers it."""

import numpy as np
import pytest
import torch

from benchmarks.codes.literal import Codes, Data, by_gradient, in_closed_form, losses
from semconv.settings.codebook import CodebookSettings
from tests.worlds.codebooks import blobs, texts

SETTINGS = CodebookSettings(levels=2, codes=8, alignment=0.5)


def case() -> Data:
    vectors = blobs(200)
    return Data("", vectors, texts(vectors), np.arange(200) % 3 > 0)


@pytest.mark.parametrize("through_residuals", [True, False])
def test_loss_is_the_sum_that_is_reported(through_residuals: bool) -> None:
    data, rng = case(), np.random.default_rng(0)
    books = (0.2 * rng.standard_normal((2, 8, 6))).astype(np.float32)
    model = Codes(books, 0.5, through_residuals=through_residuals)
    loss = float(model(*map(torch.from_numpy, (data.vectors, data.targets, data.has_text))).detach())
    assert loss == pytest.approx(losses(data, books, SETTINGS)["sum of both losses"], rel=1e-5)


def test_gradient_reaches_earlier_levels_only_through_the_residuals() -> None:
    data = case()
    books = (0.2 * np.random.default_rng(0).standard_normal((2, 8, 6))).astype(np.float32)
    gradients = []
    for through in (True, False):
        model = Codes(books, 0.0, through_residuals=through)
        model(*map(torch.from_numpy, (data.vectors, data.targets, data.has_text))).backward()
        gradients.append(model.books.grad)
    assert torch.equal(gradients[0][1], gradients[1][1])
    assert not torch.allclose(gradients[0][0], gradients[1][0])


@pytest.mark.parametrize("through_residuals", [True, False])
def test_training_lowers_the_loss(through_residuals: bool) -> None:
    data = case()
    start, trained = (by_gradient(data, SETTINGS, epochs, through_residuals) for epochs in (0, 100))
    before, after = (losses(data, books, SETTINGS)["sum of both losses"] for books in (start, trained))
    assert after < before
    assert losses(data, in_closed_form(data, SETTINGS), SETTINGS)["sum of both losses"] < before
