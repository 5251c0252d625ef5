"""The method rqvae: its loss by hand, learning, files, new items, and refused settings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from semconv.errors import CheckFailedError, InputError, SettingsError
from semconv.settings.codebook import CodebookSettings, RqvaeSettings
from semconv.tokenization.assign import assign_new_items
from semconv.tokenization.code_set import CodeSet
from semconv.tokenization.codebook import decode, encode
from semconv.tokenization.collisions import colliding
from semconv.tokenization.fit import fit_code_set
from semconv.tokenization.rqvae import _Model, _restart, fit_rqvae
from tests.worlds.codebooks import Case, blobs, texts

SETTINGS = CodebookSettings(method="rqvae", levels=3, codes=8, alignment=0.0)
TRAINING = RqvaeSettings(hidden=16, epochs=30, batch_size=50, learning_rate=3e-3)


def test_loss_is_the_sum_of_its_terms_and_gradients_go_where_they_should() -> None:
    rng = np.random.default_rng(0)
    books = rng.standard_normal((2, 5, 4)).astype(np.float32)
    model = _Model(4, books, 6, torch.Generator().manual_seed(0))
    rows, text = (torch.from_numpy(rng.standard_normal((9, 4)).astype(np.float32)) for _ in range(2))
    has_text = torch.arange(9) % 2 == 0
    loss = model.run(rows, text, has_text, (0.25, 0.5)).loss
    latent = model.encoder(rows).detach().numpy()
    target = model.encoder(text).detach().numpy()[has_text.numpy()]
    codes = encode(latent, books, np.ones((2, 5), bool), CodebookSettings())
    expected, residual = 0.0, latent
    for n in range(2):
        chosen = books[n][codes[:, n]]
        expected += 1.25 * ((residual - chosen) ** 2).sum(axis=1).mean()
        scaled = target * np.sqrt((residual**2).mean() / (target**2).mean())
        expected += 0.5 * ((chosen[has_text.numpy()] - scaled) ** 2).sum(axis=1).mean()
        residual = residual - chosen
    out = model.decoder(torch.from_numpy(decode(codes, books))).detach().numpy()
    expected += ((out - rows.numpy()) ** 2).sum(axis=1).mean()
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    # Straight through: without commitment only the decoder moves the encoder, and only the residuals move the books.
    reconstruction = model.run(rows, None, has_text, (0.0, 0.0)).loss
    to_encoder, to_books = torch.autograd.grad(reconstruction, [model.encoder[0].weight, model.books])
    assert to_encoder.abs().sum() > 0
    counts = np.bincount(codes[:, 0], minlength=5)
    sums = np.stack([latent[codes[:, 0] == c].sum(axis=0) for c in range(5)])
    expected_pull = 2 * (counts[:, None] * books[0] - sums) / 9
    np.testing.assert_allclose(to_books[0].numpy(), expected_pull, atol=1e-5)


def test_learns_to_reconstruct_and_reports_its_errors() -> None:
    vectors = blobs(300)
    autoencoder, fitted = fit_rqvae(vectors, None, None, SETTINGS, TRAINING)
    assert fitted.objectives[0][-1] < fitted.objectives[0][0]
    assert len(fitted.objectives[0]) == 30
    rest = vectors - autoencoder.reconstruct(decode(fitted.codes, fitted.books))
    assert (rest**2).sum() / (vectors**2).sum() == pytest.approx(fitted.errors[-1], rel=1e-4)
    assert fitted.errors[-1] < 0.5
    codes = encode(autoencoder.latents(vectors), fitted.books, fitted.is_used, SETTINGS)
    np.testing.assert_array_equal(codes, fitted.codes)


def test_seed_decides_and_alignment_counts() -> None:
    vectors = blobs(120)
    short = replace(TRAINING, epochs=2)
    first, same, other = (
        fit_rqvae(vectors, None, None, replace(SETTINGS, seed=seed), short)[1].books for seed in (1, 1, 2)
    )
    assert first.tobytes() == same.tobytes() != other.tobytes()
    pulled = fit_rqvae(vectors, texts(vectors), None, replace(SETTINGS, seed=1, alignment=1.0), short)[1].books
    assert first.tobytes() != pulled.tobytes()


def test_dead_codes_start_again_from_residuals_of_items() -> None:
    rows = torch.from_numpy(blobs(40))
    books = np.random.default_rng(0).standard_normal((2, 6, 6)).astype(np.float32)
    model = _Model(6, books, 8, torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(model.parameters())
    model.run(rows, None, torch.ones(40, dtype=torch.bool), (0.25, 0.0)).loss.backward()
    optimizer.step()
    before = model.books.detach().clone()
    is_dead = torch.zeros((2, 6), dtype=torch.bool)
    is_dead[0, [1, 4]] = is_dead[1, 5] = True
    _restart(model, rows, is_dead, optimizer, [0, 0, 1])
    after = model.books.detach()
    assert torch.equal(after[~is_dead], before[~is_dead])
    latents = model.encoder(rows).detach()
    first = latents - before[0][torch.cdist(latents, before[0]).argmin(dim=1)]
    for level, residuals in ((0, latents), (1, first)):
        for moved in after[level][is_dead[level]]:
            assert (residuals - moved).abs().sum(dim=1).min() < 1e-4
    moments = optimizer.state[model.books]["exp_avg_sq"]
    assert (moments[is_dead] == 0).all()
    assert (moments[~is_dead] > 0).any()


@pytest.mark.parametrize("items", [300, 20])
def test_restarts_keep_more_codes_in_use(items: int) -> None:
    """With fewer items than codes, a restart has no residual for some of the dead codes."""
    vectors, settings = blobs(items), replace(SETTINGS, codes=64)
    training = replace(TRAINING, epochs=6, batch_size=100)
    used = [
        fit_rqvae(vectors, None, None, settings, replace(training, restart=restart))[1].is_used.sum(axis=1)
        for restart in (False, True)
    ]
    assert used[1][0] >= used[0][0]
    if items == 300:
        assert used[1][0] > 1.3 * used[0][0]
    else:
        assert used[1].max() <= 20


def test_sinkhorn_spreads_items_over_the_last_level_alone() -> None:
    rows = torch.from_numpy(blobs(64))
    books = np.random.default_rng(0).standard_normal((2, 8, 6)).astype(np.float32)
    model = _Model(6, books, 8, torch.Generator().manual_seed(0))
    has_text = torch.zeros(64, dtype=torch.bool)
    nearest, spread = (model.run(rows, None, has_text, (0.25, 0.0), epsilon) for epsilon in (0.0, 0.003))
    assert torch.equal(nearest.codes[0], spread.codes[0])
    loads = [torch.bincount(done.codes[1], minlength=8) for done in (nearest, spread)]
    assert loads[0].max() > 16
    assert loads[1].max() <= 16
    assert loads[1].min() >= 4
    vectors, settings, short = blobs(300), replace(SETTINGS, codes=32), replace(TRAINING, epochs=12, batch_size=100)
    colliding_shares = [
        colliding(fit_rqvae(vectors, None, None, settings, replace(short, sinkhorn_epsilon=epsilon))[1].codes).mean()
        for epsilon in (0.0, 0.003)
    ]
    assert colliding_shares[1] < colliding_shares[0]


def test_a_code_set_is_saved_and_codes_new_items(tmp_path: Path) -> None:
    case = Case()
    settings = replace(SETTINGS, codes=16, alignment=0.1, shrinkage=0.0)
    code_set = fit_code_set(case.vectors, case.index, case.text, case.popularity, settings, TRAINING)
    assert len(np.unique(code_set.codes, axis=0)) == 400
    assert code_set.figures["alignment"]["is_on"]
    rest = case.vectors.item_vectors - code_set.reconstruct(code_set.codes)
    share = (rest**2).sum() / (case.vectors.item_vectors**2).sum()
    assert code_set.figures["reconstruction_error"] == pytest.approx(share, rel=1e-4)
    code_set.save(tmp_path)
    again = CodeSet.load(tmp_path)
    for name, array in code_set.autoencoder.arrays.items():
        np.testing.assert_array_equal(again.autoencoder.arrays[name], array)
    new, text = case.index[400:], case.text[400:]
    assigned = [assign_new_items(part, new, text, settings) for part in (code_set, again)]
    np.testing.assert_array_equal(assigned[0].codes, assigned[1].codes)
    both = np.concatenate([code_set.codes, assigned[0].codes])
    assert len(np.unique(both, axis=0)) == len(both)


@pytest.mark.parametrize(
    "changes", [{"residual": "absolute"}, {"distance": "cosine"}, {"alignment_distance": "cosine"}]
)
def test_refuses_unsupported_settings(changes: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="rqvae supports only"):
        fit_rqvae(blobs(20), None, None, replace(SETTINGS, **changes), TRAINING)


def test_bad_numbers() -> None:
    vectors = blobs(60)
    with pytest.raises(CheckFailedError, match=r"lower rqvae\.learning_rate"):
        fit_rqvae(vectors, None, None, SETTINGS, replace(TRAINING, learning_rate=1e20))
    vectors[3, 1] = np.nan
    with pytest.raises(InputError, match="1 of 60 behaviour vectors"):
        fit_rqvae(vectors, None, None, SETTINGS, TRAINING)
