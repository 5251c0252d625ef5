"""The items among which the labels of a batch compete: all items, or a sample of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Choice:
    """The items among which a batch chooses.

    Attributes:
        items: ``(J,)`` item index, ascending.
        offsets: ``(J,)`` number that is added to the score of an item where it is not the label: minus the log
            probability of being drawn, -inf for an item that was not drawn; None in a full softmax.
    """

    items: Tensor
    offsets: Tensor | None

    def columns(self, labels: Tensor) -> Tensor:
        """Return the index ``(n,)`` of each label in ``items``."""
        return torch.searchsorted(self.items, labels)


class ItemSampler:
    """Draws the items of a sampled softmax, with the probabilities that the correction needs.

    An item is drawn in proportion to the root of its number of training interactions. With ``sample`` of 0, or at least
    as large as the number of candidates, all candidates are chosen.

    Args:
        candidates: ``(J,)`` item index, ascending.
        counts: ``(J,)`` training interactions of the candidates.
        sample: number of draws.
    """

    def __init__(self, candidates: NDArray[np.integer], counts: NDArray[np.integer], sample: int) -> None:
        self._candidates = torch.from_numpy(np.asarray(candidates, dtype=np.int64))
        self._sample = sample if sample < len(candidates) else 0
        weights = np.sqrt(np.maximum(counts, 1.0))
        shares = weights / weights.sum() if len(weights) else weights
        self._cumulative = torch.from_numpy(np.cumsum(shares))
        # Of an item, the probability that at least one of the draws takes it.
        drawn = -np.expm1(max(self._sample, 1) * np.log1p(-np.minimum(shares, 1 - 1e-9)))
        self._offsets = torch.from_numpy(-np.log(drawn)).float()

    def draw(self, labels: Tensor) -> Choice:
        """Draw the choice of a batch; it contains every label. The draw depends on torch's generator of the CPU."""
        device = labels.device
        if not self._sample:
            return Choice(self._candidates.to(device), None)
        rows = torch.searchsorted(self._cumulative, torch.rand(self._sample, dtype=torch.float64))
        rows = torch.unique(rows.clamp(max=len(self._candidates) - 1))
        of_labels = torch.searchsorted(self._candidates, torch.unique(labels.cpu()))
        chosen, where = torch.unique(torch.cat([rows, of_labels]), return_inverse=True)
        offsets = torch.full((len(chosen),), -torch.inf)
        offsets[where[: len(rows)]] = self._offsets[rows]
        return Choice(self._candidates[chosen].to(device), offsets.to(device))
