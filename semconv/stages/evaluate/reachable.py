"""Held-out items that no list can contain, by reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.columns import UNREACHABLE
from semconv.data.histories import Histories
from semconv.data.store import Catalog

_MOST_UNREACHABLE = 0.05  # a larger share is a warning
_SETTINGS: Mapping[str, str] = {  # what to look at, for each reason in UNREACHABLE
    "num_targets_masked": "events.repeats, events.seen, recommend.seen and recommend.seen_days",
    "num_targets_not_available": "the files of `semconv ingest items`, which removed these items",
    "num_targets_filtered": "recommend.where and --where",
    "num_targets_without_codes": "split.k_core, and the titles in the files of `semconv ingest items`",
}


@dataclass(frozen=True)
class Reach:
    """Why the lists of an evaluation cannot contain some held-out items; an item counts for the first reason alone.

    Attributes:
        reasons: ``(U,)`` index into UNREACHABLE, -1 for an item that lists can contain.
    """

    reasons: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        targets: NDArray[np.int32],
        users: NDArray[np.int32],
        masking: Histories | None,
        catalog: Catalog,
        allowed: NDArray[np.bool_],
        has_codes: NDArray[np.bool_],
    ) -> Reach:
        """Find the reason of each held-out item.

        Args:
            targets: ``(U,)`` item_index of the held-out items.
            users: ``(U,)`` user_index.
            masking: the histories whose seen items lists leave out; None if seen items are kept.
            allowed: ``(I,)`` items that are available and pass the filters.
            has_codes: ``(I,)`` items with codes.
        """
        is_masked = np.zeros(len(targets), dtype=bool)
        if masking is not None:
            seen, lengths = masking.flat_seen(users)
            row = np.repeat(np.arange(len(users)), lengths)
            is_masked[row[seen == targets[row]]] = True
        is_available = catalog.is_servable[targets]
        found = (is_masked, ~is_available, is_available & ~allowed[targets], ~has_codes[targets])
        return cls(np.select(found, range(len(found)), -1))

    @property
    def is_reachable(self) -> NDArray[np.bool_]:
        """Whether lists can contain each held-out item, ``(U,)``."""
        return self.reasons < 0

    def counts(self) -> dict[str, int]:
        """Return the number of held-out items of each reason, by its name in the protocol."""
        numbers = np.bincount(self.reasons[self.reasons >= 0], minlength=len(UNREACHABLE)).tolist()
        return dict(zip(UNREACHABLE, numbers, strict=True))

    def warning(self) -> str:
        """Return a sentence if more than 5 % of the held-out items cannot be in a list, else an empty text."""
        total, counts = len(self.reasons), self.counts()
        number = sum(counts.values())
        if number <= _MOST_UNREACHABLE * total:
            return ""
        parts = [
            f"{count:,} are {UNREACHABLE[name]} (look at {_SETTINGS[name]})" for name, count in counts.items() if count
        ]
        return f"{number:,} of {total:,} held-out items ({number / total:.1%}) can be in no list of the model: {', '.join(parts)}"
