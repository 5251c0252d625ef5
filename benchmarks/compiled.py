"""Whether ``torch.compile`` pays for the search: the bare prefill of prompts with histories of 20 items, compiled and not.

The prefill is most of a search and its simplest part; the passes of the beams need graphs of their own, one for each shape. So what
compiling wins here is the most that a job can win, and what the first call takes is the least that it pays. ``full`` takes more
users and a graph for changing shapes too.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.rows import Row, Size, Subject, command, in_turn, times_of
from benchmarks.search_case import HISTORY, history_prompts, make_model, random_codes

BESIDE_EAGER = Subject("compiled", "the same not compiled", ["torch", "transformers"])
ALONE = Subject("compiled", "", ["torch", "transformers"])
USERS = {"small": 16, "full": 64}
TOLERANCE = 1e-2  # of states in the tens; float32 sums in another order


def run(size: Size) -> list[Row]:
    """Seconds of the first call and of the fastest one, on one thread."""
    torch.set_num_threads(1)
    rng, users = np.random.default_rng(0), USERS[size]
    prompts = np.stack(history_prompts(random_codes(1_000, rng), users, HISTORY, rng))
    ids, model = torch.from_numpy(prompts), make_model().model
    rows = []
    for is_dynamic in (False, True) if size == "full" else (False,):
        compiled = torch.compile(model, dynamic=is_dynamic)
        first, states = times_of(partial(states_of, compiled, ids), repeats=1)
        if (gap := float((states - states_of(model, ids)).abs().max())) > TOLERANCE:
            sys.exit(f"compiled states differ by {gap}")
        times = in_turn(
            {"compiled": partial(states_of, compiled, ids), "eager": partial(states_of, model, ids)}, repeats=9
        )
        shape = "any shape" if is_dynamic else "one shape"
        case = f"{users} prompts of {prompts.shape[1]} tokens, a graph for {shape}, 1 thread"
        ours, peer = times["compiled"], times["eager"]
        rows += [
            BESIDE_EAGER.row(case, "prefill", "s", ours=ours.wall, peer=peer.wall),
            BESIDE_EAGER.row(case, "prefill, of the processor", "s", ours=ours.processor, peer=peer.processor),
            ALONE.row(case, "the first call, which compiles", "s", ours=first.wall),
            ALONE.row(case, "the first call, of this process's processor", "s", ours=first.processor),
        ]
    return rows


@torch.inference_mode()
def states_of(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Last hidden states ``(B, L, D)`` of one plain pass."""
    states: torch.Tensor = model(input_ids=ids, use_cache=False).last_hidden_state
    return states


if __name__ == "__main__":
    command(run)
