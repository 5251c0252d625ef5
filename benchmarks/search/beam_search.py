"""Beam search over the code trie beside transformers' own constrained ``generate``, with the same model and beams.

Prompts are histories of 20 items as the built-in backbone reads them. The search is also compared with the bare prefill:
one plain pass over the same prompts in the same batches. The size `full` takes more users, and also prompts with a long
common head, as pretrained tokenizers make them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GenerationConfig

from benchmarks.rows import Comparison, Row, Size, command
from benchmarks.search.case import (
    BEAMS,
    HISTORY,
    LEVEL_TOKENS,
    LEVELS,
    bare_prefill,
    history_prompts,
    make_model,
    make_searcher,
    prefix_dictionary,
    random_codes,
)
from benchmarks.timing import timed_in_turn
from semconv.search.code_scores import Normalization
from semconv.search.trie import CodeTrie

PACKAGES = ["torch", "transformers"]
GENERATE = Comparison("beam_search", "transformers.generate", PACKAGES)
PREFILL = Comparison("beam_search", "the bare prefill", PACKAGES)
FLOAT32 = Comparison("beam_search", "the same in float32", PACKAGES)
ALONE = Comparison("beam_search", "", ["torch"])
USERS = {"small": (16,), "full": (16, 64)}
HEADS = {"small": (1,), "full": (1, 37)}  # tokens of the common head: the built-in backbone's, and a pretrained model's
ITEMS = 10_000
MODES: tuple[Normalization, ...] = ("trie", "full")


def run(size: Size) -> list[Row]:
    """Measure top-20 lists of users with histories of 20 items, on one thread and on two."""
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


def beside_prefill(case: str, model: Any, trie: CodeTrie, prompts: list[NDArray[Any]]) -> list[Row]:
    """Measure the whole search beside the bare prefill."""
    bare = partial(bare_prefill, model, prompts, len(prompts))
    calls = {scores: partial(make_searcher(model, trie, scores).search, prompts, None) for scores in MODES}
    times = timed_in_turn({**calls, "bare": bare}, repeats=9)
    return [
        row
        for scores in MODES
        for row in PREFILL.seconds(case, f"whole search, scores = {scores}", times[scores], times["bare"])
    ]


def beside_generate(
    case: str, model: Any, trie: CodeTrie, codes: NDArray[Any], prompts: list[NDArray[Any]]
) -> list[Row]:
    """Check that both sides find the same lists, and measure their users by second."""
    search = make_searcher(model, trie, "full")
    found: dict[str, Any] = {}
    calls = {
        "full": lambda: found.update(ours=search.search(prompts, None)[0]),
        "trie": lambda: make_searcher(model, trie, "trie").search(prompts, None),
        "peer": lambda: found.update(peer=generate(model, codes, np.stack(prompts))),
    }
    times = timed_in_turn(calls, repeats=3)
    same = np.mean([set(map(tuple, LEVEL_TOKENS[np.arange(LEVELS), codes[ours]])) == set(map(tuple, peer))
                    for ours, peer in zip(found["ours"], found["peer"], strict=True)])  # fmt: skip
    if same < 0.95:  # near ties at the edge of the beam may differ
        raise SystemExit(f"only {same:.0%} of the users have the same list on both sides")
    return [
        row
        for scores in ("full", "trie")
        for row in GENERATE.rates(
            case, f"throughput, scores = {scores}", "users/s", len(prompts), times[scores], times["peer"]
        )
    ]


def in_bfloat16(trie: CodeTrie, prompts: list[NDArray[Any]]) -> list[Row]:
    """Measure time and lists of the model in bfloat16 beside those in float32."""
    models = {"float32": make_model(), "bfloat16": make_model().to(torch.bfloat16)}
    searches = {name: make_searcher(model, trie, "trie") for name, model in models.items()}
    times = timed_in_turn({name: partial(search.search, prompts, None) for name, search in searches.items()})
    lists, others = (searches[name].search(prompts, None)[0] for name in models)
    shared = [len(set(a) & set(b)) / BEAMS for a, b in zip(lists, others, strict=True)]
    case = f"{len(prompts)} users, {ITEMS} items, {BEAMS} beams, bfloat16 weights, 1 threads"
    return [
        *FLOAT32.seconds(case, "whole search, scores = trie", times["bfloat16"], times["float32"]),
        ALONE.row(case, "items of a list that the float32 list has too", "share", ours=float(np.mean(shared))),
    ]


def generate(model: Any, codes: NDArray[Any], prompts: NDArray[Any]) -> NDArray[Any]:
    """Return the peer's lists as tokens ``(B, 20, N)``, constrained by a dictionary of prefixes."""
    length = prompts.shape[1]
    allowed = prefix_dictionary(LEVEL_TOKENS[np.arange(LEVELS), codes])
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
    command(run, __doc__)
