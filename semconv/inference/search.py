"""Beam search over the code trie with the prompt read once (method: Inference).

The prompt's last hidden state scores the first codes; each further step reads the beams' last codes
side by side (``tree``) and keeps the best children that the trie knows. Items a user has are left out inside the search: a node whose leaves are all taken is never entered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.backbone.forward import model_device
from semconv.errors import InputError, SettingsError
from semconv.inference.levels import LevelScorer, Normalization
from semconv.inference.prompts import Prefilled, batches, prefill
from semconv.inference.seen import SeenItems
from semconv.inference.tree import Tree
from semconv.inference.trie import CodeTrie
from semconv.inference.trie_tensors import TrieTensors

_NEVER = -torch.inf


@dataclass(frozen=True)
class SearchSettings:
    """Width and length of the search.

    Attributes:
        top_k: length K of a list.
        beams: beam width, 0 means max(20, K).
        scores: sums of log probabilities over the full vocabulary, comparable with ``generate``, over the level's
            codes, or over the codes that exist after the same prefix (``trie``).
        batch_tokens: prompt tokens a forward pass.
    """

    top_k: int = 20
    beams: int = 0
    scores: Normalization = "full"
    batch_tokens: int = 16384

    @property
    def width(self) -> int:
        """Beam width in force."""
        return self.beams or max(20, self.top_k)


@dataclass
class _Beams:
    """W beams of B users at one depth, best first."""

    nodes: Tensor  # (B, W)
    scores: Tensor  # (B, W) float32, -inf where there is no beam
    codes: Tensor  # (B, W) code that led here
    ancestors: Tensor  # (B, W, depth - 1) cache slot, after the prompt, of each earlier code


def beam_search(
    model: Any,
    trie: CodeTrie,
    level_tokens: NDArray[Any],
    prompts: Sequence[NDArray[Any]],
    seen: Sequence[NDArray[Any]] | None,
    settings: SearchSettings,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Best items of every prompt.

    Args:
        model: causal language model in eval mode.
        trie: codes of the items that may be recommended.
        level_tokens: ``(N, C)`` token id of every code.
        prompts: B arrays of token ids.
        seen: B arrays of item_index to leave out, or None to keep all.
        settings: width, length, kind of score, batch size.

    Returns:
        ``(B, K)`` item_index, -1 where fewer items are allowed, and ``(B, K)`` log probabilities of the
        codes (the end token is not scored), -inf there.

    Raises:
        SettingsError: fewer beams than K.
        InputError: codes without a token, an empty prompt, or a model that yields NaN.
    """
    _check(trie, level_tokens, prompts, seen, settings)
    items = np.full((len(prompts), settings.top_k), -1, dtype=np.int32)
    scores = np.full((len(prompts), settings.top_k), -np.inf, dtype=np.float32)
    if len(trie) == 0 or len(prompts) == 0:
        return items, scores
    with torch.inference_mode():
        device = model_device(model)
        scorer = LevelScorer(model, level_tokens, settings.scores)
        tensors = TrieTensors.of(trie, device)
        for rows in batches(prompts, settings.batch_tokens, settings.width):
            taken = SeenItems.of(trie, None if seen is None else [seen[row] for row in rows], device)
            read = prefill(model, [prompts[row] for row in rows])
            leaves, leaf_scores = _search_batch(model, tensors, scorer, read, taken, settings.width)
            items[rows], scores[rows] = taken.expand(leaves, leaf_scores, settings.top_k)
    return items, scores


def _check(
    trie: CodeTrie,
    level_tokens: NDArray[Any],
    prompts: Sequence[NDArray[Any]],
    seen: Sequence[NDArray[Any]] | None,
    settings: SearchSettings,
) -> None:
    if settings.width < settings.top_k:
        raise SettingsError(f"recommend.beams = {settings.beams}: must be at least recommend.top_k = {settings.top_k}")
    if seen is not None and len(seen) != len(prompts):
        raise InputError(f"{len(seen)} lists of seen items for {len(prompts)} prompts")
    if level_tokens.shape[0] != trie.levels or (len(trie) and trie.row_codes.max() >= level_tokens.shape[1]):
        raise InputError(
            f"codes of {trie.levels} levels do not fit code tokens {level_tokens.shape}; model and codes belong to different code sets"
        )


def _search_batch(
    model: Any, trie: TrieTensors, scorer: LevelScorer, read: Prefilled, taken: SeenItems, width: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Leaves ``(B, W)`` of one batch and their scores, best first."""
    batch, device = len(read.lengths), read.lengths.device
    beams = _Beams(
        nodes=torch.zeros((batch, 1), dtype=torch.long, device=device),
        scores=torch.zeros((batch, 1), device=device),
        codes=torch.zeros((batch, 1), dtype=torch.long, device=device),
        ancestors=torch.zeros((batch, 1, 0), dtype=torch.long, device=device),
    )
    tree, hidden = Tree(read), read.last_hidden[:, None, :]  # (B, W, D)
    for level in range(len(trie.child_codes)):
        if level > 0:
            tokens = scorer.tokens[level - 1][beams.codes]
            hidden, beams.ancestors = tree.descend(model, tokens, beams.ancestors)
        log_probs = scorer.log_probs(hidden, level)  # (B, W, C)
        beams = _grow(trie, taken, beams, log_probs, level, width, scorer.among_siblings)
    if bool(beams.scores.isnan().any()):
        raise InputError("the model yields NaN; its weights are damaged or its training diverged")
    return beams.nodes.cpu().numpy(), beams.scores.cpu().numpy()


def _grow(
    trie: TrieTensors, taken: SeenItems, beams: _Beams, log_probs: Tensor, level: int, width: int, among_siblings: bool
) -> _Beams:
    """The best ``width`` children of all beams."""
    children = trie.children(beams.nodes, level)  # (B, W, F)
    steps = log_probs.gather(2, children.codes)  # (B, W, F)
    if among_siblings:
        steps = steps - steps.masked_fill(~children.exists, _NEVER).logsumexp(dim=2, keepdim=True)
    scores = beams.scores[:, :, None] + steps
    is_open = children.exists & taken.has_left(children.nodes, trie.leaf_offsets[level + 1])
    scores = torch.where(is_open, scores, _NEVER).flatten(1)  # (B, W * F)
    best, index = scores.topk(min(width, scores.shape[1]), dim=1)  # (B, W')
    parent = index // children.nodes.shape[2]
    ancestors = beams.ancestors.gather(1, parent[:, :, None].expand(-1, -1, beams.ancestors.shape[2]))
    nodes, codes = (tensor.flatten(1).gather(1, index) for tensor in (children.nodes, children.codes))
    return _Beams(nodes, best, codes, ancestors)
