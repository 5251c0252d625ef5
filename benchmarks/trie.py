"""The code trie as flat arrays beside a dictionary from every prefix to what may follow, as ``prefix_allowed_tokens_fn`` wants it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.rows import Row, Size, Subject, command, seconds_of
from semconv.inference.trie import CodeTrie
from semconv.inference.trie_tensors import Children, TrieTensors

SUBJECT = Subject("trie", "dictionary of prefixes", ["numpy", "torch"])
ITEMS = {"small": 20_000, "full": 500_000}
LEVELS, CODES, USERS, BEAMS = 4, 256, 64, 20
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
    leaves = trie.leaf_of_row()[rows]
    result = []
    for depth in range(LEVELS):
        nodes = np.searchsorted(trie.leaf_offsets[depth], leaves, side="right") - 1
        prefixes = [tuple(line) for line in trie.row_codes[rows, :depth].tolist()]
        result.append((torch.from_numpy(nodes).reshape(USERS, BEAMS), prefixes))
    return result


def bytes_of(build: Callable[[], Any]) -> tuple[int, Any]:
    """Bytes that a structure holds once it stands."""
    tracemalloc.start()
    try:
        built = build()
        return tracemalloc.get_traced_memory()[0], built
    finally:
        tracemalloc.stop()


def run(size: Size) -> list[Row]:
    """Build, hold, and find what may follow the beams of 64 users at all levels."""
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
    return [
        SUBJECT.row(case, "build", "s", ours=ours_build, peer=peer_build),
        SUBJECT.row(case, "held", "bytes", ours=float(ours_bytes), peer=float(peer_bytes)),
        SUBJECT.row(steps, "children at every level", "s", ours=ours_find, peer=peer_find),
    ]


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
