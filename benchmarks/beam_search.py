"""Beam search over the code trie beside transformers' own constrained ``generate``, same model, same width.

Prompts are histories of 20 items as the embedded default reads them. Both sides are also held against the bare
prefill: one plain pass over the same prompts in the same batches. ``full`` takes more users, and prompts with a long common head, as a
pretrained tokenizer makes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GenerationConfig

from benchmarks.rows import Row, Seconds, Size, Subject, command, in_turn
from benchmarks.search_case import (
    BEAMS,
    HISTORY,
    LEVEL_TOKENS,
    LEVELS,
    bare_prefill,
    history_prompts,
    make_model,
    random_codes,
)
from semconv.search.levels import Normalization
from semconv.search.search import Searcher, SearchSettings
from semconv.search.trie import CodeTrie

SUBJECT = Subject("beam_search", "transformers.generate", ["torch", "transformers"])
AGAINST_PREFILL = Subject("beam_search", "the bare prefill", ["torch", "transformers"])
AGAINST_FLOAT = Subject("beam_search", "the same in float32", ["torch", "transformers"])
USERS = {"small": (16,), "full": (16, 64)}
HEADS = {"small": (1,), "full": (1, 37)}  # tokens of the common head: the embedded default's, and a pretrained model's
ITEMS = 10_000
MODES: tuple[Normalization, ...] = ("trie", "full")


def run(size: Size) -> list[Row]:
    """Top-20 of some users with histories of 20 items, on one thread and on two."""
    rng = np.random.default_rng(0)
    codes = random_codes(ITEMS, rng)
    trie, model = CodeTrie.build(codes, np.arange(ITEMS)), make_model()
    rows: list[Row] = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for users in USERS[size]:
            for head in HEADS[size]:
                prompts = history_prompts(codes, users, HISTORY, rng, head, tail=1 if head == 1 else 24)
                case = f"{users} users, {ITEMS} items, {BEAMS} beams, prompts of {len(prompts[0])} tokens, {threads} threads"
                rows += beside_prefill(case, model, trie, prompts)
                if users == USERS[size][0] and head == 1:
                    rows += beside_generate(case, model, trie, codes, prompts)
    torch.set_num_threads(1)
    return rows + in_bfloat16(trie, history_prompts(codes, 64, HISTORY, rng))


def searcher(model: Any, trie: CodeTrie, scores: Normalization) -> Searcher:
    """Of lists of 20."""
    return Searcher(model, trie, LEVEL_TOKENS, SearchSettings(top_k=BEAMS, beams=BEAMS, scores=scores))


def beside_prefill(case: str, model: Any, trie: CodeTrie, prompts: list[NDArray[Any]]) -> list[Row]:
    """The whole search over the bare prefill, both in turn."""
    bare = partial(bare_prefill, model, prompts, len(prompts))
    calls = {scores: partial(searcher(model, trie, scores).search, prompts, None) for scores in MODES}
    times = in_turn({**calls, "bare": bare}, repeats=9)
    return [row for scores in MODES for row in _rows(AGAINST_PREFILL, case, scores, times[scores], times["bare"])]


def _rows(subject: Subject, case: str, scores: str, ours: Seconds, peer: Seconds) -> Iterable[Row]:
    name = f"whole search, scores = {scores}"
    yield subject.row(case, name, "s", ours=ours.wall, peer=peer.wall)
    yield subject.row(case, f"{name}, of the processor", "s", ours=ours.processor, peer=peer.processor)


def beside_generate(
    case: str, model: Any, trie: CodeTrie, codes: NDArray[Any], prompts: list[NDArray[Any]]
) -> list[Row]:
    """Users a second of both, which find the same lists."""
    search = searcher(model, trie, "full")
    found: dict[str, Any] = {}
    calls = {
        "ours": lambda: found.update(ours=search.search(prompts, None).items),
        "trie": lambda: searcher(model, trie, "trie").search(prompts, None),
        "peer": lambda: found.update(peer=generate(model, codes, np.stack(prompts))),
    }
    times = in_turn(calls, repeats=3)
    same = np.mean([set(map(tuple, LEVEL_TOKENS[np.arange(LEVELS), codes[ours]])) == set(map(tuple, peer))
                    for ours, peer in zip(found["ours"], found["peer"], strict=True)])  # fmt: skip
    if same < 0.95:  # a near tie at the edge of the beam may fall either way
        raise SystemExit(f"only {same:.0%} of the users have the same list on both sides")
    return [
        SUBJECT.row(case, f"throughput{name}{of}", "users/s", ours=len(prompts) / ours, peer=len(prompts) / peer, higher_is_better=True)
        for name, side in ((", scores = full", "ours"), (", scores = trie", "trie"))
        for of, ours, peer in (
            ("", times[side].wall, times["peer"].wall),
            (", of the processor", times[side].processor, times["peer"].processor),
        )
    ]  # fmt: skip


def in_bfloat16(trie: CodeTrie, prompts: list[NDArray[Any]]) -> list[Row]:
    """Time and likeness of lists in half the number of bits."""
    narrow = make_model().to(torch.bfloat16)
    found: dict[str, Any] = {}
    calls = {
        name: partial(lambda name, search: found.update({name: search.search(prompts, None).items}), name, search)
        for name, search in (("float32", searcher(make_model(), trie, "trie")), ("bfloat16", searcher(narrow, trie, "trie")))
    }  # fmt: skip
    times = in_turn(calls, repeats=3)
    shared = [len(set(a) & set(b)) / BEAMS for a, b in zip(found["float32"], found["bfloat16"], strict=True)]
    case = f"{len(prompts)} users, {ITEMS} items, {BEAMS} beams, bfloat16 weights, 1 threads"
    alone = Subject("beam_search", "", ["torch"])
    return [
        *_rows(AGAINST_FLOAT, case, "trie", times["bfloat16"], times["float32"]),
        alone.row(case, "items of a list that the float32 list has too", "share", ours=float(np.mean(shared))),
    ]


def generate(model: Any, codes: NDArray[Any], prompts: NDArray[Any]) -> NDArray[Any]:
    """``(B, 20, N)`` tokens of the peer, under a dictionary from every prefix to what may follow."""
    length = prompts.shape[1]
    following: dict[tuple[int, ...], set[int]] = {}
    for line in LEVEL_TOKENS[np.arange(LEVELS), codes].tolist():
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
            prefix_allowed_tokens_fn=lambda _, ids: allowed[tuple(ids[length:].tolist())],
        )
    tokens: NDArray[Any] = output[:, length:].reshape(len(prompts), BEAMS, LEVELS).numpy()
    return tokens


if __name__ == "__main__":
    command(run)
