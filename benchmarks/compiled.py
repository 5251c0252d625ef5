"""Whether ``recommend.compile`` pays: the search with a compiled model beside the same search with the model as it is.

Prompts are histories of 20 items as the embedded default reads them, on one thread. Compiling happens in the first searches; the second process finds
what the first one left on disk. What is won a user over what compiling takes is how many users a job needs to be shorter for it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.rows import Row, Seconds, Size, Subject, apart, command, in_turn, times_of
from benchmarks.search_case import BEAMS, HISTORY, LEVEL_TOKENS, history_prompts, make_model, random_codes
from semconv.backbone.forward import compile_decoder
from semconv.search.search import Searcher, SearchSettings
from semconv.search.trie import CodeTrie

BESIDE_PLAIN = Subject("compiled", "the same not compiled", ["torch", "transformers"])
ALONE = Subject("compiled", "", ["torch", "transformers"])
USERS = {"small": 16, "full": 64}
ITEMS = 10_000
TOLERANCE = 1e-3  # of scores; float32 sums in another order


@dataclass(frozen=True)
class Found:
    """One process."""

    compiling: Seconds  # of the first searches, of two shapes, beyond what they take later
    compiled: Seconds
    plain: Seconds


def run(size: Size) -> list[Row]:
    """Seconds of the search, and of compiling with nothing and with everything on disk."""
    users, rows = USERS[size], []
    case = f"{users} users, {ITEMS} items, {BEAMS} beams, 1 thread"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        for disk in ("nothing on disk", "after another process"):
            found = apart(measure, users)
            rows += [
                BESIDE_PLAIN.row(case, f"search, {disk}", "s", ours=found.compiled.wall, peer=found.plain.wall),
                BESIDE_PLAIN.row(
                    case,
                    f"search, {disk}, of the processor",
                    "s",
                    ours=found.compiled.processor,
                    peer=found.plain.processor,
                ),
                ALONE.row(case, f"compiling, {disk}", "s", ours=found.compiling.wall),
                ALONE.row(case, f"compiling, {disk}, of this process's processor", "s", ours=found.compiling.processor),
            ]
            if (won := (found.plain.processor - found.compiled.processor) / users) > 0:
                rows.append(
                    ALONE.row(
                        case, f"users that earn compiling back, {disk}", "users", ours=found.compiling.processor / won
                    )
                )
    return rows


def measure(users: int) -> Found:
    """Both searches of the same prompts, which find the same lists."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    codes = random_codes(ITEMS, rng)
    trie, settings = CodeTrie.build(codes, np.arange(ITEMS)), SearchSettings(top_k=BEAMS, beams=BEAMS, scores="trie")
    model = make_model()
    compile_decoder(model)
    compiled, plain = (Searcher(one, trie, LEVEL_TOKENS, settings) for one in (model, make_model()))
    prompts = [history_prompts(codes, users + more, HISTORY - more, rng) for more in (0, 3)]
    first, _ = times_of(lambda: [compiled.search(some, None) for some in prompts], repeats=1)
    later, _ = times_of(lambda: [compiled.search(some, None) for some in prompts], repeats=1)
    for some in prompts:
        found, expected = compiled.search(some, None), plain.search(some, None)
        is_same = (found.items == expected.items).mean() >= 0.95
        if not is_same or not np.allclose(found.scores, expected.scores, atol=TOLERANCE):
            sys.exit("the compiled model finds other lists")
    times = in_turn(
        {"ours": lambda: compiled.search(prompts[0], None), "peer": lambda: plain.search(prompts[0], None)}, repeats=7
    )
    compiling = Seconds(first.wall - later.wall, first.processor - later.processor)
    return Found(compiling, times["ours"], times["peer"])


if __name__ == "__main__":
    command(run)
