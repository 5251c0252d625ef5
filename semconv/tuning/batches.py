"""Rows grouped by length into batches, in an order that is a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.tasks.padded import EpochRows

_BATCHES_A_WINDOW = 64  # rows are sorted by length inside windows of so many batches: random order, little padding


@dataclass(frozen=True)
class Batch:
    """Padded rows as tensors."""

    input_ids: Tensor  # (B, S)
    position_ids: Tensor  # (B, S)
    mask: Tensor | None  # (B, 1, S, S) bool; None: each token sees what stands before it
    label_index: Tensor  # (L,) into the flattened (B * S) tokens
    label_tokens: Tensor  # (L,)
    history_index: Tensor  # (H,) like label_index, for the codes of the histories themselves
    history_tokens: Tensor  # (H,)
    sample_tasks: Tensor  # (num_samples,) place in tasks.trees.TASKS
    num_samples: int

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)


def batch_order(
    lengths: Sequence[int] | NDArray[np.int64], batch_tokens: int, seed: int, epoch: int
) -> list[list[int]]:
    """Rows of each batch, at most ``batch_tokens`` padded tokens or one row."""
    rng = np.random.Generator(np.random.Philox(key=[seed, epoch * 16 + 8]))
    sizes = np.asarray(lengths)
    order = rng.permutation(len(sizes))
    mean = max(1.0, float(sizes.mean())) if len(sizes) else 1.0
    window = max(1, int(_BATCHES_A_WINDOW * batch_tokens / mean))
    batches: list[list[int]] = []
    for start in range(0, len(order), window):
        part = order[start : start + window]
        part = part[np.argsort(-sizes[part], kind="stable")]
        at = 0
        while at < len(part):
            count = max(1, batch_tokens // int(sizes[part[at]]))
            batches.append([int(row) for row in part[at : at + count]])
            at += count
    return [batches[place] for place in rng.permutation(len(batches))]


def collate(rows: EpochRows, pad: int) -> Batch:
    """Rows side by side as tensors."""
    padded = rows.padded(pad)
    return Batch(
        torch.from_numpy(padded.tokens),
        torch.from_numpy(padded.positions),
        span_mask(torch.from_numpy(padded.spans)),
        torch.from_numpy(padded.label_index),
        torch.from_numpy(padded.label_tokens),
        torch.from_numpy(padded.history_index),
        torch.from_numpy(padded.history_tokens),
        torch.from_numpy(padded.sample_tasks),
        padded.num_samples,
    )


def span_mask(spans: Tensor) -> Tensor:
    """Spans ``(B, S, 4)`` of ``tasks.padded.PaddedRows`` as a mask ``(B, 1, S, S)``, query by key."""
    first, start, stop, own = spans[..., None].unbind(dim=2)  # each (B, S, 1)
    key = torch.arange(spans.shape[1], dtype=spans.dtype, device=spans.device)
    mask = key < first  # (B, S, S)
    mask |= (key >= start) & (key < stop)
    mask |= (key >= own) & (key <= key[:, None])
    return mask[:, None]
