"""The interface of the storage as a Protocol, and the arrays that its methods take and return.

``semconv_warehouse.DuckDBStore`` implements the Protocol with DuckDB. Each call opens the database, reads or writes,
and closes the database. So no stage keeps the database open while it computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from semconv.clock import utc_now
from semconv.columns import Seen, Split, TrainCut
from semconv.data.event_rules import EventRules
from semconv.ragged import kept_offsets

if TYPE_CHECKING:
    import pyarrow as pa

UNKNOWN_TIME: Final = int(np.iinfo(np.int64).min)  # in Sequences.times, for an interaction without a time
UNKNOWN_DAY: Final = UNKNOWN_TIME  # the day of an unknown time
DAY: Final = 86_400_000_000  # microseconds
_FUTURE: Final = DAY  # a time further ahead than this is wrong


@dataclass(frozen=True)
class Catalog:
    """Every item that was ever ingested; row i is ``item_index`` i."""

    item_ids: Sequence[str]  # (I,)
    titles: Sequence[str | None]  # (I,)
    descriptions: Sequence[str | None]  # (I,)
    is_servable: NDArray[np.bool_]  # (I,) available and not removed

    def __len__(self) -> int:
        return len(self.item_ids)


@dataclass(frozen=True)
class ItemFacets:
    """Brand and categories of every item; row i is ``item_index`` i."""

    brands: Sequence[str | None]  # (I,)
    categories: Sequence[Sequence[str] | None]  # (I,)


@dataclass(frozen=True)
class TimeCuts:
    """The two moments of a split in time, in microseconds since 1970 (see ``semconv.data.splits``)."""

    valid: int
    test: int

    def of_training(self, train_cut: TrainCut) -> int | None:
        """Return the moment before which items are for training, or None if all items are for training."""
        return {"[:-2]": self.valid, "[:-1]": self.test, "[:]": None}[train_cut]

    def of_history(self, split: Split) -> int | None:
        """Return the moment before which the histories of a split end, or None if they include all items."""
        return {"valid": self.valid, "test": self.test, "serve": None}[split]


@dataclass(frozen=True)
class Sequences:
    """Every user's events or interactions in position order, as a ragged array; row u is ``user_index`` u.

    With ``rules``, the rows are events, and ``semconv.data.interactions`` says which of them are interactions. Without
    ``rules``, each row is an interaction.
    """

    user_ids: Sequence[str]  # (U,)
    offsets: NDArray[np.int64]  # (U + 1,)
    items: NDArray[np.int32]  # (n,) item_index
    times: NDArray[np.int64]  # (n,) microseconds since 1970, UNKNOWN_TIME where unknown
    ratings: NDArray[np.float32]  # (n,) NaN where unknown
    queries: Sequence[str | None] | None = None  # (n,), None unless they were requested
    cuts: TimeCuts | None = None  # the cuts of a split in time, None for leave-one-out
    types: NDArray[np.int16] | None = None  # (n,) index into type_names, -1 without a type; None: no row has a type
    type_names: tuple[str, ...] = ()
    rules: EventRules | None = None
    weights: NDArray[np.float64] | None = None  # (n,) negative for returns; None: all weigh 1

    def with_rules(self, rules: EventRules) -> Sequences:
        """Return the same events under rules; SettingsError if the rules name types that no event has."""
        rules.require_known(self.type_names)
        weights = None if self.types is None else rules.weights_of(self.types, self.type_names)
        return replace(self, rules=rules, weights=weights)

    @cached_property
    def memo(self) -> dict[str, Any]:
        """Results of ``semconv.data.splits`` for these sequences, which several callers need."""
        return {}

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of rows of each user, ``(U,)``."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.user_ids)

    def of(self, user: int) -> NDArray[np.int32]:
        """Return the item_index of one user's interactions, in position order."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def select_rows(self, keep: NDArray[np.bool_]) -> Sequences:
        """Return the interactions that the mask ``keep`` ``(n,)`` marks, as sequences of the same users."""
        queries = None if self.queries is None else [self.queries[int(row)] for row in np.flatnonzero(keep)]
        return Sequences(
            self.user_ids,
            kept_offsets(self.offsets, keep),
            self.items[keep],
            self.times[keep],
            self.ratings[keep],
            queries,
            self.cuts,
            weights=None if self.weights is None else self.weights[keep],
        )


def newest_time(times: NDArray[np.int64]) -> int:
    """Return the newest of some times, in microseconds since 1970; ``UNKNOWN_TIME`` if there is none.

    A time more than a day in the future is wrong, so it does not count beside others.
    """
    newest = int(without_future(times).max(initial=UNKNOWN_TIME))
    return newest if newest != UNKNOWN_TIME else int(times.max(initial=UNKNOWN_TIME))


def day_numbers(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return times in microseconds since 1970 as days since 1970, ``UNKNOWN_DAY`` where unknown.

    The day of a time that is too far in the future (``without_future``) is unknown. Otherwise one such event would be the
    moment of every night, and the calendar of a model would be mostly empty.
    """
    known = without_future(times)
    return np.where(known == UNKNOWN_TIME, UNKNOWN_DAY, known // DAY)


def without_future(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return times with ``UNKNOWN_TIME`` in place of times more than a day in the future, which are wrong.

    A long job stores the result when it reads its data. So no time that was unknown at its start is known later.
    """
    is_wrong = times > int(utc_now().timestamp() * 1e6) + _FUTURE
    return np.where(is_wrong, UNKNOWN_TIME, times) if is_wrong.any() else times


@dataclass(frozen=True)
class RunRecord:
    """One row of the table ``run``: one execution of one stage."""

    run_id: str
    stage: str
    status: str  # 'running', 'finished', 'failed'
    settings: Mapping[str, Any]
    inputs: tuple[str, ...]  # run ids
    fingerprint: str
    artifact_path: str  # relative to the project folder
    version: str
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: str | None = None


@dataclass(frozen=True)
class BaselineRequest:
    """A request for the lists of a SQL baseline."""

    method: str  # a method of semconv.evaluation.methods that has an SQL file
    split: Split
    train_cut: TrainCut
    seen: Seen
    k: int
    history_length: int = 20
    parameters: Mapping[str, float] = field(default_factory=dict)
    users: NDArray[np.int32] | None = None  # user_index of the users who get lists, None for all
    items: NDArray[np.bool_] | None = None  # (I,) items that may be listed; None: available items for serving, else all
    cuts: TimeCuts | None = None  # the cuts of a split in time
    rules: EventRules | None = None  # how events become interactions; None: each event is one
    seen_days: float = 0.0  # days for which a seen item is masked, 0 for ever
    vectors: str | None = None  # run_id of the behaviour vectors that 'item-cosine' reads


@dataclass(frozen=True)
class TopK:
    """Ranked lists; row r is the list of ``users[r]``."""

    users: NDArray[np.int32]  # (R,) user_index
    items: NDArray[np.int32]  # (R, K) item_index in rank order, -1 where a list is shorter
    scores: NDArray[np.float32]  # (R, K) -inf where a list is shorter
    is_filler: NDArray[np.bool_] | None = None  # (R, K) items that a baseline added by popularity to a short list


class Store(Protocol):
    """The storage that the stages read and write. Every method may raise a SemconvError."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Open a block in which all reads see the same data. Do not compute or write in the block."""
        ...

    def catalog(self) -> Catalog:
        """Read all items in item_index order."""
        ...

    def item_facets(self) -> ItemFacets:
        """Read brand and categories of all items in item_index order."""
        ...

    def sequences(self, *, queries: bool = False) -> Sequences:
        """Read all users in user_index order with their events in position order."""
        ...

    def allowed_items(self, where: str) -> NDArray[np.bool_]:
        """Return whether each item meets a SQL condition on the table ``item``, ``(I,)``.

        Raises:
            SettingsError: ``where`` is not a valid condition.
        """
        ...

    def content_hash(self, table: str) -> str:
        """Return a hash of the content of ``item`` or ``interaction``; the order of rows does not matter."""
        ...

    def runs(self, *, stage: str | None = None, status: str | None = None) -> list[RunRecord]:
        """Read runs, newest first."""
        ...

    def start_run(self, record: RunRecord) -> None:
        """Insert a run with the status running; if the run_id exists already, set the run's status back to running."""
        ...

    def finish_run(self, run_id: str, tables: Mapping[str, pa.Table]) -> None:
        """Replace the run's rows of ``tables`` (name -> rows) and mark the run as finished, in one transaction."""
        ...

    def fail_run(self, run_id: str, error: str) -> None:
        """Mark a run as failed, with the reason in one line."""
        ...

    def mark_core(self, items: NDArray[np.bool_], users: NDArray[np.bool_]) -> None:
        """Record in the column ``in_core`` which items ``(I,)`` and users ``(U,)`` are in the k-core."""
        ...

    def baseline_top_k(self, request: BaselineRequest) -> TopK:
        """Compute ranked lists with one of the SQL files in ``sql/baselines``."""
        ...
