"""Tiny random language models, catalogues and prompts, and an oracle that knows nothing of trees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen3Config, Qwen3ForCausalLM

from semconv.search.trie import CodeTrie

WORDS = 40  # ids below are words, codes come behind, one id is the end token
ARCHITECTURES = ("llama", "qwen3", "mistral")


def tiny_model(architecture: str, vocabulary: int, seed: int) -> Any:
    """A random decoder with grouped heads whose predictions are far from uniform."""
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
        """Codes that exist after the same prefix as an item's code of a level."""
        same = (self.codes[:, :level] == codes[:level]).all(axis=1)
        return np.unique(self.codes[same, level])

    def oracle(self, scores: str = "full") -> NDArray[np.float64]:
        """``(B, I)`` log probability of every item by one plain forward pass of prompt + codes each."""
        result = np.zeros((len(self.prompts), len(self.codes)))
        for row, prompt in enumerate(self.prompts):
            for item, codes in enumerate(self.codes):
                tokens = self.level_tokens[np.arange(len(codes)), codes]
                with torch.no_grad():
                    logits = self.model(torch.from_numpy(np.concatenate([prompt, tokens]))[None]).logits[0].double()
                for level, token in enumerate(tokens):
                    line = logits[len(prompt) - 1 + level]
                    rivals = self.siblings(codes, level) if scores == "trie" else slice(None)
                    over = line if scores == "full" else line[torch.from_numpy(self.level_tokens[level][rivals])]
                    result[row, item] += float(line[token] - over.logsumexp(0))
        return result


def make_case(
    architecture: str = "llama", *, items: int = 30, codes: int = 5, levels: int = 3, prompts: int = 5, seed: int = 0
) -> Case:
    """Distinct random codes; prompts of 2 to 14 tokens, some with a common beginning."""
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
    """Best k of each row; places without a finite score are -1 and -inf."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, axis=1)
    return np.where(np.isneginf(best), -1, order), best
