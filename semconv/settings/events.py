"""Settings of the section [events]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from semconv.settings.option import NamedNumbers, Names, option


@dataclass(frozen=True)
class EventSettings:
    """Events of several types: how much each type counts, which types are predicted, and what a repeated event is."""

    weights: NamedNumbers = option(
        (),
        "Weight of each event type, such as { view = 0.1, cart = 0.3, purchase = 1, return = -1 }. Weights enter the"
        " behaviour vectors, the transition counter, popularity and the tuning loss. A type with a negative weight is"
        " negative feedback: it undoes the latest event of the highest weight on the same item, and the item leaves the"
        " user's history when no such event remains. Events of weight 0 are not used. A type that is not listed, and an"
        " event without a type, weigh 1.",
    )
    targets: Names = option(
        (),
        "Event types that may be held out and predicted. By default, these are all types with a positive weight. Events"
        " without a type may always be held out.",
    )
    seen: Names = option(
        (),
        "Event types that mask an item in the lists, if recommend.seen = masked. By default, these are the types of"
        " events.targets. A type with a negative weight masks an item as long as the item is not taken again.",
    )
    repeats: Literal["collapse", "keep"] = option(
        "collapse",
        "What a user's events on one item are. collapse makes one interaction of them: the event with the highest"
        " weight, and of equal weights the first. keep makes each event an interaction, for goods that users buy again.",
    )

    def recorded(self) -> dict[str, Any]:
        """Return the values that change what a model is trained on, as a run records them; empty for the defaults."""
        values = {
            "weights": [[name, weight] for name, weight in sorted(self.weights)],
            "targets": sorted(self.targets),
            "repeats": "" if self.repeats == "collapse" else self.repeats,
        }
        return {name: value for name, value in values.items() if value}

    def as_recorded(self, values: Mapping[str, Any]) -> EventSettings:
        """Return the settings with the values that a run recorded (``recorded``); only ``seen`` keeps its value."""
        return replace(
            self,
            weights=tuple((name, weight) for name, weight in values.get("weights", ())),
            targets=tuple(values.get("targets", ())),
            repeats=values.get("repeats", "collapse"),
        )
