"""Rank items by a trained peer: the exact rank of each held-out item, and the best items of each user."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from semconv.evaluation.vector_ranking import best_columns
from semconv.peers.data import RankingTask, right_aligned
from semconv.peers.network import PeerNetwork

_ROWS_AT_ONCE = 256


def exact_ranks(model: PeerNetwork, task: RankingTask) -> NDArray[np.int64]:
    """Return the rank of every target among all items that its user's list may have, ``(n,)``.

    Ranks count from 1; 0 means that the target is not among these items. Equal scores are in the order of item_index.
    """
    ranks = np.zeros(len(task), dtype=np.int64)
    earlier = torch.arange(len(task.allowed))
    for rows, scores in masked_scores(model, task):
        wanted = torch.from_numpy(task.targets[rows]).long()[:, None]
        own = scores.gather(1, wanted)  # (rows, 1)
        better = (scores > own).sum(dim=1) + ((scores == own) & (earlier < wanted)).sum(dim=1)
        ranks[rows] = np.where(torch.isinf(own)[:, 0].numpy(), 0, better.numpy() + 1)
    return ranks


def best_items(model: PeerNetwork, task: RankingTask, k: int) -> NDArray[np.int32]:
    """Return the k items with the highest scores for each user, ``(n, k)``, -1 where a list is shorter.

    Of equal scores the lower item_index comes first. A user without a history has an empty list.
    """
    result = np.full((len(task), k), -1, dtype=np.int32)
    every = np.arange(len(task.allowed), dtype=np.int32)
    for rows, scores in masked_scores(model, task):
        result[rows] = best_columns(scores.numpy(), every, k)
    result[[len(history) == 0 for history in task.histories]] = -1
    return result


@torch.no_grad()
def masked_scores(model: PeerNetwork, task: RankingTask) -> Iterator[tuple[slice, Tensor]]:
    """Yield log probabilities ``(rows, I)`` for blocks of users, minus infinity for items that may not be listed."""
    model.eval()
    forbidden = torch.from_numpy(np.flatnonzero(~task.allowed))
    vectors = model.item_vectors()
    for start in range(0, len(task), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        latest = torch.from_numpy(right_aligned(task.read(rows), model.settings.history)).long()
        scores = functional.log_softmax(model.last_states(latest) @ vectors.T, dim=1)
        if task.is_masked:
            seen = task.masked(rows)
            lengths = [len(items) for items in seen]
            scores[np.repeat(np.arange(len(seen)), lengths), np.concatenate(seen).astype(np.int64)] = -torch.inf
        scores[:, forbidden] = -torch.inf
        yield rows, scores
