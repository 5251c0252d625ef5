"""The arrays from which the item parts of a model are made, before a training and after it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from semconv.backbone.forward import input_matrix
from semconv.data.calendar import Calendar
from semconv.item_head.files import ItemFile
from semconv.item_head.parts import NAME, ItemParts, PartsShape
from semconv.item_head.successors import SuccessorTable
from semconv.item_head.texts import TextBasis


@dataclass(frozen=True)
class ItemSetup:
    """The arrays from which the item parts of a model are made.

    Attributes:
        code_tokens: ``(I, N)`` code tokens of each item, -1 for an item without codes.
        texts: ``(I, T)`` projected text vectors.
        counts: ``(I,)`` training interactions of each item.
        calendar: the periods of the training interactions.
        basis: the projection of the text vectors.
        start: the item parts of the tuning that is continued; None for new ones.
        num_latest: number of latest items whose successors the model scores.
        successors: how often items follow each other in the training sequences; None if the model does not score this.
    """

    code_tokens: NDArray[np.int64]
    texts: NDArray[np.float32]
    counts: NDArray[np.int64]
    calendar: Calendar
    basis: TextBasis
    start: ItemFile | None
    num_latest: int
    successors: SuccessorTable | None

    def attach(self, model: Any, seed: int) -> None:
        """Add the item parts to a model that is about to be trained; ``tuning.model.prepare`` has chosen its other weights.

        A continued tuning starts from the weights of the successors as they were trained. The factor that multiplied them
        is applied again after the training, so it does not grow from tuning to tuning.
        """
        if self.start is not None:
            parts = self.start.parts(self.code_tokens, self.texts, self.counts)
            parts.restore_trained_successors()
            model.add_module(NAME, parts)
            return
        with torch.no_grad():
            width = input_matrix(model).shape[1]
        shape = PartsShape(len(self.counts), width, self.texts.shape[1], self.calendar.num_periods, self.num_latest)
        model.add_module(NAME, ItemParts(shape, self.code_tokens, self.texts, self.counts, seed))

    def detach(self, model: Any, folder: Path) -> None:
        """Move the item parts of a trained model to their file in the folder of the run."""
        parts = getattr(model, NAME)
        delattr(model, NAME)
        ItemFile.of(parts, self.counts, self.calendar, self.basis).save(folder)
