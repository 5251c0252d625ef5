"""An epoch's rows as trees in flat arrays: what is shared, and the branches that hang on it.

A tree is a trunk (head and history) with branches; a branch is a question of ``tail`` tokens that sees the first
``visible`` tokens of the trunk, with answers of N tokens each that see the question. Samples with text have no trunk:
several of them share a row and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from semconv.ragged import lengths_of, offsets_of
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.plan import HistoryPlan

TASKS = ("sequential", "negative", "text", "query")  # what samples are counted by
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Trees:
    """R trees with B branches and A answers in all."""

    head: Ints  # (R,) which head, -1 without a trunk
    start: Ints  # (R,) first row of the history in TaskData.items
    trunk: Ints  # (R,) tokens of head and history
    branches: Ints  # (R,) branches of each tree
    visible: Ints  # (B,) trunk tokens that a question sees
    tail_start: Ints  # (B,) where its tokens begin in ``tails``
    tail: Ints  # (B,) tokens of the question
    labels: Ints  # (B,) answers
    task: Ints  # (B,) place in TASKS
    answers: NDArray[np.int32]  # (A,) item_index
    tails: Ints  # tokens of all questions

    def __len__(self) -> int:
        return len(self.head)

    def joined(self, other: Trees) -> Trees:
        """These trees and then the others."""
        parts = {
            field.name: np.concatenate([getattr(self, field.name), getattr(other, field.name)])
            for field in fields(self)
        }
        parts["tail_start"][len(self.tail_start) :] += len(self.tails)
        return Trees(**parts)


def history_trees(
    encoder: PromptEncoder, items: NDArray[np.int32], plan: HistoryPlan, max_prompt_tokens: int
) -> tuple[Trees, int]:
    """One tree a shared history, without those of which every prompt is too long; and how many samples are too long.

    Items that no question sees are not part of the trunk.
    """
    pool = [*encoder.sequential_tails, *encoder.negative_tails]
    pool_lengths = lengths_of(pool)
    head_lengths = lengths_of(encoder.heads)
    per_history = np.diff(plan.offsets)
    visible = np.repeat(head_lengths[plan.head], per_history) + plan.place * encoder.steps.shape[1]
    visible -= len(encoder.separator)  # (P,)
    shift = np.where(plan.negative_tail < 0, 0, len(encoder.sequential_tails))
    which = np.stack([plan.sequential_tail, plan.negative_tail + shift], axis=1)  # (P, 2) into the pool
    labels = np.stack([np.ones(len(visible), np.int64), (plan.negatives >= 0).sum(axis=1)], axis=1)  # (P, 2)
    is_asked = which >= 0
    is_long = is_asked & (visible[:, None] + pool_lengths[which] > max_prompt_tokens)
    keep = is_asked & ~is_long  # (P, 2)
    kept = offsets_of(keep.sum(axis=1))[plan.offsets]  # (H + 1,) branches before each history
    branches = np.diff(kept)
    has_any = branches > 0
    nexts = items[np.repeat(plan.start, per_history) + plan.place]
    found = np.concatenate([nexts[:, None], plan.negatives], axis=1)  # (P, 1 + k)
    taken = np.concatenate([keep[:, :1], keep[:, 1:] & (plan.negatives >= 0)], axis=1)
    shown = np.repeat(visible[:, None], 2, axis=1)[keep]  # (B,)
    trees = Trees(
        head=plan.head[has_any],
        start=plan.start[has_any],
        trunk=shown[kept[1:][has_any] - 1],  # that of the last question is the longest
        branches=branches[has_any],
        visible=shown,
        tail_start=offsets_of(pool_lengths)[which[keep]],
        tail=pool_lengths[which[keep]],
        labels=labels[keep],
        task=np.nonzero(keep)[1],  # a place asks the sequential question first
        answers=found[taken],
        tails=np.concatenate(pool),
    )
    return trees, int(labels[is_long].sum())


@dataclass(frozen=True)
class TextSamples:
    """Whole prompts of one answer each, one after the other."""

    tokens: Ints  # (T,) of all prompts
    lengths: Ints  # (n,) tokens of each prompt
    answers: NDArray[np.int32]  # (n,) item_index
    tasks: Ints  # (n,) place in TASKS


def packed_trees(samples: TextSamples, label_tokens: int, row_tokens: int) -> Trees:
    """As many samples to a row as fit into ``row_tokens`` in their order; one that is longer has a row for itself."""
    lengths = samples.lengths
    branches, used = [], row_tokens
    for size in (lengths + label_tokens).tolist():
        if used + size > row_tokens:
            branches.append(0)
            used = 0
        branches[-1] += 1
        used += size
    none, nothing = np.full(len(branches), -1, dtype=np.int64), np.zeros(len(branches), dtype=np.int64)
    return Trees(
        head=none,
        start=nothing,
        trunk=nothing,
        branches=np.array(branches, dtype=np.int64),
        visible=np.zeros(len(lengths), dtype=np.int64),
        tail_start=offsets_of(lengths)[:-1],
        tail=lengths,
        labels=np.ones(len(lengths), dtype=np.int64),
        task=samples.tasks,
        answers=samples.answers,
        tails=samples.tokens,
    )
