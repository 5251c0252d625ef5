"""A loss in which each code competes only with codes that follow the same prefix in the codes of an existing item.

Search chooses only among existing items. A loss over the whole vocabulary mostly teaches the model which code sequences
exist. With 4 levels of 256 codes, such a loss starts at 22 nats for each item, although a uniform choice among 17,000
items has less than 10 nats. A loss over existing codes teaches only the choice among items. Search must then score
codes in the same way (``recommend.scores = "trie"``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy


class CodeChoices:
    """The code sequences of all items, as sorted prefixes with the codes that follow each prefix.

    Args:
        level_tokens: ``(N, C)`` token id of each code.
        codes: ``(M, N)`` codes of all items that have codes.
    """

    def __init__(self, level_tokens: NDArray[np.int64], codes: NDArray[Any]) -> None:
        self.num_levels, self.num_codes = level_tokens.shape
        self._tokens = torch.from_numpy(np.ascontiguousarray(level_tokens))  # (N, C)
        code_of = np.zeros(int(level_tokens.max()) + 1, dtype=np.int64)
        code_of[level_tokens] = np.arange(self.num_codes)
        self._code_of = torch.from_numpy(code_of)
        self._levels = []
        prefix = np.zeros(len(codes), dtype=np.int64)  # (M,) index of each item's prefix
        for level in range(self.num_levels):
            children, index = np.unique(prefix * self.num_codes + codes[:, level], return_inverse=True)
            offsets = np.searchsorted(children, np.arange(int(prefix.max()) + 2) * self.num_codes)
            self._levels.append((torch.from_numpy(children), torch.from_numpy(offsets)))
            prefix = index

    def losses(self, states: Tensor, matrix: Tensor, labels: Tensor) -> Tensor:
        """Return the cross entropy ``(n, N)`` of each code of n existing items.

        Args:
            states: ``(n, N, D)`` hidden states that predict the codes.
            matrix: ``(V, D)`` output matrix.
            labels: ``(n, N)`` code tokens.
        """
        device = states.device
        codes = self._code_of.to(device)[labels]  # (n, N)
        prefix = torch.zeros(len(labels), dtype=torch.long, device=device)
        found = []
        for level in range(self.num_levels):
            children, offsets = (part.to(device) for part in self._levels[level])
            rows = matrix[self._tokens[level].to(device)]  # (C, D)
            logits = (states[:, level] @ rows.t()).float()  # (n, C)
            logits = logits.masked_fill(~self._exists(prefix, children, offsets), -torch.inf)
            found.append(cross_entropy(logits, codes[:, level], reduction="none"))
            prefix = torch.searchsorted(children, prefix * self.num_codes + codes[:, level])
        return torch.stack(found, dim=1)

    def _exists(self, prefix: Tensor, children: Tensor, offsets: Tensor) -> Tensor:
        """Return a mask ``(n, C)`` of the codes that follow each of n prefixes in the codes of an existing item."""
        counts = offsets[prefix + 1] - offsets[prefix]
        row = torch.repeat_interleave(torch.arange(len(prefix), device=prefix.device), counts)
        first = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        child = children[offsets[prefix][row] + torch.arange(len(row), device=prefix.device) - first]
        mask = torch.zeros((len(prefix), self.num_codes), dtype=torch.bool, device=prefix.device)
        mask[row, child % self.num_codes] = True
        return mask
