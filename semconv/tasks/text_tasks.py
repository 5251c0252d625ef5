"""The tasks whose prompts contain text: find the item with a title and description, or the item for a user's query.

Each task is one object with its wordings and the choice of its samples. ``TEXT_TASKS`` lists the objects of all tasks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from semconv.data.store import Sequences
from semconv.settings.tasks import TaskSettings
from semconv.tasks.data import Candidates
from semconv.tasks.wordings import clean, closing, opening


@dataclass(frozen=True)
class TextSource:
    """The data from which the tasks with text choose their samples."""

    train: Sequences  # n training interactions of items that have codes, with their queries
    is_label: NDArray[np.bool_]  # (n,) False where the user dislikes the item
    has_codes: NDArray[np.bool_]  # (I,)
    titles: Sequence[str | None]  # (I,)
    descriptions: Sequence[str | None]  # (I,)


class TextTask(ABC):
    """A task whose prompt contains text and whose label is one item."""

    name: ClassVar[str]  # name in settings, step logs and exported prompts
    plural: ClassVar[str]  # name of several samples of the task, in progress lines
    without_samples: ClassVar[str]  # why the task has no samples, in a progress line
    record_name: ClassVar[str]  # the array that records the samples of a tuning (``semconv.tasks.replay``)
    is_from_interactions: ClassVar[bool]  # the words belong to an interaction; False: they belong to an item
    wordings: ClassVar[tuple[tuple[str, ...], ...]]  # the fixed pieces before, between and after the texts of a sample

    @abstractmethod
    def share(self, settings: TaskSettings) -> float:
        """Return the share of the task's samples that an epoch draws; 0 if the task is off."""

    @abstractmethod
    def candidates(self, source: TextSource) -> Candidates:
        """Choose the samples from which every epoch draws."""

    def phrases(self) -> list[str]:
        """Return every fixed piece of the task's prompts."""
        pieces = []
        for before, *between, after in self.wordings:
            pieces += [opening(before), *between, closing(after)]
        return pieces

    def prompt(self, words: Sequence[str | None], wording: int) -> str:
        """Put the texts of a sample, one for each column of ``Candidates.words``, into one of the task's wordings.

        A missing text is left out, together with the fixed piece that would join it to the other text.
        """
        before, *between, after = self.wordings[wording]
        first, *others = [text for text in (clean(text or "") for text in words) if text] or [""]
        body = first + "".join(piece + text for piece, text in zip(between, others, strict=False))
        return opening(before) + body + closing(after)


class ItemTextTask(TextTask):
    """The text task: find the item that has a title and a description."""

    name = "text"
    plural = "texts"
    without_samples = "no item with codes has a title or a description"
    record_name = "text_items"
    is_from_interactions = False
    wordings = (
        ("Which item is named ", " and has the description ", "? Answer with the item."),
        ("An item is called ", " and described as ", ", can you tell me which item it is?"),
        ("Find the item with the title ", ". About it we know: ", ". Which one is it?"),
        ("The catalogue lists ", ", with the words: ", ". Give its item."),
        ("Somebody looks for ", ", told to be ", ". Name the item."),
        ("Title: ", ". Description: ", ". Item?"),
        ("What item does the name ", " with the text ", " stand for?"),
        ("Match this product, ", ", explained by ", ", to its item."),
        ("We sell ", ". The label says ", ". Say which item that is."),
    )

    def share(self, settings: TaskSettings) -> float:
        """Return the share of the items with text that an epoch draws."""
        return (1.0 if settings.text_share is None else settings.text_share) if settings.text else 0.0

    def candidates(self, source: TextSource) -> Candidates:
        """Choose the items that have codes and a title or a description."""
        has_text = [
            bool((title or "").strip() or (description or "").strip())
            for title, description in zip(source.titles, source.descriptions, strict=True)
        ]
        items = np.flatnonzero(source.has_codes & np.array(has_text, dtype=bool)).astype(np.int32)
        words = tuple([texts[item] for item in items.tolist()] for texts in (source.titles, source.descriptions))
        return Candidates(items, np.full(len(items), -1, dtype=np.int64), words)


class QueryTask(TextTask):
    """The query task: find the item that answers a user's query."""

    name = "query"
    plural = "queries"
    without_samples = "no training interaction has a query"
    record_name = "has_query"
    is_from_interactions = True
    wordings = (
        ("A user says: ", ". Which item answers that?"),
        ("You meet a user's query: ", ". Please respond to this user by selecting an appropriate item"),
        ("Somebody asks for this: ", ". Choose an item for them."),
        ("The request reads ", ". Give the item that suits it."),
        ("In a shopper's own words: ", ". What do they mean?"),
        ("Search: ", ". Best item?"),
        ("This was written about an item: ", ". Which item was it?"),
        ("A person describes a wish as ", ". Select one item."),
        ("Wanted: ", ". Recommend an item."),
    )

    def share(self, settings: TaskSettings) -> float:
        """Return the share of the interactions with a query that an epoch draws."""
        return settings.query_share if settings.query else 0.0

    def candidates(self, source: TextSource) -> Candidates:
        """Choose the interactions that have a query and an item that the user does not dislike."""
        queries = source.train.queries or []
        has_query = np.array([bool(text and text.strip()) for text in queries], dtype=bool)
        rows = np.flatnonzero(has_query & source.is_label[: len(queries)])
        return Candidates(source.train.items[rows], rows, ([queries[row] for row in rows.tolist()],))


TEXT: Final = ItemTextTask()
QUERY: Final = QueryTask()
# The order of random draws and of sample counts. Add a new task at the end.
TEXT_TASKS: Final[tuple[TextTask, ...]] = (TEXT, QUERY)
