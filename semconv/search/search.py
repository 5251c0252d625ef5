"""Beam search over the code trie with the prompt read once (method: Inference).

The prompt's last hidden state scores the first codes; each further step reads the beams' last codes
side by side (``tree``) and keeps the best children that the trie knows. Items a user has are left out inside
the search: a node whose leaves are all taken is never entered. Where codes compete with their siblings alone, a
beam with one leaf below it is settled, and the model reads it no further.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.backbone.forward import model_device
from semconv.errors import InputError, SettingsError
from semconv.search.frontier import Frontier, Steps
from semconv.search.levels import LevelScorer, Normalization
from semconv.search.memory import Batches, tokens_that_fit
from semconv.search.prompts import Prefilled, Reader
from semconv.search.score import score_batch, score_others
from semconv.search.seen import SeenItems
from semconv.search.tree import Tree
from semconv.search.trie import CodeTrie
from semconv.search.trie_tensors import Children, TrieTensors
from semconv.settings.recommend import beam_width

_NEVER = -torch.inf


@dataclass(frozen=True)
class SearchSettings:
    """Width and length of the search.

    Attributes:
        top_k: length K of a list.
        beams: beam width, 0 means max(20, K).
        scores: sums of log probabilities over the full vocabulary, comparable with ``generate``, over the level's
            codes, or over the codes that exist after the same prefix (``trie``).
        batch_tokens: prompt tokens a forward pass, at most; fewer where memory is short.
    """

    top_k: int = 20
    beams: int = 0
    scores: Normalization = "full"
    batch_tokens: int = 16384

    @property
    def width(self) -> int:
        """Beam width in force."""
        return beam_width(self.beams, self.top_k)


class Searcher:
    """Searches and scores for a job: what is the same for all its users is made once.

    Args:
        model: causal language model in eval mode.
        trie: codes of the items, with those closed that may not be listed.
        level_tokens: ``(N, C)`` token id of every code.
        settings: width, length, kind of score, batch size.
        say: where a batch that memory did not hold is reported.

    Raises:
        SettingsError: fewer beams than K.
        InputError: codes without a token.
    """

    def __init__(
        self,
        model: Any,
        trie: CodeTrie,
        level_tokens: NDArray[Any],
        settings: SearchSettings,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        if settings.width < settings.top_k:
            raise SettingsError(
                f"recommend.beams = {settings.beams}: must be at least recommend.top_k = {settings.top_k}"
            )
        if level_tokens.shape[0] != trie.levels or trie.code_bound > level_tokens.shape[1]:
            raise InputError(
                f"codes of {trie.levels} levels do not fit code tokens {level_tokens.shape}; model and codes belong to different code sets"
            )
        self._trie, self._settings = trie, settings
        self._device = model_device(model)
        self._batches = Batches(tokens_that_fit(model, level_tokens.shape[1], settings.batch_tokens), say)
        with torch.inference_mode():
            scorer = LevelScorer(model, level_tokens, settings.scores)
        self._steps = Steps(model, TrieTensors.of(trie, self._device), scorer)
        self._reader = Reader(model)

    @property
    def width(self) -> int:
        """Beams."""
        return self._settings.width

    @property
    def top_k(self) -> int:
        """Length K of a list."""
        return self._settings.top_k

    def search(
        self, prompts: Sequence[NDArray[Any]], seen: Sequence[NDArray[Any]] | None
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Best items of every prompt.

        Args:
            prompts: B arrays of token ids.
            seen: B arrays of item_index to leave out, or None to keep all.

        Returns:
            ``(B, K)`` item_index, -1 where fewer items are allowed, and ``(B, K)`` log probabilities of the
            codes (the end token is not scored), -inf there.

        Raises:
            InputError: an empty prompt, or a model that yields NaN.
            MachineError: memory does not hold one prompt.
        """
        top_k, width = self._settings.top_k, self._settings.width
        if seen is not None and len(seen) != len(prompts):
            raise InputError(f"{len(seen)} lists of seen items for {len(prompts)} prompts")
        items = np.full((len(prompts), top_k), -1, dtype=np.int32)
        scores = np.full((len(prompts), top_k), -np.inf, dtype=np.float32)

        def compute(rows: NDArray[np.int64]) -> None:
            taken = SeenItems.of(self._trie, None if seen is None else [seen[row] for row in rows], self._device)
            read = self._reader.read([prompts[row] for row in rows], (self._trie.levels - 1) * width)
            leaves, leaf_scores = self._search_batch(read, taken)
            items[rows], scores[rows] = taken.expand(leaves, leaf_scores, top_k)

        if self._trie.num_open and len(prompts):
            self._run(prompts, width, compute)
        return items, scores

    def score(self, prompts: Sequence[NDArray[Any]], items: NDArray[Any]) -> NDArray[np.float32]:
        """Sum of log probabilities of the codes of given items, which equals the search's for the same items.

        Args:
            prompts: B arrays of token ids.
            items: ``(B, n)`` item_index, -1 where there is none; closed items have scores too.

        Returns:
            ``(B, n)`` float32, -inf where there is no item or it has no codes.

        Raises:
            InputError: shapes disagree, or an empty prompt.
            MachineError: memory does not hold one prompt.
        """
        items = np.asarray(items, dtype=np.int64)
        if items.ndim != 2 or len(items) != len(prompts):
            raise InputError(f"items {items.shape} do not fit {len(prompts)} prompts: expected (B, n)")
        result = np.full(items.shape, -np.inf, dtype=np.float32)

        def compute(rows: NDArray[np.int64]) -> None:
            read = self._reader.read([prompts[row] for row in rows], (self._trie.levels - 1) * items.shape[1])
            result[rows] = score_batch(self._steps, Tree(read), self._trie, items[rows])

        if len(self._trie) and items.size:
            self._run(prompts, items.shape[1], compute)
        return result

    def search_and_score(
        self, prompts: Sequence[NDArray[Any]], seen: Sequence[NDArray[Any]] | None, others: NDArray[Any]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
        """What ``search`` and ``score`` give, the prompts read once, and items that the search found not scored again.

        Args:
            prompts, seen: as of ``search``.
            others: ``(B, n)`` item_index, -1 where there is none.

        Returns:
            the items of all beams ``(B, W)`` and their log probabilities, of which the first K are the list of
            ``search``, and the log probabilities ``(B, n)`` of the others as of ``score``.

        Raises:
            InputError, MachineError: as ``search`` and ``score``.
        """
        others = np.asarray(others, dtype=np.int64)
        if others.ndim != 2 or len(others) != len(prompts) or (seen is not None and len(seen) != len(prompts)):
            raise InputError(f"others {others.shape} or the seen items do not fit {len(prompts)} prompts")
        width = self._settings.width
        items = np.full((len(prompts), width), -1, dtype=np.int32)
        scores = np.full((len(prompts), width), -np.inf, dtype=np.float32)
        result = np.full(others.shape, -np.inf, dtype=np.float32)
        step_tokens = max(width, others.shape[1])

        def compute(rows: NDArray[np.int64]) -> None:
            read = self._reader.read([prompts[row] for row in rows], (self._trie.levels - 1) * step_tokens)
            if self._trie.num_open:
                taken = SeenItems.of(self._trie, None if seen is None else [seen[row] for row in rows], self._device)
                items[rows], scores[rows] = taken.expand(*self._search_batch(read, taken), width)
                read.rewind()
            known = items[rows], scores[rows]
            result[rows] = score_others(self._steps, Tree(read), self._trie, others[rows], known)

        if len(self._trie) and len(prompts):
            self._run(prompts, step_tokens, compute)
        return items, scores, result

    def _run(
        self, prompts: Sequence[NDArray[Any]], step_tokens: int, compute: Callable[[NDArray[np.int64]], None]
    ) -> None:
        with torch.inference_mode():
            if all(len(prompt) for prompt in prompts):  # an empty one is named below
                self._reader.begin(prompts)
            self._batches.run(prompts, step_tokens, compute)

    def _search_batch(self, read: Prefilled, taken: SeenItems) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Leaves ``(B, W)`` of one batch and their scores, best first."""
        tree, frontier = Tree(read), Frontier.root(len(read.lengths), self._device)
        scores = torch.zeros(frontier.nodes.shape, device=self._device)  # (B, W)
        trie = self._steps.trie
        for level in range(self._trie.levels):
            children = trie.children(frontier.nodes, level)  # (B, W, F)
            grown = scores[:, :, None] + self._steps.log_probs(tree, frontier, children, level)
            grown.masked_fill_(~trie.may_enter(children, level), _NEVER)
            taken.close(grown, frontier.nodes, level)
            scores, frontier = _best(grown, frontier, children, self._settings.width)
        if bool(scores.isnan().any()):
            raise InputError("the model yields NaN; its weights are damaged or its training diverged")
        return frontier.nodes.cpu().numpy(), scores.cpu().numpy()


def _best(scores: Tensor, frontier: Frontier, children: Children, width: int) -> tuple[Tensor, Frontier]:
    """The best ``width`` children of all beams, ``(B, W')`` scores and where they lead."""
    flat = scores.flatten(1)  # (B, W * F)
    best, index = flat.topk(min(width, flat.shape[1]), dim=1)
    parent = index // scores.shape[2]
    ancestors = frontier.ancestors.gather(1, parent[:, :, None].expand(-1, -1, frontier.ancestors.shape[2]))
    nodes, codes = (tensor.flatten(1).gather(1, index) for tensor in (children.nodes, children.codes))
    return best, Frontier(nodes, codes, ancestors, best > _NEVER)


def beam_search(
    model: Any,
    trie: CodeTrie,
    level_tokens: NDArray[Any],
    prompts: Sequence[NDArray[Any]],
    seen: Sequence[NDArray[Any]] | None,
    settings: SearchSettings,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Best items of every prompt, ``Searcher.search`` for once."""
    return Searcher(model, trie, level_tokens, settings).search(prompts, seen)
