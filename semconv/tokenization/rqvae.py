"""RQ-VAE: an encoder and a decoder around the codebooks (the row "ED" of the paper's Table 3).

The codebooks quantise the encoder's output. Gradients skip the quantiser (straight-through estimator). The loss has
three parts. The first part of the loss is the decoder's squared error. The second part of the loss is, at every level,
the squared distance between code and residual. This distance has a gradient for the code only. ``commitment`` times the
distance is added with a gradient for the encoder only. The third part of the loss is the alignment with text (eq. 3),
where the text target passes through the same encoder. The codebooks start from residual k-means on the outputs of the
untrained encoder.

Two measures of published RQ-VAE tokenizers keep codes in use. Codes that no item had in an epoch start again from the
residuals of random items (``rqvae.restart``). The items of a batch can be spread evenly over the codes of the last level
(``rqvae.sinkhorn_epsilon``).
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semconv.errors import CheckFailedError
from semconv.linear import he_linear
from semconv.settings.codebook import CodebookSettings, RqvaeSettings, require_rqvae
from semconv.tokenization.autoencoder import LAYERS, Autoencoder
from semconv.tokenization.codebook import (
    Codebooks,
    checked_vectors,
    decode,
    encode,
    fit_codebooks,
    fit_sample,
    squared_errors,
)
from semconv.tokenization.kmeans import Codes, Floats, squared_norms
from semconv.tokenization.uniform import uniform_codes

_RESTARTS = 1  # stream of random draws, apart from the order of the items


class _Pass(NamedTuple):
    """The results of a forward pass over a batch."""

    loss: Tensor
    codes: list[Tensor]  # per level (B,)
    residuals: list[Tensor]  # per level (B, D): what the level quantised; no gradient


class _Model(nn.Module):
    """The encoder, the decoder and the codebooks during training."""

    def __init__(self, width: int, books: Floats, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.encoder = _mlp(width, hidden, generator)
        self.decoder = _mlp(width, hidden, generator)
        self.books = nn.Parameter(torch.from_numpy(books.copy()))  # (N, C, D)

    def run(
        self,
        rows: Tensor,
        text: Tensor | None,
        has_text: Tensor,
        weights: tuple[float, float],
        sinkhorn_epsilon: float = 0.0,
    ) -> _Pass:
        """Return the loss, a sum of means over the rows ``(B, D)``, and the codes and residuals of the rows.

        Args:
            weights: for commitment and alignment.
            sinkhorn_epsilon: above 0, the rows are spread evenly over the codes of the last level.
        """
        commitment, alignment = weights
        latent = self.encoder(rows)  # (B, D)
        target = None if text is None else self.encoder(text).detach()
        residual, total_code, loss = latent, torch.zeros_like(latent), latent.new_zeros(())
        chosen, residuals = [], []
        for level, book in enumerate(self.books):
            residuals.append(residual.detach())
            is_spread = sinkhorn_epsilon > 0 and level == len(self.books) - 1
            chosen.append(_codes(residuals[-1], book.detach(), sinkhorn_epsilon if is_spread else 0.0))
            code = book.index_select(0, chosen[-1])
            loss = loss + _mean_square(residual.detach() - code) + commitment * _mean_square(residual - code.detach())
            if target is not None and alignment > 0 and bool(has_text.any()):
                scale = residual.detach().square().mean().sqrt() / target[has_text].square().mean().sqrt().clamp_min(
                    1e-12
                )
                loss = loss + alignment * _mean_square(code[has_text] - target[has_text] * scale)
            residual, total_code = residual - code.detach(), total_code + code
        straight_through = latent + (total_code - latent).detach()
        return _Pass(loss + _mean_square(self.decoder(straight_through) - rows), chosen, residuals)


def fit_rqvae(
    vectors: Floats,
    aligned: Floats | None,
    has_text: NDArray[np.bool_] | None,
    settings: CodebookSettings,
    rqvae: RqvaeSettings,
) -> tuple[Autoencoder, Codebooks]:
    """Train encoder, decoder and codebooks on at most ``settings.sample`` items, then give codes to all items.

    In the result, ``errors`` are the decoder's errors with the first 1 to N levels, and ``objectives`` are the losses
    of the epochs. All random draws come from the seed. A killed fit starts from the beginning.

    Args:
        vectors: ``(M, D)`` finite.
        aligned: ``(M, D)`` text mapped to the space of the vectors; None turns alignment off.
        has_text: ``(M,)`` rows of ``aligned`` that count; None means all.
    Raises:
        InputError: no rows, NaN or infinite values, shapes that differ.
        SettingsError: absolute residuals or cosine distances, which this method does not support.
        CheckFailedError: the loss is not finite.
    """
    require_rqvae(settings)
    vectors = checked_vectors(vectors, aligned, has_text)
    generator = torch.Generator().manual_seed(settings.seed)
    width = vectors.shape[1]
    model = _Model(width, np.zeros((settings.levels, settings.codes, width), np.float32), rqvae.hidden, generator)
    sample = fit_sample(len(vectors), settings)
    part = slice(None) if sample is None else sample
    rows, aligned = vectors[part], None if aligned is None else aligned[part]
    start = fit_codebooks(_frozen(model).latents(rows), None, replace(settings, alignment=0.0))
    with torch.no_grad():
        model.books.copy_(torch.from_numpy(start.books))
    losses = _train(model, rows, aligned, None if has_text is None else has_text[part], settings, rqvae)
    autoencoder, books = _frozen(model), model.books.detach().numpy()
    return autoencoder, _assigned(autoencoder, books, vectors, settings, losses)


def _train(
    model: _Model,
    vectors: Floats,
    aligned: Floats | None,
    has_text: NDArray[np.bool_] | None,
    settings: CodebookSettings,
    rqvae: RqvaeSettings,
) -> list[float]:
    """Train the model in place, and return the mean loss of every epoch."""
    usage = torch.zeros(model.books.shape[:2], dtype=torch.long)  # (N, C) items of each code in the epoch
    rows = torch.from_numpy(vectors)
    text = None if aligned is None else torch.from_numpy(aligned)
    mask = torch.from_numpy(np.ones(len(vectors), dtype=bool) if has_text is None else has_text)
    optimizer = torch.optim.Adam(model.parameters(), lr=rqvae.learning_rate)
    losses = []
    for epoch in range(rqvae.epochs):
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(vectors))
        total = 0.0
        for start in range(0, len(order), rqvae.batch_size):
            part = torch.from_numpy(order[start : start + rqvae.batch_size])
            weights = (rqvae.commitment, settings.alignment)
            batch_text = None if text is None else text[part]
            done = model.run(rows[part], batch_text, mask[part], weights, rqvae.sinkhorn_epsilon)
            optimizer.zero_grad(set_to_none=True)
            done.loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += float(done.loss.detach()) * len(part)
            for level, codes in enumerate(done.codes):
                usage[level] += torch.bincount(codes, minlength=settings.codes)
        losses.append(total / len(order))
        if not math.isfinite(losses[-1]):
            raise CheckFailedError(
                f"the loss of rqvae is {losses[-1]} in epoch {epoch + 1}; lower rqvae.learning_rate and run the same command again"
            )
        if rqvae.restart and epoch + 1 < rqvae.epochs:  # after the last epoch, new codes would stay untrained
            _restart(model, rows, usage == 0, optimizer, [settings.seed, epoch, _RESTARTS])
        usage.zero_()
    return losses


def _restart(model: _Model, rows: Tensor, is_dead: Tensor, optimizer: torch.optim.Adam, seed: list[int]) -> None:
    """Move each dead code to the residual of a random item, and forget the optimizer's averages for the code.

    Args:
        rows: ``(M, D)`` the items of the fit. With fewer items than dead codes, the last dead codes stay as they are.
        is_dead: ``(N, C)``.
    """
    drawn = np.random.default_rng(seed).choice(len(rows), min(len(rows), is_dead.shape[1]), replace=False)
    state = optimizer.state[model.books]
    with torch.no_grad():
        picked = rows[torch.from_numpy(drawn)]
        no_text = torch.zeros(len(picked), dtype=torch.bool)
        for level, residual in enumerate(model.run(picked, None, no_text, (0.0, 0.0)).residuals):
            dead = torch.nonzero(is_dead[level]).ravel()[: len(residual)]
            model.books[level, dead] = residual[: len(dead)]
            for name in ("exp_avg", "exp_avg_sq"):
                state[name][level, dead] = 0.0


def _assigned(
    autoencoder: Autoencoder, books: Floats, vectors: Floats, settings: CodebookSettings, losses: list[float]
) -> Codebooks:
    """Give all items their nearest codes, and measure the decoder's errors."""
    latents = autoencoder.latents(vectors)
    every = np.ones(books.shape[:2], dtype=bool)
    codes = encode(latents, books, every, settings)
    is_used = np.stack([np.bincount(level, minlength=settings.codes) > 0 for level in codes.T])
    books = np.where(is_used[:, :, None], books, np.float32(0))
    total = float(squared_norms(vectors).sum(dtype=np.float64))
    errors = []
    for n in range(1, settings.levels + 1):
        rest = squared_errors(vectors, codes[:, :n], partial(_reconstruct, autoencoder, books[:n]))
        errors.append(float(rest.sum(dtype=np.float64)) / total if total > 0 else 0.0)
    return Codebooks(books, is_used, codes, (tuple(losses),) * settings.levels, tuple(errors))


def _reconstruct(autoencoder: Autoencoder, books: Floats, codes: Codes) -> Floats:
    return autoencoder.reconstruct(decode(codes, books))


def _frozen(model: _Model) -> Autoencoder:
    weights = model.state_dict()
    return Autoencoder({name: value.numpy().copy() for name, value in weights.items() if name != "books"})


def _mlp(width: int, hidden: int, generator: torch.Generator) -> nn.Sequential:
    sizes = (width, hidden, hidden, width)
    layers: list[nn.Module] = []
    for n in range(LAYERS):
        layers += [he_linear(sizes[n], sizes[n + 1], generator), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _codes(residual: Tensor, book: Tensor, sinkhorn_epsilon: float) -> Tensor:
    """Return the codes of residuals ``(B, D)``, ``(B,)``: the nearest ones, or spread evenly with an epsilon above 0."""
    distances = book.square().sum(1) - 2 * (residual @ book.t())
    if sinkhorn_epsilon == 0:
        return distances.argmin(dim=1)
    whole = distances + residual.square().sum(dim=1, keepdim=True)
    return torch.from_numpy(uniform_codes(whole.numpy(), sinkhorn_epsilon))


def _mean_square(rows: Tensor) -> Tensor:
    """Return the mean squared length of the rows."""
    return rows.square().sum(dim=1).mean()
