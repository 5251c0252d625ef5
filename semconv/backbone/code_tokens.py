"""Code tokens: one new token for each of C codes at each of N levels, by default ``<a_0>`` to ``<d_255>``.

Other new tokens, such as those of dates, are added in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import AddedToken

from semconv.columns import code_token
from semconv.errors import InputError


def add_code_tokens(model: Any, tokenizer: Any, levels: int, codes: int, seed: int = 0) -> NDArray[np.int64]:
    """Add missing code tokens to the tokenizer, and a row for each to the input and output embedding matrices.

    The paper starts with random rows too. According to Table 7 of the paper, rows that start from the codebooks give
    worse results.

    Args:
        seed: of the new rows.

    Returns:
        token ids ``(levels, codes)``.
    """
    add_tokens(model, tokenizer, [code_token(level, code) for level in range(levels) for code in range(codes)], seed)
    return level_tokens(tokenizer, levels, codes)


def add_tokens(model: Any, tokenizer: Any, names: Sequence[str], seed: int = 0) -> None:
    """Add missing tokens to the tokenizer, and a row for each to the input and output embedding matrices.

    New rows are drawn from a normal distribution with the mean and standard deviation of the existing rows.

    Args:
        seed: of the new rows; together with their number it decides the draw.
    """
    known = tokenizer.get_vocab()
    missing = [name for name in names if name not in known]
    if missing:
        # Not normalised: a tokenizer that puts a mark before every word would find only the first of adjacent tokens.
        tokenizer.add_tokens([AddedToken(name, normalized=False, special=False) for name in missing])
        old_rows = model.get_input_embeddings().weight.shape[0]
        if len(tokenizer) > old_rows:
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        # Draw all rows that resizing added; otherwise some would depend on the state of the global generator.
        new = {*(tokenizer.convert_tokens_to_ids(name) for name in missing), *range(old_rows, len(tokenizer))}
        draw_rows(model, sorted(new), seed)


def level_tokens(tokenizer: Any, levels: int, codes: int) -> NDArray[np.int64]:
    """Return the ids of all code tokens, ``(levels, codes)``; raise InputError if the tokenizer lacks one of them."""
    names = [code_token(level, code) for level in range(levels) for code in range(codes)]
    return token_ids(tokenizer, names).reshape(levels, codes)


def token_ids(tokenizer: Any, names: Sequence[str]) -> NDArray[np.int64]:
    """Return the ids of added tokens, ``(n,)``; raise InputError if the tokenizer lacks one of them."""
    known = tokenizer.get_vocab()
    try:
        return np.array([known[name] for name in names], dtype=np.int64)
    except KeyError as error:
        raise InputError(
            f"the backbone's tokenizer lacks the token {error.args[0]}; tune the model again with `semconv finetune`"
        ) from error


@torch.no_grad()
def start_from_books(model: Any, token_ids: NDArray[np.int64], books: NDArray[np.float32], seed: int) -> None:
    """Initialise the embedding rows of code tokens with code vectors, mapped by a random rotation to the model's width.

    Codes with similar centroids then start with similar rows. For a pretrained model random rows are better (paper,
    Table 7). An untrained model has no embedding space yet that the code vectors could disturb.

    Args:
        token_ids: ``(N, C)``.
        books: ``(N, C, D)``.
    """
    generator = torch.Generator().manual_seed(seed)
    width, dimensions = model.get_input_embeddings().weight.shape[1], books.shape[2]
    square = torch.randn(max(width, dimensions), dimensions, generator=generator)
    rotation = torch.linalg.qr(square)[0][:width]  # (width, D)
    for weight in _matrices(model):
        scale = float(weight.float().pow(2).mean().sqrt())
        for ids, book in zip(token_ids, books, strict=True):
            rows = torch.from_numpy(np.ascontiguousarray(book)) @ rotation.t()  # (C, width)
            rows = rows * (scale / rows.pow(2).mean().sqrt().clamp_min(1e-12))
            noise = torch.randn(rows.shape, generator=generator) * (0.2 * scale)  # so that codes without items differ
            weight[torch.from_numpy(ids)] = (rows + noise).to(weight)


def _matrices(model: Any) -> list[torch.Tensor]:
    """Return the input embedding matrix, and the output matrix unless the model uses one matrix for both."""
    matrices = [model.get_input_embeddings().weight]
    if model.get_output_embeddings().weight is not matrices[0]:
        matrices.append(model.get_output_embeddings().weight)
    return matrices


@torch.no_grad()
def draw_rows(model: Any, token_ids: list[int], seed: int = 0) -> None:
    """Draw the embedding rows of new tokens, with the mean and standard deviation of all other rows."""
    # The generator reads 32 bits of its seed. An odd factor gives each of 2^32 seeds a draw of its own.
    generator = torch.Generator().manual_seed((seed * 0x9E3779B1 + len(token_ids)) % 2**32)
    for weight in _matrices(model):
        old = torch.ones(weight.shape[0], dtype=torch.bool)
        old[token_ids] = False
        mean, deviation = weight[old].mean(dim=0), weight[old].std(dim=0)
        noise = torch.randn(len(token_ids), weight.shape[1], generator=generator)
        weight[token_ids] = (mean.cpu() + deviation.cpu() * noise).to(weight)
