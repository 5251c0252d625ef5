"""Tiny random language models, catalogues and prompts, and an oracle that scores each item in a pass of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen3Config, Qwen3ForCausalLM

from semconv.search.search import Searcher, SearchSettings
from semconv.search.trie import CodeTrie

WORDS = 40  # lower token ids are words; the codes and one end token come after them
ARCHITECTURES = ("llama", "qwen3", "mistral")


def tiny_model(architecture: str, vocabulary: int, seed: int) -> Any:
    """Make a random decoder with grouped heads. Its predictions are far from uniform."""
    torch.manual_seed(seed)
    shape = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 128,
        "initializer_range": 0.4,
        "eos_token_id": None,
        "bos_token_id": None,
        "pad_token_id": None,
    }
    if architecture == "llama":
        model = LlamaForCausalLM(LlamaConfig(**shape))
    elif architecture == "qwen3":
        model = Qwen3ForCausalLM(Qwen3Config(**shape))
    else:
        model = MistralForCausalLM(MistralConfig(**shape, sliding_window=None))
    return model.eval()


@dataclass
class Case:
    """A model, a catalogue and prompts."""

    model: Any
    codes: NDArray[np.int64]  # (I, N)
    level_tokens: NDArray[np.int64]  # (N, C)
    prompts: list[NDArray[np.int64]]
    rng: np.random.Generator = field(repr=False)

    @property
    def trie(self) -> CodeTrie:
        return CodeTrie.build(self.codes, np.arange(len(self.codes)))

    def siblings(self, codes: NDArray[np.int64], level: int) -> NDArray[np.int64]:
        """Return the codes that exist after the same prefix as an item's code of a level."""
        same = (self.codes[:, :level] == codes[:level]).all(axis=1)
        return np.unique(self.codes[same, level])

    def oracle(self, scores: str = "full") -> NDArray[np.float64]:
        """Return ``(B, I)`` the log probability of every item, each by one plain forward pass over prompt and codes."""
        result = np.zeros((len(self.prompts), len(self.codes)))
        for row, prompt in enumerate(self.prompts):
            for item, codes in enumerate(self.codes):
                tokens = self.level_tokens[np.arange(len(codes)), codes]
                with torch.no_grad():
                    logits = self.model(torch.from_numpy(np.concatenate([prompt, tokens]))[None]).logits[0].double()
                for level, token in enumerate(tokens):
                    line = logits[len(prompt) - 1 + level]
                    siblings = torch.from_numpy(self.level_tokens[level][self.siblings(codes, level)])
                    over = line if scores == "full" else line[siblings]
                    result[row, item] += float(line[token] - over.logsumexp(0))
        return result


def make_case(
    architecture: str = "llama", *, items: int = 30, codes: int = 5, levels: int = 3, prompts: int = 5, seed: int = 0
) -> Case:
    """Make distinct random codes, and prompts of 2 to 14 tokens, half of them with 9 common tokens before."""
    rng = np.random.default_rng(seed)
    flat = rng.choice(codes**levels, items, replace=False)
    table = np.stack([flat // codes**level % codes for level in range(levels)], axis=1)
    level_tokens = WORDS + rng.permutation(levels * codes).reshape(levels, codes)
    model = tiny_model(architecture, WORDS + levels * codes + 1, seed)
    head = rng.integers(0, WORDS, 9)
    texts = [rng.integers(0, WORDS, rng.integers(2, 15)) for _ in range(prompts)]
    texts = [np.concatenate([head, text]) if row % 2 else text for row, text in enumerate(texts)]
    return Case(model, table, level_tokens, texts, rng)


def ranked(scores: NDArray[np.float64], k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the best k of each row; entries without a finite score are -1 and -inf."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, axis=1)
    return np.where(np.isneginf(best), -1, order), best


def best_items(
    model: Any,
    trie: CodeTrie,
    level_tokens: NDArray[np.int64],
    prompts: list[NDArray[np.int64]],
    seen: list[NDArray[np.int64]] | None,
    settings: SearchSettings,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the items ``(B, K)`` of a search and their scores."""
    found = Searcher(model, trie, level_tokens, settings).search(prompts, seen)
    return found.items[:, : settings.top_k], found.scores[:, : settings.top_k]


def scores_of(
    case: Case, items: NDArray[np.int64], trie: CodeTrie | None = None, settings: SearchSettings | None = None
) -> NDArray[np.float32]:
    """Return the scores ``(B, n)`` of items by a searcher that may list nothing, so that no beam knows them already."""
    trie = (case.trie if trie is None else trie).restrict(np.zeros(0, dtype=bool))
    searcher = Searcher(case.model, trie, case.level_tokens, settings or SearchSettings())
    return searcher.search(case.prompts, None, items).other_scores


def codes_of(trie: CodeTrie, items: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the codes ``(n, N)`` of items by walking the trie; -1 for items that are not in it."""
    rows = trie.row_of(items)
    codes = np.full((len(items), trie.levels), -1, dtype=np.int64)
    for item in np.flatnonzero(rows >= 0):
        paths = trie.paths(trie.leaf_of(rows[item : item + 1]))
        codes[item] = [codes[nodes[0]] for codes, nodes in zip(trie.child_codes, paths, strict=True)]
    return codes
