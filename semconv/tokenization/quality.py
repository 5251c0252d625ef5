"""Figures of fitted or external codes: use of the codes, collisions, and similarity of items that share codes.

Similarity is measured on three samples of item pairs. Pairs of the first sample share their first codes. Pairs of the
second sample share their first codes after all codes were shuffled over the items. The third sample has random pairs.
The second sample shows how similar items are in random groups of the same sizes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from semconv.ragged import offsets_of
from semconv.tokenization.collisions import colliding
from semconv.tokenization.kmeans import Codes, Floats, squared_norms, sums_by_code

PREFIX = 2  # number of first codes that both items of a pair share
_PAIRS = 20_000
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Features:
    """A set of words for every item, such as the words of its title, its brand or its categories."""

    matrix: sp.csr_array  # (M, W) 1 where item i has word w

    @classmethod
    def of_sets(cls, sets: Iterable[Iterable[str]]) -> Features:
        """Build features from one set of strings for each item. An empty set means that the words are unknown."""
        known: dict[str, int] = {}
        columns, starts = [], [0]
        for words in sets:
            columns += sorted(known.setdefault(word, len(known)) for word in set(words))
            starts.append(len(columns))
        shape = (len(starts) - 1, max(1, len(known)))
        return cls(sp.csr_array((np.ones(len(columns), np.float32), columns, starts), shape=shape))

    @classmethod
    def of_titles(cls, titles: Iterable[str | None]) -> Features:
        """Build features from titles: the lower-case words of at least two characters of each title."""
        return cls.of_sets((word for word in _WORD.findall((title or "").lower()) if len(word) > 1) for title in titles)

    def overlap(self, pairs: NDArray[np.int64]) -> float | None:
        """Return the mean Jaccard similarity of the word sets of pairs ``(P, 2)``, ignoring pairs with an empty set."""
        sizes = np.diff(self.matrix.indptr)
        pairs = pairs[(sizes[pairs] > 0).all(axis=1)]
        if len(pairs) == 0:
            return None
        common = np.asarray(self.matrix[pairs[:, 0]].multiply(self.matrix[pairs[:, 1]]).sum(axis=1)).ravel()
        return float((common / (sizes[pairs].sum(axis=1) - common)).mean())


def agreement(codes: Codes, features: Features, seed: int = 0) -> dict[str, float | None]:
    """Return the mean overlap of pairs with equal first codes, of pairs with equal shuffled codes, and of random pairs.

    Args:
        codes: ``(M, N)``, in the row order of ``features``. With one level, pairs share one code.
    Returns:
        ``within``, ``shuffled`` and ``random``; a value is None if no pair can be drawn.
    """
    rng = np.random.default_rng(seed)
    shuffled = shuffled_codes(codes, seed)
    return {
        "within": features.overlap(pairs_within(codes[:, :PREFIX], rng)),
        "shuffled": features.overlap(pairs_within(shuffled[:, :PREFIX], rng)),
        "random": features.overlap(_random_pairs(len(codes), rng)),
    }


def pairs_within(prefix: Codes, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw pairs of different rows with equal ``prefix``, ``(P, 2)``: first any row, then another with its prefix."""
    _, group, counts = np.unique(prefix, axis=0, return_inverse=True, return_counts=True)
    group = group.ravel()
    order = np.argsort(group, kind="stable")
    starts = offsets_of(counts)[:-1]
    position = np.empty(len(order), dtype=np.int64)  # position of each row in its group
    position[order] = np.arange(len(order)) - starts[group[order]]
    candidates = np.flatnonzero(counts[group] > 1)
    if len(candidates) == 0:
        return np.zeros((0, 2), dtype=np.int64)
    first = candidates[rng.integers(len(candidates), size=_PAIRS)]
    size = counts[group[first]]
    step = 1 + (rng.random(_PAIRS) * (size - 1)).astype(np.int64)
    second = order[starts[group[first]] + (position[first] + step) % size]
    return np.stack([first, second], axis=1)


def _random_pairs(rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if rows < 2:
        return np.zeros((0, 2), dtype=np.int64)
    first = rng.integers(rows, size=_PAIRS)
    return np.stack([first, (first + 1 + rng.integers(rows - 1, size=_PAIRS)) % rows], axis=1)


def level_figures(codes: Codes, num_codes: int) -> list[dict[str, Any]]:
    """Measure how evenly the items use the codes of each level.

    Returns:
        a dictionary for each level: ``level`` (from 0), ``entropy_bits``, ``effective_codes`` (2^entropy: the number of
        equally used codes with this entropy), ``dead_codes``, ``largest_share`` (share of items with the most
        frequent code), ``counts`` (number of items of each code, descending).
    """
    figures = []
    for n, level in enumerate(codes.T):
        counts = np.bincount(level, minlength=num_codes)
        share = counts[counts > 0] / counts.sum()
        entropy = float(-(share * np.log2(share)).sum())
        figures.append(
            {
                "level": n,
                "entropy_bits": entropy,
                "effective_codes": 2.0**entropy,
                "dead_codes": int((counts == 0).sum()),
                "largest_share": float(share.max()),
                "counts": np.sort(counts)[::-1].tolist(),
            }
        )
    return figures


def prefix_collisions(codes: Codes) -> list[dict[str, float]]:
    """Return the share of items that share their first n codes with another item, for each n from 1 to N."""
    return [{"levels": n, "share_after": float(colliding(codes[:, :n]).mean())} for n in range(1, codes.shape[1] + 1)]


def variance_within(codes: Codes, vectors: Floats) -> list[float]:
    """Return the share of the vectors' variance inside groups with equal first n codes, for each n from 1 to N.

    Args:
        codes: ``(M, N)``.
        vectors: ``(M, D)`` of the same items.
    """
    total = float(squared_norms(vectors - vectors.mean(axis=0)).sum(dtype=np.float64))
    shares = []
    for n in range(1, codes.shape[1] + 1):
        _, group, counts = np.unique(codes[:, :n], axis=0, return_inverse=True, return_counts=True)
        means = sums_by_code(vectors, group.ravel(), len(counts)) / counts[:, None]
        rest = vectors - means[group.ravel()].astype(np.float32)
        shares.append(float(squared_norms(rest).sum(dtype=np.float64)) / total if total > 0 else 0.0)
    return shares


def shuffled_codes(codes: Codes, seed: int = 0) -> Codes:
    """Shuffle the code sequences ``(M, N)`` over the items. Groups of equal codes keep their sizes, not their items."""
    return codes[np.random.default_rng(seed).permutation(len(codes))]


def code_tree(
    codes: Codes, titles: Sequence[str | None], popularity: NDArray[np.int64], branches: int = 24, leaves: int = 6
) -> list[dict[str, Any]]:
    """Return a tree of the most frequent first codes and, below each of them, its most frequent second codes.

    Returns:
        a dictionary for each first code: ``code``, ``items``, ``titles`` (of the most popular items), ``children`` (the
        same for the second codes).
    """
    return _children(np.arange(len(codes)), codes, 0, (branches, leaves), titles, popularity)


def _children(
    rows: NDArray[np.int64],
    codes: Codes,
    level: int,
    limits: tuple[int, ...],
    titles: Sequence[str | None],
    popularity: NDArray[np.int64],
) -> list[dict[str, Any]]:
    if level >= min(len(limits), codes.shape[1]):
        return []
    values, counts = np.unique(codes[rows, level], return_counts=True)
    nodes = []
    for n in np.argsort(-counts, kind="stable")[: limits[level]]:
        mine = rows[codes[rows, level] == values[n]]
        best = mine[np.argsort(-popularity[mine], kind="stable")]
        nodes.append(
            {
                "code": int(values[n]),
                "items": int(counts[n]),
                "titles": [title for row in best[:50] if (title := titles[row])][:3],
                "children": _children(mine, codes, level + 1, limits, titles, popularity),
            }
        )
    return nodes
