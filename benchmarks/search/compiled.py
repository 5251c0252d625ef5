"""The search with a compiled model beside the same search with the plain model: does ``recommend.compile`` pay?

Prompts are histories of 20 items as the built-in backbone reads them, on one thread. The first searches compile the model.
A second process uses what the first one left on disk. Compiling seconds, divided by the seconds saved for each user, give
the number of users from which a job becomes shorter.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.rows import Comparison, Row, Size, command
from benchmarks.search.case import BEAMS, HISTORY, history_prompts, make_model, make_searcher, random_codes
from benchmarks.timing import Seconds, in_own_process, timed, timed_in_turn
from semconv.backbone.forward import compile_decoder
from semconv.search.trie import CodeTrie

PLAIN = Comparison("compiled", "the same not compiled", ["torch", "transformers"])
ALONE = Comparison("compiled", "", ["torch", "transformers"])
USERS = {"small": 16, "full": 64}
ITEMS = 10_000
TOLERANCE = 1e-3  # of scores, as compiled code sums in another order


@dataclass(frozen=True)
class Measured:
    """Times of one process."""

    compiling: Seconds  # extra time of the first searches, for two shapes of prompts
    compiled: Seconds
    plain: Seconds


def run(size: Size) -> list[Row]:
    """Measure the search and the compiling, first without and then with compiled code on disk."""
    users, rows = USERS[size], []
    case = f"{users} users, {ITEMS} items, {BEAMS} beams, 1 thread"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        for disk in ("nothing on disk", "after another process"):
            measured = in_own_process(measure, users)
            compiling = measured.compiling
            rows += [
                *PLAIN.seconds(case, f"search, {disk}", measured.compiled, measured.plain),
                ALONE.row(case, f"compiling, {disk}", "s", ours=compiling.wall),
                ALONE.row(case, f"compiling, {disk}, of this process's processor", "s", ours=compiling.processor),
            ]
            if (saved := (measured.plain.processor - measured.compiled.processor) / users) > 0:
                metric = f"users that earn compiling back, {disk}"
                rows.append(ALONE.row(case, metric, "users", ours=compiling.processor / saved))
    return rows


def measure(users: int) -> Measured:
    """Check that both searches find the same lists for the same prompts, and measure them."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    codes = random_codes(ITEMS, rng)
    trie, model = CodeTrie.build(codes, np.arange(ITEMS)), make_model()
    compile_decoder(model)
    compiled, plain = (make_searcher(one, trie, "trie") for one in (model, make_model()))
    prompts = [history_prompts(codes, users + more, HISTORY - more, rng) for more in (0, 3)]
    first, _ = timed(lambda: [compiled.search(some, None) for some in prompts], repeats=1)
    later, _ = timed(lambda: [compiled.search(some, None) for some in prompts], repeats=1)
    for some in prompts:
        (items, scores), (others, expected) = compiled.search(some, None), plain.search(some, None)
        if (items == others).mean() < 0.95 or not np.allclose(scores, expected, atol=TOLERANCE):
            sys.exit("the compiled model finds other lists")
    times = timed_in_turn(
        {"compiled": lambda: compiled.search(prompts[0], None), "plain": lambda: plain.search(prompts[0], None)},
        repeats=7,
    )
    compiling = Seconds(first.wall - later.wall, first.processor - later.processor)
    return Measured(compiling, times["compiled"], times["plain"])


if __name__ == "__main__":
    command(run, __doc__)
