"""The code trie in flat arrays beside a dictionary from each prefix to the codes that may follow.

transformers' ``prefix_allowed_tokens_fn`` needs such a dictionary. Both sizes also measure the time that a search spends
on leaving items out. The size `full` also builds the trie of 10 million random items in its own process, saves it, maps
it into memory and searches it, beside a trie of 10,000 items.
"""

from __future__ import annotations

import cProfile
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.rows import Comparison, Row, Size, command
from benchmarks.search.case import (
    BEAMS,
    CODES,
    HISTORY,
    LEVELS,
    Prefixes,
    history_prompts,
    make_model,
    make_searcher,
    prefix_dictionary,
    random_codes,
)
from benchmarks.timing import in_own_process, peak_memory_bytes, timed, timed_in_turn
from semconv.search.code_scores import Normalization
from semconv.search.trie import CodeTrie
from semconv.search.trie_file import open_trie, save_trie
from semconv.search.trie_tensors import Children, TrieTensors

DICTIONARY = Comparison("trie", "dictionary of prefixes", ["numpy", "torch"])
ALONE = Comparison("trie", "", ["numpy", "torch"])
SMALLER = Comparison("trie", "the same on 10,000 items", ["numpy", "torch"])
ITEMS = {"small": 20_000, "full": 500_000}
LARGEST = 10_000_000
USERS = 64
LEAVING_OUT = ("of", "close", "may_enter")  # functions of semconv.search that leave items out


def beam_nodes(trie: CodeTrie, rng: np.random.Generator) -> list[tuple[Tensor, list[tuple[int, ...]]]]:
    """Draw beams of a batch, and return their nodes ``(B, W)`` and prefixes for each depth."""
    rows = rng.integers(0, len(trie), USERS * BEAMS)
    below = trie.paths(trie.leaf_of(rows))  # nodes of depth 1 .. N
    lines = np.stack([codes[nodes] for codes, nodes in zip(trie.child_codes, below, strict=True)], axis=1)  # (n, N)
    paths = [np.zeros(len(rows), np.int32), *below[:-1]]
    return [
        (torch.from_numpy(nodes.astype(np.int64)).reshape(USERS, BEAMS), [tuple(line) for line in lines[:, :depth].tolist()])
        for depth, nodes in enumerate(paths)
    ]  # fmt: skip


def bytes_of(build: Callable[[], Any]) -> tuple[int, Any]:
    """Build a structure, and return the bytes that it holds."""
    tracemalloc.start()
    try:
        built = build()
        return tracemalloc.get_traced_memory()[0], built
    finally:
        tracemalloc.stop()


def run(size: Size) -> list[Row]:
    """Measure building, memory and the lookup of children for the beams of 64 users; leaving items out; growth."""
    rng = np.random.default_rng(0)
    codes = (CODES * rng.beta(0.6, 2.0, (ITEMS[size], LEVELS))).astype(np.uint16)  # some codes are far more frequent
    ours_bytes, trie = bytes_of(lambda: CodeTrie.build(codes, np.arange(len(codes))))
    peer_bytes, prefixes = bytes_of(lambda: prefix_dictionary(codes))
    ours_build, _ = timed(lambda: CodeTrie.build(codes, np.arange(len(codes))))
    peer_build, _ = timed(lambda: prefix_dictionary(codes), repeats=1)
    beams, tensors = beam_nodes(trie, rng), TrieTensors.of(trie, torch.device("cpu"))
    ours_find, found = timed(lambda: [tensors.children(nodes, depth) for depth, (nodes, _) in enumerate(beams)])
    peer_find, expected = timed(lambda: [peer_children(prefixes, lines) for _, lines in beams])
    for ours, (allowed, _) in zip(found, expected, strict=True):
        if [part.tolist() for part in split(ours)] != allowed:
            raise SystemExit("the two sides find different children")
    case = f"{len(codes)} items, {LEVELS} levels of {CODES}"
    steps = f"{case}, {USERS} users x {BEAMS} beams"
    rows = [
        DICTIONARY.row(case, "build", "s", ours=ours_build.wall, peer=peer_build.wall),
        DICTIONARY.row(case, "held", "bytes", ours=float(ours_bytes), peer=float(peer_bytes)),
        DICTIONARY.row(steps, "children at every level", "s", ours=ours_find.wall, peer=peer_find.wall),
        *masks(random_codes(10_000, rng), "10,000 items"),
    ]
    if size == "full":
        rows += in_own_process(growth)
    return rows


def masks(codes: NDArray[Any], name: str) -> list[Row]:
    """Measure the share of a search's processor time that leaving items out takes.

    A profile measures it, because the times of two searches differ by more than that.
    """
    rng = np.random.default_rng(1)
    trie = CodeTrie.build(codes, np.arange(len(codes)))
    closed = trie.restrict(rng.random(len(codes)) < 0.5)
    prompts = history_prompts(codes, USERS, HISTORY, rng)
    seen = [rng.integers(0, len(codes), HISTORY) for _ in prompts]
    half = [rng.choice(len(codes), len(codes) // 2, replace=False) for _ in prompts]
    rows = []
    modes: tuple[Normalization, ...] = ("trie", "full")
    for scores in modes:
        for case, of, taken in (
            (f"{HISTORY} seen items a user", trie, seen),
            ("a deny list of half the catalogue for all", closed, None),
            ("both", closed, seen),
            ("a deny list of half the catalogue for each user", trie, half),
        ):
            share = share_of_leaving_out(partial(make_searcher(make_model(), of, scores).search, prompts, taken))
            where = f"{name}, {USERS} users, scores = {scores}, {case}"
            rows.append(ALONE.row(where, "time that leaving items out takes", "share of the search", ours=share))
    return rows


def share_of_leaving_out(search: Callable[[], Any], repeats: int = 5) -> float:
    """Return the share of a search that the functions ``LEAVING_OUT`` take."""
    search()
    profile = cProfile.Profile(time.process_time)
    profile.enable()
    for _ in range(repeats):
        search()
    profile.disable()
    profile.create_stats()
    seconds = {(file, name): stats[3] for (file, _, name), stats in profile.stats.items()}  # type: ignore[attr-defined]
    inside = {name: value for (file, name), value in seconds.items() if "semconv/search/" in file}
    return sum(inside.get(name, 0.0) for name in LEAVING_OUT) / inside["search"]


def growth() -> list[Row]:
    """Build, save, open and search the trie of 10 million random items."""
    rng = np.random.default_rng(2)
    codes = rng.integers(0, CODES, (LARGEST, LEVELS)).astype(np.uint16)
    build, trie = timed(partial(CodeTrie.build, codes, np.arange(LARGEST)), repeats=1)
    case = f"{LARGEST:,} random items, {LEVELS} levels of {CODES}"
    rows = [
        *ALONE.seconds(case, "build", build),
        ALONE.row(case, "peak memory of codes and build", "bytes", ours=float(peak_memory_bytes())),
    ]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trie.safetensors"
        save_trie(file, trie)
        opening, opened = timed(lambda: open_trie(file), repeats=1)
        rows += [
            ALONE.row(case, "on disk, of an item", "bytes", ours=file.stat().st_size / LARGEST),
            ALONE.row(case, "open", "s", ours=opening.wall),
        ]
        sample = codes[rng.integers(0, LARGEST, 10_000)]
        del codes, trie
        modes: tuple[Normalization, ...] = ("trie", "full")
        for scores in modes:
            rows += beside_smaller(case, opened, random_codes(10_000, rng), sample, scores)
    return rows


def beside_smaller(
    case: str, large: CodeTrie, few: NDArray[Any], many: NDArray[Any], scores: Normalization
) -> list[Row]:
    """Measure the search over a large trie beside the search over the trie of ``few`` codes."""
    rng = np.random.default_rng(3)
    small = CodeTrie.build(few, np.arange(len(few)))
    calls = {}
    for name, trie, codes in (("small", small, few), ("large", large, many)):
        prompts = history_prompts(codes, USERS, HISTORY, rng)
        seen = [rng.integers(0, len(trie), HISTORY) for _ in prompts]
        calls[name] = partial(make_searcher(make_model(), trie, scores).search, prompts, seen)
    times = timed_in_turn(calls, repeats=7)
    return SMALLER.seconds(f"{case}, {USERS} users, scores = {scores}", "search", times["large"], times["small"])


def peer_children(prefixes: Prefixes, lines: list[tuple[int, ...]]) -> tuple[list[list[int]], Tensor]:
    """Return the codes after each prefix, and the mask over the level's codes that a search step needs."""
    allowed = [prefixes[line] for line in lines]
    mask = torch.zeros((len(lines), CODES), dtype=torch.bool)
    for row, after in enumerate(allowed):
        mask[row, after] = True
    return allowed, mask


def split(children: Children) -> tuple[Tensor, ...]:
    """Return the codes of each beam's children."""
    return children.codes[children.exists].split(children.exists.sum(dim=2).flatten().tolist())


if __name__ == "__main__":
    command(run, __doc__)
