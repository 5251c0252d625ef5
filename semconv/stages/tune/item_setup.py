"""Prepare a tuning whose histories are items, and read what its model needs later: texts, dates and popularity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semconv.backbone.text_vectors import TextVectors
from semconv.columns import Split, TrainCut
from semconv.data.calendar import Calendar
from semconv.data.core import train_part
from semconv.data.histories import Histories
from semconv.data.splits import counted_cut, known_part
from semconv.data.store import DAY, UNKNOWN_DAY, Catalog, RunRecord, Sequences, day_numbers
from semconv.data.time_cuts import dated_users
from semconv.item_head.files import ItemFile
from semconv.item_head.popularity import ItemEvents
from semconv.item_head.prompts import MomentEvents, Moments
from semconv.item_head.sequences import DatedSequences
from semconv.item_head.setup import ItemSetup
from semconv.item_head.successors import SuccessorTable
from semconv.item_head.texts import TextBasis
from semconv.ragged import Ints, row_of
from semconv.runs.files import TEXT_VECTORS
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.settings.tuning import TuningSettings
from semconv.stages.embed.rows import catalog_texts
from semconv.stages.embed.text import text_vectors
from semconv.tasks.data import TaskData
from semconv.tasks.encoder import PromptEncoder


def item_setup(
    workspace: Workspace,
    codes: Lineage,
    encoder: PromptEncoder,
    data: TaskData,
    tuning: TuningSettings,
    start: Path | None,
) -> ItemSetup:
    """Read the arrays for a tuning. A tuning that continues an earlier one keeps its calendar, projection and successors.

    Args:
        encoder: knows the code tokens of all items.
        data: the training data.
        tuning: the settings of the tuning, with all defaults filled in.
        start: the folder of the run that is continued; None to start from the backbone.
    """
    catalog = workspace.store.catalog()
    texts = item_texts(workspace, codes, catalog)
    file = None if start is None else ItemFile.load(start)
    basis = TextBasis.of(texts.vectors) if file is None else file.basis
    times = data.times if tuning.dates else data.times[:0]
    calendar, num_latest = Calendar.of(day_numbers(times)), tuning.successor_items
    if file is not None:
        _say_ignored(workspace, tuning, file, calendar)
        calendar, num_latest = file.calendar, file.num_latest
    sequences = DatedSequences.of(data.offsets, data.items, data.times, calendar, data.weights)
    return ItemSetup(
        encoder.item_tokens,
        basis.project(texts.item_index, texts.vectors, data.num_items),
        np.bincount(data.items, minlength=data.num_items),
        calendar,
        basis,
        file,
        num_latest,
        SuccessorTable.count(sequences, data.num_items) if num_latest else None,
    )


def _say_ignored(workspace: Workspace, tuning: TuningSettings, file: ItemFile, calendar: Calendar) -> None:
    """Say which settings a continued tuning does not follow, because the weights of the earlier model decide.

    Args:
        file: the item parts of the earlier model.
        calendar: the calendar that a new model would have.
    """
    if tuning.successor_items != file.num_latest:
        _say(workspace, f"successor_items = {tuning.successor_items}", f"has {file.num_latest}")
    say_ignored_dates(workspace, tuning, wanted=calendar.num_periods > 0, found=file.calendar.num_periods > 0)


def say_ignored_dates(workspace: Workspace, tuning: TuningSettings, *, wanted: bool, found: bool) -> None:
    """Say that a continued tuning does not follow ``tuning.dates``, if the earlier model decides otherwise.

    Args:
        wanted: whether a new model would read dates.
        found: whether the earlier model reads dates.
    """
    if wanted != found:
        _say(workspace, f"dates = {str(tuning.dates).lower()}", "reads dates" if found else "reads no dates")


def _say(workspace: Workspace, setting: str, earlier: str) -> None:
    workspace.progress.say(
        f"tuning.{setting} is ignored: the earlier model {earlier}, and a tuning that continues from it keeps this; to"
        " change it, tune from the backbone without --from"
    )


def item_texts(workspace: Workspace, lineage: Lineage, catalog: Catalog) -> TextVectors:
    """Return the text vectors of all items with text; those of items that came later are computed now.

    Without text vectors in the lineage, as for external codes, no item has one.
    """
    if lineage.text is None:
        return TextVectors(np.zeros(0, dtype=np.int32), np.zeros((0, 1), dtype=np.float32))
    known = TextVectors.load(workspace.intact(lineage.text, TEXT_VECTORS))
    missing = _without_vector(known, catalog)
    if not len(missing):
        return known
    new = text_vectors(workspace, lineage, catalog, missing)
    return TextVectors(np.concatenate([known.item_index, new.item_index]), np.concatenate([known.vectors, new.vectors]))


def later_texts(workspace: Workspace, text: RunRecord, catalog: Catalog) -> dict[int, str]:
    """Return the texts, by item index, of the items that came after a run of text vectors."""
    missing = _without_vector(TextVectors.load(workspace.intact(text, TEXT_VECTORS)), catalog)
    texts = catalog_texts(catalog)
    return {int(item): texts[item] for item in missing}


def _without_vector(known: TextVectors, catalog: Catalog) -> NDArray[np.int32]:
    """Return the items that have a text but no vector, ascending."""
    has_text = np.array([bool(text) for text in catalog_texts(catalog)], dtype=bool)
    has_text[known.item_index[known.item_index < len(has_text)]] = False
    return np.flatnonzero(has_text).astype(np.int32)


@dataclass(frozen=True)
class _Night:
    """The day on which the lists of all users are made, and the interactions of which those before it are counted."""

    day: int
    known: Sequences
    days: Ints  # (n,) day of each of these interactions


@dataclass(frozen=True)
class SplitMoments:
    """The day for which lists of a split are made, and what was popular then.

    Attributes:
        sequences: all interactions; with cuts in time for a split in time.
        split: the split of the histories.
        train_cut: the part of the interactions that leave-one-out may count.
    """

    sequences: Sequences
    split: Split
    train_cut: TrainCut

    def of(self, num_items: int, *, is_dated: bool) -> Moments:
        """Return the moment of each user, and the popularity of items at these moments.

        The docstring of ``events`` describes the moments and the argument.
        """
        return self.events(num_items, is_dated=is_dated).moments()

    def days(self) -> Ints:
        """Return the day for which each user's list is made, ``(U,)``; ``UNKNOWN_DAY`` where no time is known.

        For serving, it is the day after the newest interaction. Under a split in time, it is the day of the cut. Under
        leave-one-out, it is the day of the latest item of the user's history.
        """
        return self._days(self._night())

    def events(self, num_items: int, *, is_dated: bool) -> MomentEvents:
        """Return the moment of each user, and the interactions that are counted for the popularity at the moments.

        The moments are those of ``days``. If all users have the same one, all interactions before it are counted. Under
        leave-one-out, only training interactions are counted.

        Args:
            is_dated: whether the model reads dates; otherwise every moment is unknown.
        """
        if not is_dated:
            return MomentEvents.unknown(len(self.sequences), num_items)
        night = self._night()
        if night is None:
            counted = train_part(self.sequences, self.train_cut, 1, num_items)
            days = day_numbers(counted.times)
        else:
            counted, days = night.known, night.days
        events = ItemEvents.of(days, counted.items, num_items, counted.weights)
        return MomentEvents(events, self._days(night), None if night is None else night.day)

    def _days(self, night: _Night | None) -> Ints:
        if night is None:
            return day_numbers(Histories.under(self.sequences, self.split).latest_times())
        return np.full(len(self.sequences), night.day)

    def _night(self) -> _Night | None:
        """Return the night on which the lists of all users are made; None under leave-one-out."""
        cut = None if self.sequences.cuts is None else self.sequences.cuts.of_history(self.split)
        if self.split != "serve" and cut is None:
            return None
        known = known_part(self.sequences, self.split)
        days = day_numbers(known.times)
        if cut is None:
            dated = days[days != UNKNOWN_DAY]
            return _Night((int(dated.max()) if len(dated) else 0) + 1, known, days)
        # users who cannot be split count nowhere
        days = np.where(dated_users(self.sequences)[row_of(known.lengths)], days, UNKNOWN_DAY)
        return _Night(cut // DAY, known, days)

    def successors(self, num_items: int) -> SuccessorTable:
        """Count how often items follow each other in the interactions that lists of the split may count."""
        cut = counted_cut(self.sequences.cuts, self.split, self.train_cut)
        return SuccessorTable.count(train_part(self.sequences, cut, 1, num_items), num_items)
