"""The form in which a training hands histories to the model: rows of an epoch, batches of them, and their loss.

``TokenForm`` is the form of the paper, in which an item is its code tokens. ``semconv.item_head`` has another form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.settings.tuning import TuningSettings
from semconv.tasks.padded import EpochRows
from semconv.tuning.batches import batch_order, collate
from semconv.tuning.choices import CodeChoices
from semconv.tuning.loss import LossCounts, LossSums, SummedLoss


class Rows(Protocol):
    """The rows of an epoch, or some of them. A row is the unit that is put into batches."""

    @property
    def num_samples(self) -> NDArray[np.int64]:
        """The number of training samples of each row, ``(R,)``."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, which: Any) -> Any: ...


class Batch(Protocol):
    """The tensors of a batch."""

    @property
    def num_samples(self) -> int:
        """The number of training samples."""
        ...

    @property
    def num_tokens(self) -> int:
        """The number of positions that the model reads, padding included."""
        ...

    def to(self, device: torch.device) -> Any:
        """Return the batch on another device."""
        ...


class Loss(Protocol):
    """A model with its loss, as a ``torch.nn.Module``."""

    model: Any
    history_weight: float

    def __call__(self, batch: Any) -> LossSums:
        """Return the summed cross entropies of a batch."""
        ...

    def counts(self, batches: Iterable[Any]) -> LossCounts:
        """Count the tokens in the summed losses of some batches."""
        ...

    def weighted(self, sums: LossSums, counts: LossCounts) -> Tensor:
        """Return a batch's contribution to the mean loss of a step."""
        ...


class Form(Protocol):
    """How a training turns histories into batches and losses."""

    def rows(self, epoch: int) -> Any:
        """Return the ``Rows`` of an epoch, as a pure function of the seed and the epoch."""
        ...

    def batches(self, rows: Any, settings: TuningSettings, epoch: int) -> Sequence[Sequence[int]]:
        """Return the row numbers of each batch of an epoch."""
        ...

    def collate(self, rows: Any) -> Batch:
        """Turn rows into the tensors of a batch."""
        ...

    def loss(self, model: Any, settings: TuningSettings) -> Any:
        """Return the ``Loss`` of a model, as a ``torch.nn.Module``."""
        ...


@dataclass(frozen=True)
class TokenForm:
    """Histories as code tokens in prompts.

    Attributes:
        source: returns the token rows of an epoch.
        pad: the token that fills up short rows.
        choices: the codes that a code competes with in the loss; None: the whole vocabulary.
    """

    source: Callable[[int], EpochRows]
    pad: int
    choices: CodeChoices | None = None

    def rows(self, epoch: int) -> EpochRows:
        """Return the token rows of an epoch."""
        return self.source(epoch)

    def batches(self, rows: EpochRows, settings: TuningSettings, epoch: int) -> list[list[int]]:
        """Return the row numbers of each batch; rows of similar length share a batch."""
        return batch_order(rows.lengths, settings.batch_tokens, settings.seed, epoch)

    def collate(self, rows: EpochRows) -> Batch:
        """Turn token rows into the padded tensors of a batch."""
        return collate(rows, self.pad)

    def loss(self, model: Any, settings: TuningSettings) -> SummedLoss:
        """Return the cross entropy of the label tokens and, with ``tuning.history_loss``, of the histories."""
        return SummedLoss(model, self.choices, settings.history_loss or 0.0)
