"""The rules by which events of several types become interactions: weights, targets, types that mask, and repeats."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.errors import SettingsError


@dataclass(frozen=True)
class EventRules:
    """The settings of the section ``[events]``, as the functions of ``semconv.data`` use them.

    Attributes:
        weights: weight of each type; a type that is missing weighs 1, as does an event without a type.
        targets: types that may be held out; empty for all types with a positive weight.
        seen: types that mask an item; empty for the types of ``targets``.
        collapses: whether a user's events on one item are one interaction.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    targets: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    collapses: bool = True

    @classmethod
    def of(cls, recorded: Mapping[str, Any], seen: Sequence[str] = ()) -> EventRules:
        """Return the rules that a run recorded.

        Args:
            recorded: ``EventSettings.recorded``; a missing key has its default.
            seen: the setting ``events.seen``.
        """
        return cls(
            dict(recorded.get("weights", ())),
            tuple(recorded.get("targets", ())),
            tuple(seen),
            recorded.get("repeats", "collapse") == "collapse",
        )

    def require_known(self, names: Sequence[str]) -> None:
        """Raise SettingsError if the rules name a target or a masking type that no event has, or a target of negative weight."""
        for setting, types in (("targets", self.targets), ("seen", self.seen)):
            unknown = [name for name in types if name not in names]
            if unknown:
                similar = difflib.get_close_matches(unknown[0], names, n=1)
                guess = f"; did you mean {similar[0]}?" if similar else ";"
                held = f" the events have the types {', '.join(names)}" if names else " no event has a type"
                raise SettingsError(f"events.{setting} names the type {unknown[0]}, which no event has{guess}{held}")
        refused = [name for name in self.targets if self.weight(name) <= 0]
        if refused:
            raise SettingsError(
                f"events.targets names {refused[0]}, whose weight is {self.weight(refused[0]):g}; only a type with a"
                " positive weight can be predicted"
            )

    @property
    def masks_history(self) -> bool:
        """Whether exactly the items of a history are masked."""
        return not self.targets and not self.seen

    def weight(self, name: str) -> float:
        """Return the weight of a type."""
        return self.weights.get(name, 1.0)

    def unlisted(self, names: Sequence[str]) -> list[str]:
        """Return the types that have no weight in the settings, so that they weigh 1."""
        return [name for name in names if name not in self.weights]

    def weights_of(self, types: NDArray[np.int16], names: Sequence[str]) -> NDArray[np.float64]:
        """Return the weight of each event, ``(n,)``; ``types`` holds indices into ``names``, -1 for no type."""
        return np.array([*(self.weight(name) for name in names), 1.0])[types]

    def are_targets(self, types: NDArray[np.int16], names: Sequence[str]) -> NDArray[np.bool_]:
        """Return whether each event may be held out, ``(n,)``; an event without a type may."""
        return np.array([*(self._is_target(name) for name in names), True])[types]

    def are_masking(self, types: NDArray[np.int16], names: Sequence[str]) -> NDArray[np.bool_]:
        """Return whether each event masks its item, ``(n,)``; an event without a type does."""
        return np.array([*(self.masks(name) for name in names), True])[types]

    def masks(self, name: str) -> bool:
        """Return whether events of a type mask their items."""
        return name in self.seen if self.seen else self._is_target(name)

    def _is_target(self, name: str) -> bool:
        return name in self.targets if self.targets else self.weight(name) > 0
