"""Save and load the item parts of a tuned model, in a file of their own in the folder of the run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from semconv.artifacts import read_arrays, write_arrays
from semconv.data.calendar import Calendar
from semconv.errors import InputError
from semconv.item_head.parts import ItemParts, PartsShape
from semconv.item_head.successors import CONSTANTS
from semconv.item_head.texts import TextBasis
from semconv.runs.files import ITEM_PARTS

_OPTIONAL: Final = ("text", "periods", "gaps", "waits", "popularity")
_OF_SUCCESSORS: Final = ("successors", "successor_start", "successor_factor")  # a model has all of them, or none
_CONSTANTS: Final = "successor_constants"  # of the counts that the weights were trained for


@dataclass(frozen=True)
class ItemFile:
    """The content of the file: the weights, and what is needed to use them with later data.

    Attributes:
        weights: the parameters of ``ItemParts`` by name.
        counts: ``(I,)`` training interactions of the items that existed at the tuning.
        calendar: the periods of the model.
        basis: turns text vectors into those of the item head.
    """

    weights: dict[str, NDArray[np.float32]]
    counts: NDArray[np.int64]
    calendar: Calendar
    basis: TextBasis

    @property
    def num_latest(self) -> int:
        """The number of latest items whose successors the model scores."""
        return len(self.weights.get("successor_start", ()))

    @property
    def successor_factor(self) -> float | None:
        """The factor that multiplied the weights of the successors; None if the model scores no successors."""
        return float(self.weights["successor_factor"][0]) if self.num_latest else None

    @classmethod
    def of(cls, parts: ItemParts, counts: NDArray[np.int64], calendar: Calendar, basis: TextBasis) -> ItemFile:
        """Take the weights of a model."""
        weights = {name: weight.detach().cpu().float().numpy() for name, weight in parts.named_parameters()}
        return cls(weights, counts, calendar, basis)

    def save(self, folder: Path) -> None:
        """Write the file into the folder of a run."""
        calendar = np.array([self.calendar.first_day, self.calendar.num_periods], dtype=np.int64)
        more = {"text_mean": self.basis.mean, "text_directions": self.basis.directions}
        if self.num_latest:
            more[_CONSTANTS] = np.array(CONSTANTS)
        write_arrays(folder / ITEM_PARTS, {**self.weights, "counts": self.counts, "calendar": calendar, **more})

    @classmethod
    def load(cls, folder: Path) -> ItemFile:
        """Read the file from the folder of a run; InputError if it is missing or damaged."""
        arrays = read_arrays(folder / ITEM_PARTS)
        try:
            first_day, num_periods = (int(number) for number in arrays["calendar"])
            found = cls(
                {
                    "own": arrays["own"],
                    **{name: arrays[name] for name in _OPTIONAL if name in arrays},
                    **{name: arrays[name] for name in _OF_SUCCESSORS if _OF_SUCCESSORS[0] in arrays},
                },
                arrays["counts"],
                Calendar(first_day, num_periods),
                TextBasis(arrays["text_mean"], arrays["text_directions"]),
            )
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{folder / ITEM_PARTS}: {error} is missing; tune again with `semconv finetune`"
            ) from error
        if found.num_latest and arrays.get(_CONSTANTS, np.zeros(0)).tolist() != list(CONSTANTS):
            raise InputError(
                f"{folder / ITEM_PARTS}: the model was tuned by another version, which counts successors in another way;"
                " tune again with `semconv finetune`"
            )
        return found

    def parts(
        self, code_tokens: NDArray[np.int64], texts: NDArray[np.float32], counts: NDArray[np.int64] | None = None
    ) -> ItemParts:
        """Return the module for the items of today. Items that came after the tuning have no row of their own.

        Args:
            code_tokens: ``(I, N)`` code tokens of all items, -1 without codes.
            texts: ``(I, T)`` projected text vectors.
            counts: ``(I,)`` training interactions of today, to train on; None for those of the tuning.
        """
        num_items, width = len(code_tokens), self.weights["own"].shape[1]
        missing = max(0, num_items - len(self.counts))
        if counts is None:
            counts = np.concatenate([self.counts, np.zeros(missing, dtype=np.int64)])
        shape = PartsShape(num_items, width, texts.shape[1], self.calendar.num_periods, self.num_latest)
        parts = ItemParts(shape, code_tokens, texts, counts, seed=0)
        own = np.concatenate([self.weights["own"], np.zeros((missing, width), dtype=np.float32)])
        weights: dict[str, Any] = {**self.weights, "own": own}
        parts.load_state_dict({name: torch.from_numpy(weight) for name, weight in weights.items()})
        return parts
