"""The data from which prompts are made: training sequences of items with codes, texts of items, and queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from semconv.data.store import Sequences
from semconv.ragged import Ints, offsets_of, position_of, row_of

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Candidates:
    """All n samples of one task whose prompts contain text. Each epoch draws some of the samples."""

    items: NDArray[np.int32]  # (n,) item_index of the label
    rows: Ints  # (n,) row of ``TaskData.items`` that a text belongs to, -1 where it belongs to the item
    words: tuple[Sequence[str | None], ...]  # columns of n texts each

    @classmethod
    def none(cls) -> Candidates:
        """Return empty candidates, for a task that is switched off."""
        return cls(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64), ())

    def __len__(self) -> int:
        return len(self.items)

    def words_of(self, sample: int) -> list[str | None]:
        """Return the texts that go into the prompt of one sample."""
        return [column[sample] for column in self.words]


@dataclass(frozen=True)
class Replay:
    """The samples that are new since an earlier tuning, and the share of the old samples that an epoch draws again.

    Epochs are numbered from the last epoch of the earlier tuning, so both tunings draw different samples.
    """

    is_new_row: Bools  # (n,) of TaskData.items
    is_new_text: tuple[Bools, ...]  # for each task with text, a mask of its candidates
    share: float
    epochs_before: int

    def draw_rows(self, user: Ints, num_users: int, rng: np.random.Generator) -> Bools:
        """Draw a mask ``(n,)`` of the rows that may give samples: all new rows, and all rows of a share of the users.

        Either all old rows of a user are drawn or none, because a user's samples share one history.

        Args:
            user: ``(n,)`` user of each row.
        """
        return self.is_new_row | (rng.random(num_users) < self.share)[user]

    def draw_texts(self, rng: np.random.Generator) -> Bools:
        """Draw a mask of the samples with text, task after task: all new samples, and a share of the old samples."""
        is_new = np.concatenate(self.is_new_text)
        return is_new | (rng.random(len(is_new)) < self.share)


@dataclass(frozen=True)
class Rejected:
    """Items that users returned or disliked, in no sequence, sorted by user and then by row.

    Attributes:
        users: ``(r,)`` user index.
        rows: ``(r,)`` the row before which the user rejected the item; the end of the user's rows if after all of them.
        items: ``(r,)`` item index.
    """

    users: Ints
    rows: Ints
    items: NDArray[np.int32]

    @classmethod
    def none(cls) -> Rejected:
        """Return no items."""
        return cls(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32))

    def among(self, kept: Bools) -> Rejected:
        """Return the same items for sequences of which only the rows in the mask ``kept`` ``(n,)`` are left."""
        return Rejected(self.users, offsets_of(kept)[self.rows], self.items)


@dataclass(frozen=True)
class TaskData:
    """Training sequences of U users with n interactions in total, and the candidates of tasks with text."""

    offsets: Ints  # (U + 1,) rows of each user
    items: NDArray[np.int32]  # (n,) item_index, all with codes
    times: Ints  # (n,) microseconds since 1970, the minimum int64 where unknown
    is_label: Bools  # (n,) False where the user dislikes the item
    touched: Sequences  # whole training sequences, with items without codes; none of them is a negative of the user
    coded_items: NDArray[np.int32]  # items with codes
    num_items: int
    texts: dict[str, Candidates]  # by task name
    replay: Replay | None = None  # None: an epoch draws from all samples
    weights: NDArray[np.float64] | None = None  # (n,) weight of each row's loss; None: all weigh 1
    rejected: Rejected = field(default_factory=Rejected.none)  # these items are negatives before all others

    def users(self) -> Ints:
        """Return the user index of each row ``(n,)``."""
        return row_of(np.diff(self.offsets))

    def positions(self) -> Ints:
        """Return the position of each row in its user's sequence ``(n,)``."""
        return position_of(np.diff(self.offsets))
