"""Beam search over the code trie (docs/method.md).

A beam is the first codes of some item: a node of the trie, with a score. The model reads each prompt once, and the last
hidden state scores the first codes. In each further step the model reads the last codes of all beams in one pass, and
the search keeps the children with the best scores. A beam never enters a node if the user has seen all items below it.
``reader`` holds the passes of the model, ``beams`` the steps down the trie, ``code_scores`` the log probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from semconv.backbone.forward import model_device
from semconv.errors import InputError
from semconv.ragged import lengths_of
from semconv.search.beams import NodeScorer, best_leaves, score_given
from semconv.search.code_scores import CodeScorer, Normalization
from semconv.search.memory import Batches, tokens_that_fit
from semconv.search.reader import PromptReader
from semconv.search.seen import SeenItems
from semconv.search.trie import CodeTrie
from semconv.search.trie_tensors import TrieTensors
from semconv.settings.recommend import beam_width, require_beams


@dataclass(frozen=True)
class SearchSettings:
    """Settings of a search.

    Attributes:
        top_k: length K of a list.
        beams: beam width, 0 means max(20, K).
        scores: ``full`` normalises the log probability of a code over the full vocabulary, as ``generate`` of
            transformers does; ``trie`` over the codes that items have after the same first codes.
        batch_tokens: largest number of prompt tokens of a forward pass; fewer if memory is short.
        proposals: number of items that the item head proposes to a blend, if more than W.
    """

    top_k: int = 20
    beams: int = 0
    scores: Normalization = "full"
    batch_tokens: int = 16384
    proposals: int = 0

    @property
    def width(self) -> int:
        """Beam width W."""
        return beam_width(self.beams, self.top_k)


CODE_SCORE: Final = "log p of codes"  # sum of the log probabilities of an item's codes
ITEM_SCORE: Final = "log p of items"  # log probability of an item among all items, by the item head


class SearchResult(NamedTuple):
    """The result of a search for B prompts. A score is a log probability: ``CODE_SCORE`` or ``ITEM_SCORE``.

    Attributes:
        items: ``(B, W)`` item_index of the found items, best first; -1 fills up rows with fewer than W items.
        scores: ``(B, W)`` scores of ``items``, -inf where there is no item.
        other_scores: ``(B, n)`` scores of the items in the argument ``others``, -inf for no item and for items without
            codes.
        trained_scores, other_trained_scores: the same scores by the weights as they were trained, before a factor was
            chosen for some of them (``tuning.successor_factor``). A blend reads these: it has counts of its own.
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    other_scores: NDArray[np.float32]
    trained_scores: NDArray[np.float32]
    other_trained_scores: NDArray[np.float32]


def empty_result(
    count: int, width: int, seen: Sequence[NDArray[Any]] | None, others: NDArray[Any] | None
) -> tuple[SearchResult, NDArray[np.int64]]:
    """Return a result for ``count`` prompts without any item, and the items to score ``(count, n)``.

    Raises:
        InputError: the arguments of a search differ in length.
    """
    others = np.zeros((count, 0), dtype=np.int64) if others is None else np.asarray(others, dtype=np.int64)
    if others.ndim != 2 or len(others) != count or (seen is not None and len(seen) != count):
        raise InputError(f"items to score {others.shape} or lists of seen items do not fit {count} prompts")
    items = np.full((count, width), -1, dtype=np.int32)
    scores, trained = (np.full((count, width), -np.inf, dtype=np.float32) for _ in range(2))
    of_others, trained_others = (np.full(others.shape, -np.inf, dtype=np.float32) for _ in range(2))
    return SearchResult(items, scores, of_others, trained, trained_others), others


class Searcher:
    """Searches with one model over one trie. A job creates one searcher for all its users.

    Args:
        model: causal language model in eval mode.
        trie: codes of the items, restricted to the items that may be listed.
        level_tokens: ``(N, C)`` token id of every code, levels by codes.
        settings: beam width, kind of scores, batch size.
        say: prints a line when a batch is too large for the memory.

    Raises:
        SettingsError: the beam width is below K.
        InputError: a code has no token.
    """

    score_name: Final = CODE_SCORE

    def __init__(
        self,
        model: Any,
        trie: CodeTrie,
        level_tokens: NDArray[Any],
        settings: SearchSettings,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        require_beams(settings.beams, settings.top_k)
        if level_tokens.shape[0] != trie.levels or trie.code_bound > level_tokens.shape[1]:
            raise InputError(
                f"codes of {trie.levels} levels, all below {trie.code_bound}, do not fit the model's code tokens"
                f" {level_tokens.shape}; model and codes belong to different code sets"
            )
        self.settings = settings
        self._trie = trie
        self._device = model_device(model)
        self._batches = Batches(tokens_that_fit(model, level_tokens.shape[1], settings.batch_tokens), say)
        self._reader = PromptReader(model)
        with torch.inference_mode():
            code_scorer = CodeScorer(model, level_tokens, settings.scores)
        self._scorer = NodeScorer(TrieTensors.of(trie, self._device), code_scorer)

    def search(
        self,
        prompts: Sequence[NDArray[Any]],
        seen: Sequence[NDArray[Any]] | None,
        others: NDArray[Any] | None = None,
    ) -> SearchResult:
        """Find the best items after each prompt, and also score given items.

        Args:
            prompts: B arrays of token ids. For an empty prompt no items are found and none are scored.
            seen: B arrays of item_index to leave out of the found items, or None to leave out nothing.
            others: ``(B, n)`` item_index of items to score, -1 for none; they need not be items that may be listed.

        Raises:
            InputError: the arguments differ in length, or the model yields NaN.
            MachineError: the search for a single prompt does not fit into memory.
        """
        width = self.settings.width
        result, others = empty_result(len(prompts), width, seen, others)
        lengths = lengths_of(prompts)
        users = np.flatnonzero(lengths)  # with a prompt
        if len(users) == 0 or not (self._trie.num_open or (len(self._trie) and others.shape[1])):
            return result  # nothing to search and nothing to score
        with torch.inference_mode():
            self._reader.read_head([prompts[user] for user in users.tolist()])
            for batch in self._batches.cut(lengths[users], max(width, others.shape[1])):
                rows = users[batch].tolist()
                with self._batches.attempt():
                    found = self._search_batch(
                        [prompts[row] for row in rows],
                        None if seen is None else [seen[row] for row in rows],
                        others[rows],
                    )
                    for whole, part in zip(result, found, strict=True):
                        whole[rows] = part
        return result

    def _search_batch(
        self, prompts: list[NDArray[Any]], seen: list[NDArray[Any]] | None, others: NDArray[np.int64]
    ) -> SearchResult:
        width = self.settings.width
        tree = self._reader.read(prompts, (self._trie.levels - 1) * max(width, others.shape[1]))
        items = np.full((len(prompts), width), -1, dtype=np.int32)
        scores = np.full((len(prompts), width), -np.inf, dtype=np.float32)
        if self._trie.num_open:
            seen_items = SeenItems.of(self._trie, seen, self._device)
            items, scores = seen_items.expand(*best_leaves(self._scorer, tree, seen_items, width), width)
            tree.rewind()
        of_others = score_given(self._scorer, tree, self._trie, others, (items, scores))
        return SearchResult(items, scores, of_others, scores, of_others)
