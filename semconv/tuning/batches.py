"""Group token rows of similar length into batches, in an order that depends only on seed and epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.tasks.padded import EpochRows
from semconv.tasks.plan import Stream, generator

_BATCHES_A_WINDOW = 64  # rows are sorted by length within so many batches: little padding, and a random order


@dataclass(frozen=True)
class Batch:
    """The padded token rows of one batch, as tensors."""

    input_ids: Tensor  # (B, S)
    position_ids: Tensor  # (B, S)
    mask: Tensor | None  # (B, 1, S, S) bool; None: each token sees all tokens before it
    label_index: Tensor  # (L,) index in the flattened (B * S) tokens
    label_tokens: Tensor  # (L,)
    history_index: Tensor  # (H,) like label_index, for the codes of the histories
    history_tokens: Tensor  # (H,)
    sample_tasks: Tensor  # (num_samples,) index into TASK_NAMES
    sample_weights: Tensor | None = None  # (num_samples,) weight of the loss of each label; None: all weigh 1
    history_weights: Tensor | None = None  # (H,) weight of the loss of each code of the histories

    @property
    def num_samples(self) -> int:
        """The number of samples in all rows."""
        return len(self.sample_tasks)

    @property
    def num_tokens(self) -> int:
        """The number of tokens in all rows, padding included."""
        return self.input_ids.numel()

    def to(self, device: torch.device) -> Batch:
        """Return a copy of the batch on a device."""
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **tensors)


def batch_order(
    lengths: Sequence[int] | NDArray[np.int64], batch_tokens: int, seed: int, epoch: int
) -> list[list[int]]:
    """Return the row numbers of each batch. A batch has up to ``batch_tokens`` tokens with padding, or one long row."""
    rng = generator(seed, epoch, Stream.BATCHES)
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
    return [batches[index] for index in rng.permutation(len(batches))]


def collate(rows: EpochRows, pad: int) -> Batch:
    """Turn token rows into the padded tensors of a batch."""
    padded = rows.padded(pad)
    tensors = {name: torch.from_numpy(array) for name, array in vars(padded).items() if array is not None}
    mask = span_mask(tensors.pop("spans"))
    return Batch(tensors.pop("tokens"), tensors.pop("positions"), mask, **tensors)


def span_mask(spans: Tensor) -> Tensor:
    """Turn the spans ``(B, S, 4)`` of ``PaddedRows`` into an attention mask ``(B, 1, S, S)``, queries by keys."""
    first, start, stop, own = spans[..., None].unbind(dim=2)  # each (B, S, 1)
    key = torch.arange(spans.shape[1], dtype=spans.dtype, device=spans.device)
    mask = key < first  # (B, S, S)
    mask |= (key >= start) & (key < stop)
    mask |= (key >= own) & (key <= key[:, None])
    return mask[:, None]
