"""Tokenizers of three kinds, tiny models and a small set of users, for the tests of prompts and tuning."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from semconv.backbone.code_tokens import add_code_tokens
from semconv.backbone.create import train_tokenizer
from semconv.data.store import Sequences
from semconv.settings.tasks import TaskSettings
from semconv.tasks.data import TaskData
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.registry import phrases
from semconv.tasks.selection import task_data

LEVELS, CODES = 3, 8
WORDS = [
    "red",
    "green",
    "blue",
    "small",
    "large",
    "old",
    "new",
    "lamp",
    "chair",
    "table",
    "rug",
    "shelf",
    "for",
    "the",
    "quiet",
    "reading",
    "corner",
    "of",
    "a",
    "house",
]
TOKENIZERS = ("embedded", "metaspace-first", "metaspace-always", "prepended")


def sentences(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=6)) for _ in range(count)]


def tokenizer(kind: str) -> Any:
    """Make the built-in backbone's tokenizer, or one that marks word starts as a Llama tokenizer does and adds a BOS."""
    return copy.deepcopy(_trained_tokenizer(kind))


@functools.cache
def _trained_tokenizer(kind: str) -> Any:
    texts = [*sentences(60), *phrases()]
    if kind == "embedded":
        return train_tokenizer(sentences(60), phrases(), 320)
    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    if kind == "prepended":
        core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=kind.removeprefix("metaspace-"), split=True)
    core.decoder = decoders.Metaspace()
    alphabet = sorted({letter for text in texts for letter in text})
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<unk>", "<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(texts, trainer)
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


_KINDS = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
}


def model(vocabulary: int, *, kind: str = "llama", tied: bool = False, width: int = 16) -> Any:
    """Make a model of two layers with random weights, in eval mode."""
    torch.manual_seed(3)
    config, cls = _KINDS[kind]
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 1}
    if kind != "qwen2":  # which derives it
        heads["head_dim"] = width // 2
    if kind == "mistral":
        heads["sliding_window"] = None
    made = cls(
        config(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=2,
            max_position_embeddings=512,
            tie_word_embeddings=tied,
            **heads,
        )
    )
    with torch.no_grad():  # the usual initial weights are so small that every token looks alike
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.3)
    return made.eval()


def saved_model(folder: Path, **shape: Any) -> Path:
    """Save a model and its tokenizer, as a pretrained backbone that has no code tokens yet."""
    made = tokenizer("metaspace-first")
    model(len(made), **shape).save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


def coded(tokens: str = "embedded", **shape: Any) -> tuple[Any, Any, NDArray[np.int64]]:
    """Make a model, its tokenizer and code tokens ``(LEVELS, CODES)``."""
    made = tokenizer(tokens)
    backbone = model(len(made), **shape)
    return backbone, made, add_code_tokens(backbone, made, LEVELS, CODES)


def item_codes(num_items: int, without: tuple[int, ...] = ()) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
    """Give distinct codes to all items except some."""
    index = np.array([item for item in range(num_items) if item not in without], dtype=np.int32)
    codes = np.stack([index // CODES**level % CODES for level in reversed(range(LEVELS))], axis=1)
    return index, codes.astype(np.uint16)


def sequences(rows: list[list[int]], **columns: Any) -> Sequences:
    """Make users u0, u1, ... with these items; ``ratings`` and ``queries`` are flat lists."""
    count = sum(map(len, rows))
    return Sequences(
        [f"u{user}" for user in range(len(rows))],
        np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64),
        np.array([item for row in rows for item in row], dtype=np.int32),
        np.full(count, np.iinfo(np.int64).min),
        np.array(columns.get("ratings", [np.nan] * count), dtype=np.float32),
        columns.get("queries", [None] * count),
    )


def small_data(encoder: PromptEncoder, settings: TaskSettings, num_items: int = 40) -> TaskData:
    """Make four users, one with one item and one with more items than a history shows; some queries, some text."""
    rng = np.random.default_rng(5)
    rows = [[3, 1, 4, 5, 9], [7], [2, 6], rng.permutation(num_items)[:26].tolist()]
    count = sum(map(len, rows))
    queries = [f"{text}, please" if row % 3 == 0 else None for row, text in enumerate(sentences(count, 2))]
    titles = [text if item % 4 else None for item, text in enumerate(sentences(num_items, 3))]
    descriptions = [text if item % 3 else "" for item, text in enumerate(sentences(num_items, 4))]
    return task_data(sequences(rows, queries=queries), encoder.has_codes, titles, descriptions, settings)


def encoder_of(tokens: Any, level_tokens: NDArray[np.int64], num_items: int = 40) -> PromptEncoder:
    """Make an encoder of items, of which 11 and 12 have no codes."""
    return PromptEncoder(tokens, level_tokens, *item_codes(num_items, (11, 12)), num_items)
