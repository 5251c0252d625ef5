"""Beam search over the code trie beside transformers' own constrained ``generate``, same model, same width."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from benchmarks.rows import Row, Size, Subject, command, seconds_of
from semconv.inference.prompts import batches, prefill
from semconv.inference.search import SearchSettings, beam_search
from semconv.inference.trie import CodeTrie

SUBJECT = Subject("beam_search", "transformers.generate", ["torch", "transformers"])
AGAINST_PREFILL = Subject("beam_search", "the bare prefill", ["torch", "transformers"])
USERS = {"small": 16, "full": 256}
ITEMS, LEVELS, CODES, WORDS, PROMPT, BEAMS = 10_000, 4, 256, 2000, 110, 20


def make_model() -> Any:
    """An untrained decoder of the embedded default's shape; sharp enough that beams do not tie."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS + LEVELS * CODES + 1,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    return LlamaForCausalLM(config).eval()


def run(size: Size) -> list[Row]:
    """Top-20 of some users with prompts of 110 tokens."""
    rng = np.random.default_rng(0)
    flat = rng.choice(CODES**LEVELS, ITEMS, replace=False)
    codes = np.stack([flat // CODES**level % CODES for level in range(LEVELS)], axis=1)
    level_tokens = WORDS + np.arange(LEVELS * CODES).reshape(LEVELS, CODES)
    prompts = [rng.integers(0, WORDS, PROMPT) for _ in range(USERS[size])]
    model, trie = make_model(), CodeTrie.build(codes, np.arange(ITEMS))
    settings = SearchSettings(top_k=BEAMS, beams=BEAMS)
    ours_seconds, (items, _) = seconds_of(lambda: beam_search(model, trie, level_tokens, prompts, None, settings))
    peer_seconds, tokens = seconds_of(lambda: generate(model, codes, np.stack(prompts)), repeats=1)
    same = np.mean([set(map(tuple, level_tokens[np.arange(LEVELS), codes[ours]])) == set(map(tuple, peer))
                    for ours, peer in zip(items, tokens, strict=True)])  # fmt: skip
    if same < 0.95:  # a near tie at the edge of the beam may fall either way
        raise SystemExit(f"only {same:.0%} of the users have the same list on both sides")
    case = f"{len(prompts)} users, {ITEMS} items, {BEAMS} beams, {torch.get_num_threads()} threads"
    per_second = len(prompts) / ours_seconds, len(prompts) / peer_seconds
    prefill_seconds, _ = seconds_of(lambda: read_prompts(model, prompts, settings))
    return [
        SUBJECT.row(case, "throughput", "users/s", ours=per_second[0], peer=per_second[1], higher_is_better=True),
        AGAINST_PREFILL.row(case, "whole search", "s", ours=ours_seconds, peer=prefill_seconds),
    ]


def read_prompts(model: Any, prompts: list[NDArray[Any]], settings: SearchSettings) -> None:
    """What no search can do without: one pass over the prompts in the search's own batches."""
    with torch.inference_mode():
        for rows in batches(prompts, settings.batch_tokens, settings.width):
            prefill(model, [prompts[row] for row in rows])


def generate(model: Any, codes: NDArray[Any], prompts: NDArray[Any]) -> NDArray[Any]:
    """``(B, 20, N)`` tokens of the peer, under a dictionary from every prefix to what may follow."""
    following: dict[tuple[int, ...], set[int]] = {}
    for line in (WORDS + np.arange(LEVELS) * CODES + codes).tolist():
        for level in range(LEVELS):
            following.setdefault(tuple(line[:level]), set()).add(line[level])
    allowed = {prefix: sorted(tokens) for prefix, tokens in following.items()}
    config = GenerationConfig(
        num_beams=BEAMS,
        num_return_sequences=BEAMS,
        max_new_tokens=LEVELS,
        do_sample=False,
        length_penalty=0.0,
        early_stopping=False,
        pad_token_id=model.config.vocab_size - 1,
    )
    with torch.inference_mode():
        output = model.generate(
            torch.from_numpy(prompts),
            generation_config=config,
            prefix_allowed_tokens_fn=lambda _, ids: allowed[tuple(ids[PROMPT:].tolist())],
        )
    tokens: NDArray[Any] = output[:, PROMPT:].reshape(len(prompts), BEAMS, LEVELS).numpy()
    return tokens


if __name__ == "__main__":
    command(run)
