"""The code trie as flat arrays beside a dictionary from every prefix to what may follow, as ``prefix_allowed_tokens_fn`` wants it.

``full`` also builds the trie of 10 million random items in a process of its own, saves it, maps it into memory
and searches it beside a trie of 10,000. Both sizes say what it costs a search to leave items out.
"""

from __future__ import annotations

import cProfile
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.rows import Row, Size, Subject, command, in_turn, peak_memory_bytes, seconds_of, times_of
from benchmarks.search_case import (
    BEAMS,
    CODES,
    HISTORY,
    LEVEL_TOKENS,
    LEVELS,
    history_prompts,
    make_model,
    random_codes,
)
from semconv.search.levels import Normalization
from semconv.search.search import Searcher, SearchSettings
from semconv.search.trie import CodeTrie
from semconv.search.trie_file import open_trie, save_trie
from semconv.search.trie_tensors import Children, TrieTensors

SUBJECT = Subject("trie", "dictionary of prefixes", ["numpy", "torch"])
ALONE = Subject("trie", "", ["numpy", "torch"])
SMALLER = Subject("trie", "the same on 10,000 items", ["numpy", "torch"])
ITEMS = {"small": 20_000, "full": 500_000}
LARGEST = 10_000_000
USERS = 64
Prefixes = dict[tuple[int, ...], list[int]]


def dictionary(codes: NDArray[Any]) -> Prefixes:
    """The peer."""
    following: dict[tuple[int, ...], set[int]] = {}
    for line in codes.tolist():
        for level in range(LEVELS):
            following.setdefault(tuple(line[:level]), set()).add(line[level])
    return {prefix: sorted(after) for prefix, after in following.items()}


def beam_nodes(trie: CodeTrie, rng: np.random.Generator) -> list[tuple[Tensor, list[tuple[int, ...]]]]:
    """Per depth the nodes ``(B, W)`` of as many beams as a batch has, and their prefixes."""
    rows = rng.integers(0, len(trie), USERS * BEAMS)
    below = trie.paths(trie.leaf_of(rows))  # nodes of depth 1 .. N
    lines = np.stack([codes[nodes] for codes, nodes in zip(trie.child_codes, below, strict=True)], axis=1)  # (n, N)
    paths = [np.zeros(len(rows), np.int32), *below[:-1]]
    return [
        (torch.from_numpy(nodes.astype(np.int64)).reshape(USERS, BEAMS), [tuple(line) for line in lines[:, :depth].tolist()])
        for depth, nodes in enumerate(paths)
    ]  # fmt: skip


def bytes_of(build: Callable[[], Any]) -> tuple[int, Any]:
    """Bytes that a structure holds once it stands."""
    tracemalloc.start()
    try:
        built = build()
        return tracemalloc.get_traced_memory()[0], built
    finally:
        tracemalloc.stop()


def run(size: Size) -> list[Row]:
    """Build, hold, and find what may follow the beams of 64 users at all levels; leave items out; grow."""
    rng = np.random.default_rng(0)
    codes = (CODES * rng.beta(0.6, 2.0, (ITEMS[size], LEVELS))).astype(np.uint16)  # some codes are far more frequent
    ours_bytes, trie = bytes_of(lambda: CodeTrie.build(codes, np.arange(len(codes))))
    peer_bytes, prefixes = bytes_of(lambda: dictionary(codes))
    ours_build, _ = seconds_of(lambda: CodeTrie.build(codes, np.arange(len(codes))))
    peer_build, _ = seconds_of(lambda: dictionary(codes), repeats=1)
    beams, tensors = beam_nodes(trie, rng), TrieTensors.of(trie, torch.device("cpu"))
    ours_find, found = seconds_of(lambda: [tensors.children(nodes, depth) for depth, (nodes, _) in enumerate(beams)])
    peer_find, expected = seconds_of(lambda: [peer_children(prefixes, lines) for _, lines in beams])
    for ours, (allowed, _) in zip(found, expected, strict=True):
        if [part.tolist() for part in split(ours)] != allowed:
            raise SystemExit("the two do not find the same children")
    case = f"{len(codes)} items, {LEVELS} levels of {CODES}"
    steps = f"{case}, {USERS} users x {BEAMS} beams"
    rows = [
        SUBJECT.row(case, "build", "s", ours=ours_build, peer=peer_build),
        SUBJECT.row(case, "held", "bytes", ours=float(ours_bytes), peer=float(peer_bytes)),
        SUBJECT.row(steps, "children at every level", "s", ours=ours_find, peer=peer_find),
        *masks(random_codes(10_000, rng), "10,000 items"),
    ]
    if size == "full":
        with ProcessPoolExecutor(1, get_context("spawn")) as processes:
            rows += processes.submit(growth).result()
    return rows


def masks(codes: NDArray[Any], name: str) -> list[Row]:
    """What of a search's processor time goes into leaving items out; a profile, because two searches differ by more than that."""
    rng = np.random.default_rng(1)
    trie = CodeTrie.build(codes, np.arange(len(codes)))
    closed = trie.restrict(rng.random(len(codes)) < 0.5)
    prompts = history_prompts(codes, USERS, HISTORY, rng)
    seen = [rng.integers(0, len(codes), HISTORY) for _ in prompts]
    half = [rng.choice(len(codes), len(codes) // 2, replace=False) for _ in prompts]
    rows = []
    for scores in ("trie", "full"):
        for case, of, taken in (
            (f"{HISTORY} seen items a user", trie, seen),
            ("a deny list of half the catalogue for all", closed, None),
            ("both", closed, seen),
            ("a deny list of half the catalogue for each user", trie, half),
        ):
            share = spent(partial(_searcher(of, scores).search, prompts, taken), ("of", "close", "may_enter"))
            where = f"{name}, {USERS} users, scores = {scores}, {case}"
            rows.append(ALONE.row(where, "time that leaving items out takes", "share of the search", ours=share))
    return rows


def spent(search: Callable[[], Any], functions: tuple[str, ...], repeats: int = 5) -> float:
    """Share of a search that goes into some functions of ``semconv.search``."""
    search()
    profile = cProfile.Profile(time.process_time)
    profile.enable()
    for _ in range(repeats):
        search()
    profile.disable()
    profile.create_stats()
    seconds = {(file, name): stats[3] for (file, _, name), stats in profile.stats.items()}  # type: ignore[attr-defined]
    inside = {name: value for (file, name), value in seconds.items() if "semconv/search/" in file}
    return sum(inside.get(name, 0.0) for name in functions) / inside["search"]


def growth() -> list[Row]:
    """10 million random items: build, save, open, search."""
    rng = np.random.default_rng(2)
    codes = rng.integers(0, CODES, (LARGEST, LEVELS)).astype(np.uint16)
    build, trie = times_of(partial(CodeTrie.build, codes, np.arange(LARGEST)), repeats=1)
    case = f"{LARGEST:,} random items, {LEVELS} levels of {CODES}"
    rows = [
        ALONE.row(case, "build", "s", ours=build.wall),
        ALONE.row(case, "build, of the processor", "s", ours=build.processor),
        ALONE.row(case, "peak memory of codes and build", "bytes", ours=float(peak_memory_bytes())),
    ]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trie.safetensors"
        save_trie(file, trie)
        opening, opened = times_of(lambda: open_trie(file), repeats=1)
        rows += [
            ALONE.row(case, "on disk, of an item", "bytes", ours=file.stat().st_size / LARGEST),
            ALONE.row(case, "open", "s", ours=opening.wall),
        ]
        sample = codes[rng.integers(0, LARGEST, 10_000)]
        del codes, trie
        for scores in ("trie", "full"):
            rows += _grown_search(case, opened, random_codes(10_000, rng), sample, scores)
    return rows


def _grown_search(
    case: str, large: CodeTrie, few: NDArray[Any], many: NDArray[Any], scores: Normalization
) -> list[Row]:
    rng = np.random.default_rng(3)
    small = CodeTrie.build(few, np.arange(len(few)))
    calls = {}
    for name, trie, codes in (("small", small, few), ("large", large, many)):
        prompts = history_prompts(codes, USERS, HISTORY, rng)
        seen = [rng.integers(0, len(trie), HISTORY) for _ in prompts]
        calls[name] = partial(_searcher(trie, scores).search, prompts, seen)
    times = in_turn(calls, repeats=7)
    where = f"{case}, {USERS} users, scores = {scores}"
    return [
        SMALLER.row(where, "search", "s", ours=times["large"].wall, peer=times["small"].wall),
        SMALLER.row(
            where, "search, of the processor", "s", ours=times["large"].processor, peer=times["small"].processor
        ),
    ]


def _searcher(trie: CodeTrie, scores: Any) -> Searcher:
    return Searcher(make_model(), trie, LEVEL_TOKENS, SearchSettings(top_k=BEAMS, beams=BEAMS, scores=scores))


def peer_children(prefixes: Prefixes, lines: list[tuple[int, ...]]) -> tuple[list[list[int]], Tensor]:
    """Codes after each prefix, and the mask over the level's codes that a step needs of them."""
    allowed = [prefixes[line] for line in lines]
    mask = torch.zeros((len(lines), CODES), dtype=torch.bool)
    for row, after in enumerate(allowed):
        mask[row, after] = True
    return allowed, mask


def split(children: Children) -> tuple[Tensor, ...]:
    """Codes of each beam's children."""
    return children.codes[children.exists].split(children.exists.sum(dim=2).flatten().tolist())


if __name__ == "__main__":
    command(run)
