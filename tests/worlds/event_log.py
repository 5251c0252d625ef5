"""Sequences of typed events from short texts, and a plain Python reading of the rules for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from semconv.data.event_rules import EventRules
from semconv.data.store import Sequences
from tests.worlds.sequences import sequences_of

NAMES = ("buy", "cart", "return", "view")
WEIGHTS = {"buy": 1.0, "cart": 0.3, "return": -1.0, "view": 0.1}
_LETTERS = {"b": 0, "c": 1, "r": 2, "v": 3, "n": -1}


def log(users: Sequence[str], rules: EventRules | None = None, times: np.ndarray | None = None) -> Sequences:
    """Make sequences; ``"c1 b1 r1"`` is a user who puts item 1 into the cart, buys it and returns it; n is without type."""
    events = [user.split() for user in users]
    made = sequences_of([[int(event[1:]) for event in user] for user in events], times)
    types = np.array([_LETTERS[event[0]] for user in events for event in user], dtype=np.int16)
    named = Sequences(made.user_ids, made.offsets, made.items, made.times, made.ratings, types=types, type_names=NAMES)
    return named if rules is None else named.with_rules(rules)


@dataclass(frozen=True)
class PlainUser:
    """One user's events as (position, item, type), read with loops."""

    events: list[tuple[int, int, str]]
    rules: EventRules

    def weight(self, kind: str) -> float:
        return self.rules.weights.get(kind, 1.0)

    def is_target(self, kind: str) -> bool:
        if kind == "":
            return True
        return kind in self.rules.targets if self.rules.targets else self.weight(kind) > 0

    def left(self, end: int) -> list[tuple[int, int, str]]:
        """The events before ``end`` that returns leave over."""
        known = [event for event in self.events if event[0] < end]
        bought: dict[int, list[tuple[int, int, str]]] = {}
        undone, returned = [], set()
        for event in known:
            if self.weight(event[2]) == 1.0:
                bought.setdefault(event[1], []).append(event)
            if self.weight(event[2]) < 0:
                returned.add(event[1])
                if bought.get(event[1]):
                    undone.append(bought[event[1]].pop())
        gone = {item for item in returned if not bought.get(item)}
        return [e for e in known if self.weight(e[2]) > 0 and e not in undone and e[1] not in gone]

    def collapsed(self, events: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
        if not self.rules.collapses:
            return events
        best: dict[int, tuple[int, int, str]] = {}
        for event in events:
            if event[1] not in best or self.weight(event[2]) > self.weight(best[event[1]][2]):
                best[event[1]] = event
        return sorted(best.values())

    def targets(self) -> list[tuple[int, int, str]]:
        whole = self.left(len(self.events))
        if len(self.collapsed(whole)) < 3:
            return []
        return self.collapsed([event for event in whole if self.is_target(event[2])])

    def history(self, target: tuple[int, int, str]) -> list[int]:
        return [event[1] for event in self.collapsed([e for e in self.left(target[0]) if not self._hides(e, target)])]

    def training(self, held_out: list[tuple[int, int, str]]) -> list[int]:
        end = min((target[0] for target in held_out), default=len(self.events))
        left = [e for e in self.left(end) if not any(self._hides(e, target) for target in held_out)]
        return [event[1] for event in self.collapsed(left)]

    def _hides(self, event: tuple[int, int, str], target: tuple[int, int, str]) -> bool:
        if event[1] != target[1]:
            return False
        is_less = self.weight(event[2]) < self.weight(target[2]) or not self.is_target(event[2])
        return self.rules.collapses or is_less


def plain_users(users: Sequence[str], rules: EventRules) -> list[PlainUser]:
    """Return the users of ``log`` for a plain reading."""
    kinds = {letter: NAMES[index] if index >= 0 else "" for letter, index in _LETTERS.items()}
    return [PlainUser([(at, int(e[1:]), kinds[e[0]]) for at, e in enumerate(user.split())], rules) for user in users]


def random_log(seed: int, num_users: int = 60, num_items: int = 6) -> list[str]:
    """Short random sequences over few items, so that repeats, carts before purchases and returns are frequent."""
    rng: Any = np.random.default_rng(seed)
    return [
        " ".join(
            f"{rng.choice(list('bcrvn'), p=[0.35, 0.2, 0.2, 0.2, 0.05])}{rng.integers(num_items)}" for _ in range(n)
        )
        for n in rng.integers(1, 14, num_users)
    ]
