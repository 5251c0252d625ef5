"""Exact log probabilities of given items, the prompt read once; equal to the search's scores for the same items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from semconv.backbone.forward import model_device
from semconv.errors import InputError, SettingsError
from semconv.inference.levels import LevelScorer
from semconv.inference.prompts import batches, prefill
from semconv.inference.search import SearchSettings
from semconv.inference.tree import Tree


def score_items(
    model: Any,
    level_tokens: NDArray[Any],
    codes_of_items: NDArray[Any],
    prompts: Sequence[NDArray[Any]],
    items: NDArray[Any],
    settings: SearchSettings,
) -> NDArray[np.float32]:
    """Sum of log probabilities of each item's codes after each prompt.

    Args:
        model: causal language model in eval mode.
        level_tokens: ``(N, C)`` token id of every code.
        codes_of_items: ``(I, N)`` signed, -1 in the rows of items without codes (``CodeTrie.code_table``).
        prompts: B arrays of token ids.
        items: ``(B, n)`` item_index, -1 where there is none.
        settings: kind of score and batch size.

    Returns:
        ``(B, n)`` float32, -inf where there is no item or it has no codes.

    Raises:
        InputError: shapes disagree, a code without a token, an empty prompt.
        SettingsError: scores = trie, whose normalisation needs the items that are searched, not the ones that are asked.
    """
    if settings.scores == "trie":
        raise SettingsError("given items are scored with scores = full or level; trie compares siblings in a search")
    items = np.asarray(items, dtype=np.int64)
    if items.ndim != 2 or len(items) != len(prompts):
        raise InputError(f"items {items.shape} do not fit {len(prompts)} prompts: expected (B, n)")
    if codes_of_items.shape[1:] != level_tokens.shape[:1] or codes_of_items.max(initial=-1) >= level_tokens.shape[1]:
        raise InputError(f"codes {codes_of_items.shape} do not fit code tokens {level_tokens.shape}")
    result = np.full(items.shape, -np.inf, dtype=np.float32)
    codes = np.where(items[:, :, None] >= 0, codes_of_items[items].astype(np.int64), -1)  # (B, n, N)
    with torch.inference_mode():
        scorer = LevelScorer(model, level_tokens, settings.scores)
        for rows in batches(prompts, settings.batch_tokens, items.shape[1]):
            result[rows] = _score_batch(model, scorer, [prompts[row] for row in rows], codes[rows])
    return result


def _score_batch(
    model: Any, scorer: LevelScorer, prompts: Sequence[NDArray[Any]], codes: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Scores ``(B, n)`` of candidates ``codes`` ``(B, n, N)``; prefixes that candidates share are read once."""
    batch, count, levels = codes.shape
    device = model_device(model)
    has_codes: NDArray[np.bool_] = np.all(codes >= 0, axis=2)  # (B, n)
    codes = np.where(has_codes[:, :, None], codes, 0)
    tree = Tree(prefill(model, prompts))
    hidden = tree.prompts.last_hidden[:, None, :]  # (B, W, D)
    ancestors = torch.zeros((batch, 1, 0), dtype=torch.long, device=device)
    node = np.zeros((batch, count), dtype=np.int64)  # (B, n) the node of each candidate's prefix
    total = torch.zeros((batch, count), device=device)
    users = torch.arange(batch, device=device)[:, None]
    for level in range(levels):
        code = codes[:, :, level]
        parent = torch.from_numpy(node).to(device)
        log_probs = scorer.log_probs(hidden, level)  # (B, W, C)
        total += log_probs[users, parent, torch.from_numpy(code).to(device)]
        if level + 1 == levels:
            break
        node, first = _distinct(node * log_probs.shape[2] + code)
        chosen = torch.from_numpy(first).to(device)  # (B, W') a candidate of each new node
        tokens = scorer.tokens[level][torch.from_numpy(np.take_along_axis(code, first, 1)).to(device)]
        hidden, ancestors = tree.descend(model, tokens, ancestors[users, parent.gather(1, chosen)])
    return np.where(has_codes, total.cpu().numpy(), -np.inf).astype(np.float32)


def _distinct(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number the distinct keys of each row.

    Args:
        keys: ``(B, n)``, not negative.

    Returns:
        ``(B, n)`` number of each key within its row, and ``(B, W)`` a column where each number occurs,
        rows with fewer than W distinct keys padded with column 0.
    """
    batch, count = keys.shape
    row_keys = keys + np.arange(batch)[:, None] * (int(keys.max(initial=0)) + 1)
    distinct, first, inverse = np.unique(row_keys.ravel(), return_index=True, return_inverse=True)
    row = first // count
    place = np.arange(len(distinct)) - np.searchsorted(row, row)  # rows are sorted: keys grow with them
    columns = np.zeros((batch, int(place.max(initial=0)) + 1), dtype=np.int64)
    columns[row, place] = first % count
    return place[inverse].reshape(batch, count), columns
