"""The token rows of an epoch, described as trees in flat arrays.

A tree is a trunk (head and history) with branches. A branch is the tail of a prompt. A branch has ``tail`` tokens,
which attend to the first ``visible`` tokens of the trunk. Each label of a branch has N tokens, which attend to the
whole prompt. Samples with text have no trunk: one row contains several of them, and they do not attend to each other.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from semconv.ragged import Ints, lengths_of, offsets_of
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.history_tasks import HISTORY_TASKS, SEQUENTIAL
from semconv.tasks.plan import HistoryPlan, TextPlan


@dataclass(frozen=True)
class Trees:
    """R trees, one for each token row, with B branches and A labels in total."""

    head: Ints  # (R,) index into HISTORY_HEADS, -1 without a trunk
    start: Ints  # (R,) first row of the history in TaskData.items
    trunk: Ints  # (R,) tokens of head and history
    branches: Ints  # (R,) number of branches of each tree
    visible: Ints  # (B,) number of trunk tokens to which each branch attends
    tail_start: Ints  # (B,) start of the branch's tokens in ``tails``
    tail: Ints  # (B,) tokens of the branch, without its labels
    labels: Ints  # (B,) number of labels of each branch
    task: Ints  # (B,) index into TASK_NAMES
    answers: NDArray[np.int32]  # (A,) item_index
    tails: Ints  # tokens of all tails
    weights: NDArray[np.float64] | None = None  # (A,) weight of the loss of each label; None: all weigh 1

    def __len__(self) -> int:
        return len(self.head)

    @property
    def label_weights(self) -> NDArray[np.float64]:
        """Weight of the loss of each label, ``(A,)``."""
        return np.ones(len(self.answers)) if self.weights is None else self.weights

    def joined(self, other: Trees) -> Trees:
        """Return these trees followed by the trees of ``other``."""
        parts = {
            field.name: np.concatenate([getattr(self, field.name), getattr(other, field.name)])
            for field in fields(self)
            if field.name != "weights"
        }
        if self.weights is not None or other.weights is not None:
            parts["weights"] = np.concatenate([self.label_weights, other.label_weights])
        parts["tail_start"][len(self.tail_start) :] += len(self.tails)
        return Trees(**parts)


def history_trees(encoder: PromptEncoder, plan: HistoryPlan, max_prompt_tokens: int) -> tuple[Trees, int]:
    """Build one tree for each history with a short enough prompt, and count the samples whose prompts are too long.

    The trunk ends with the last item that a prompt contains.
    """
    pool = [
        encoder.tail(task.name, number, wait)
        for wait in range(encoder.num_waits)
        for task in HISTORY_TASKS
        for number in range(len(task.tails))
    ]
    pool_lengths = lengths_of(pool)
    first_tails = offsets_of([len(task.tails) for task in HISTORY_TASKS])  # (T + 1,) index in the pool
    waits = 0 if plan.waits is None else plan.waits[:, None] * first_tails[-1]
    head_lengths = lengths_of(encoder.heads)
    visible = np.repeat(head_lengths[plan.head], np.diff(plan.offsets))
    visible += plan.position * encoder.separated_tokens.shape[1] - len(encoder.separator)  # (P,)
    is_asked = plan.tails >= 0  # (P, T)
    tails = np.where(is_asked, plan.tails + first_tails[:-1] + waits, 0)  # (P, T) index in the pool
    labels = np.stack([(answers >= 0).sum(axis=1) for answers in plan.answers], axis=1)  # (P, T)
    is_long = is_asked & (visible[:, None] + pool_lengths[tails] > max_prompt_tokens)
    keep = is_asked & ~is_long  # (P, T)
    kept = offsets_of(keep.sum(axis=1))[plan.offsets]  # (H + 1,) branches before each history
    branches = np.diff(kept)
    has_any = branches > 0
    is_answer = [(answers >= 0) & keep[:, [task]] for task, answers in enumerate(plan.answers)]
    is_chosen = np.concatenate(is_answer, axis=1)  # (P, k of all tasks)
    shown = np.broadcast_to(visible[:, None], keep.shape)[keep]  # (B,)
    trees = Trees(
        head=plan.head[has_any],
        start=plan.start[has_any],
        trunk=shown[kept[1:][has_any] - 1],  # the last prompt has the longest history
        branches=branches[has_any],
        visible=shown,
        tail_start=offsets_of(pool_lengths)[tails[keep]],
        tail=pool_lengths[tails[keep]],
        labels=labels[keep],
        task=np.nonzero(keep)[1],  # the prompts of a position are in the order of the tasks
        answers=np.concatenate(plan.answers, axis=1)[is_chosen],
        tails=np.concatenate(pool),
        weights=None if plan.weights is None else _label_weights(plan, plan.weights)[is_chosen],
    )
    return trees, int(labels[is_long].sum())


def _label_weights(plan: HistoryPlan, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weight of each label, ``(P, k of all tasks)``: of the next item its own weight, of a negative item 1."""
    columns = [
        np.broadcast_to(weights[:, None] if task is SEQUENTIAL else 1.0, answers.shape)
        for task, answers in zip(HISTORY_TASKS, plan.answers, strict=True)
    ]
    return np.concatenate(columns, axis=1)


def packed_trees(tokens: Ints, lengths: Ints, plan: TextPlan, label_tokens: int, row_tokens: int) -> Trees:
    """Pack samples, in their order, into rows of at most ``row_tokens`` tokens. A longer sample has a row to itself.

    Args:
        tokens: ``(T,)`` tokens of all prompts, one after the other.
        lengths: ``(n,)`` number of tokens of each prompt.
        plan: the n samples.
        label_tokens: number of tokens of a label.
    """
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
        task=len(HISTORY_TASKS) + plan.task,
        answers=plan.item,
        tails=tokens,
    )
