"""Load a model that reads items for lists, blends and queries in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semconv.data.histories import Histories
from semconv.data.store import Catalog
from semconv.item_head.files import ItemFile
from semconv.item_head.prompts import ItemPrompt, Moments, PromptMaker
from semconv.item_head.successors import SuccessorTable
from semconv.runs.files import ITEM_PARTS
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.search.search import SearchSettings
from semconv.stages.tune.item_setup import SplitMoments, item_texts
from semconv.tasks.encoder import PromptEncoder

if TYPE_CHECKING:
    from semconv.item_head.search import ItemSearcher


@dataclass(frozen=True)
class ItemPrompts:
    """Makes the inputs of a model that reads items with their dates."""

    maker: PromptMaker
    moments: Moments

    def of_users(self, histories: Histories, users: NDArray[np.int32]) -> list[ItemPrompt]:
        """Return the items and dates of each user."""
        return self.maker.prompts(histories, users, self.moments)

    def of_query(self, tokens: NDArray[np.int64]) -> ItemPrompt:
        """Return the input of a query's prompt."""
        return ItemPrompt.of_query(tokens)


@dataclass(frozen=True)
class ItemSearchData:
    """The arrays that a model needs to score items, besides its weights.

    Attributes:
        folder: the folder of the tuning, with the file of the item parts.
        texts: ``(I, T)`` projected text vectors of all items.
        moments: the moment of each user, and what was popular then.
        successors: how often items follow each other; None for a model that does not score this, and for queries.
    """

    folder: Path
    texts: NDArray[np.float32]
    moments: Moments
    successors: SuccessorTable | None

    @classmethod
    def read(
        cls, workspace: Workspace, lineage: Lineage, catalog: Catalog, moments: SplitMoments | None
    ) -> ItemSearchData:
        """Read the arrays for the items and interactions of today.

        Args:
            moments: the day for which lists are made; None if every moment is unknown.
        """
        folder = workspace.intact(lineage.finetune, ITEM_PARTS).parent
        file, texts = ItemFile.load(folder), item_texts(workspace, lineage, catalog)
        return cls(
            folder,
            file.basis.project(texts.item_index, texts.vectors, len(catalog)),
            Moments.unknown(0, len(catalog))
            if moments is None
            else moments.of(len(catalog), is_dated=file.calendar.num_periods > 0),
            moments.successors(len(catalog)) if moments is not None and file.num_latest else None,
        )

    def searcher(
        self,
        model: Any,
        encoder: PromptEncoder,
        allowed: NDArray[np.bool_],
        settings: SearchSettings,
        length: int,
    ) -> tuple[ItemSearcher, ItemPrompts]:
        """Return the search of a loaded model, and the maker of its inputs.

        Args:
            model: the decoder.
            allowed: ``(I,)`` items that may be listed.
            length: largest number of items that the model reads.
        """
        from semconv.item_head.search import Counted, ItemSearcher

        file = ItemFile.load(self.folder)
        parts = file.parts(encoder.item_tokens, self.texts)
        coded = np.flatnonzero(encoder.has_codes).astype(np.int32)
        counted = Counted(self.moments.table, self.successors)
        searcher = ItemSearcher(model, parts, coded, allowed, counted, settings)
        return searcher, ItemPrompts(PromptMaker(file.calendar, encoder.has_codes, length), self.moments)
