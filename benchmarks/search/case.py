"""The parts that the benchmarks of the search share: an untrained decoder, catalogues, and prompts of histories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from semconv.search.code_scores import Normalization
from semconv.search.search import Searcher, SearchSettings
from semconv.search.trie import CodeTrie

LEVELS, CODES, WORDS, BEAMS, HISTORY = 4, 256, 2000, 20, 20
LEVEL_TOKENS = WORDS + np.arange(LEVELS * CODES).reshape(LEVELS, CODES)
_SEPARATOR = 1  # in the built-in backbone's tokenizer every fixed phrase is one token

Prefixes = dict[tuple[int, ...], list[int]]


def make_model(layers: int = 4) -> Any:
    """Make an untrained decoder of about the built-in backbone's shape, with weights so large that beams do not tie."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS + LEVELS * CODES + 1,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    return LlamaForCausalLM(config).eval()


def make_searcher(model: Any, trie: CodeTrie, scores: Normalization) -> Searcher:
    """Make a search for lists of 20."""
    return Searcher(model, trie, LEVEL_TOKENS, SearchSettings(top_k=BEAMS, beams=BEAMS, scores=scores))


def random_codes(items: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw different codes ``(I, N)`` without any structure."""
    flat = rng.choice(CODES**LEVELS, items, replace=False)
    return np.stack([flat // CODES**level % CODES for level in range(LEVELS)], axis=1)


def prefix_dictionary(codes: NDArray[Any]) -> Prefixes:
    """Build the peer's trie from ``(I, N)`` codes or tokens: a dictionary from each prefix to the possible next ones."""
    following: dict[tuple[int, ...], set[int]] = {}
    for line in codes.tolist():
        for level in range(LEVELS):
            following.setdefault(tuple(line[:level]), set()).add(line[level])
    return {prefix: sorted(after) for prefix, after in following.items()}


def history_prompts(
    codes: NDArray[Any], users: int, history: int, rng: np.random.Generator, head: int = 1, tail: int = 1
) -> list[NDArray[np.int64]]:
    """Draw prompts of ``head + 5 x history - 1 + tail`` tokens, all with the same head and the same tail."""
    before, after = rng.integers(10, WORDS, head), rng.integers(10, WORDS, tail)
    steps = np.full((users, history, LEVELS + 1), _SEPARATOR)
    steps[:, :, :LEVELS] = LEVEL_TOKENS[np.arange(LEVELS), codes[rng.integers(0, len(codes), (users, history))]]
    return [np.concatenate([before, line.ravel()[:-1], after]) for line in steps]


def bare_prefill(model: Any, prompts: Sequence[NDArray[Any]], batch: int) -> None:
    """Do only what every search must do: one plain pass over prompts of one length, keeping keys and values."""
    with torch.inference_mode():
        for start in range(0, len(prompts), batch):
            ids = torch.from_numpy(np.stack(prompts[start : start + batch]))
            model.model(input_ids=ids, use_cache=True, past_key_values=DynamicCache())
