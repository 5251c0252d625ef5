"""Read everything that answers to questions need: items, text vectors, the tuned model and the blend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv import columns
from semconv.backbone.text_vectors import TextVectors
from semconv.blend.tables import BlendUsers
from semconv.columns import Split
from semconv.data.histories import Histories
from semconv.data.store import Catalog, ItemFacets, Sequences
from semconv.questions.features import Askers, QuestionScorer
from semconv.questions.index import WordIndex
from semconv.questions.vectors import QuestionVectors
from semconv.runs.files import TEXT_VECTORS
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages.blend.files import load_blend
from semconv.stages.blend.run import list_days
from semconv.stages.embed.text import text_embedder
from semconv.stages.lists.filters import allowed_items
from semconv.stages.tune.item_setup import SplitMoments
from semconv.stages.tune.tuned import Tuned, TunedFiles


def question_lineage(workspace: Workspace) -> Lineage | None:
    """Return the lineage of the model, the blend or the text vectors that answer questions; None before the first run."""
    if workspace.settings.blend.model:
        if workspace.latest(columns.FINETUNE) is not None:
            return workspace.model_lineage()
    elif (blend := workspace.blend_without_model()) is not None:
        return Lineage.of(workspace.store, blend)
    text = workspace.latest(columns.EMBED_TEXT)
    return None if text is None else Lineage.of_vectors(workspace.store, [text])


@dataclass(frozen=True)
class Shop:
    """The items of a project, read in one snapshot.

    Attributes:
        allowed: ``(I,)`` items that may be answers.
        sequences: all interactions; None where no history is needed.
    """

    catalog: Catalog
    facets: ItemFacets
    allowed: NDArray[np.bool_]
    sequences: Sequences | None

    @classmethod
    def read(
        cls,
        workspace: Workspace,
        where: str | None,
        *,
        with_users: bool,
        lineage: Lineage | None,
        queries: bool = False,
    ) -> Shop:
        """Read the items that pass the filters and, ``with_users``, the interactions under the split of the lineage."""
        with workspace.store.snapshot():
            catalog, facets = workspace.store.catalog(), workspace.store.item_facets()
            allowed = allowed_items(workspace, catalog, where)
            sequences = None
            if with_users:
                split = None if lineage is None or not has_split(lineage) else lineage.split
                sequences = workspace.events(queries=queries, split=split)
        return cls(catalog, facets, allowed, sequences)


def has_split(lineage: Lineage) -> bool:
    """Return whether the runs of a lineage record how interactions were split; text vectors alone do not."""
    return lineage.tuned is not None or lineage.find(columns.EMBED_BEHAVIOR) is not None


@dataclass(frozen=True)
class Answering:
    """Everything that answers questions under one split.

    Attributes:
        scorer: proposes items and computes their features.
        tuned: the loaded model; None without a model.
    """

    workspace: Workspace
    shop: Shop
    scorer: QuestionScorer
    tuned: Tuned | None
    split: Split

    @classmethod
    def load(
        cls,
        workspace: Workspace,
        lineage: Lineage | None,
        shop: Shop,
        index: WordIndex,
        popularity: NDArray[np.float64],
        *,
        with_model: bool,
        split: Split = "serve",
    ) -> Answering:
        """Load the text vectors, the blend and, ``with_model``, the tuned model.

        Args:
            index: the words of all items.
            popularity: interactions of each item; items that came later have none.
        """
        counts = np.zeros(len(shop.catalog))
        counts[: min(len(popularity), len(counts))] = popularity[: len(counts)]
        scorer = QuestionScorer(index, shop.allowed, counts)
        if lineage is None:
            return cls(workspace, shop, scorer, None, split)
        blend = None
        if shop.sequences is not None and lineage.blend is not None:
            blend = load_blend(workspace, lineage.blend, lineage)
        scorer = replace(scorer, vectors=question_vectors(workspace, lineage, len(shop.catalog)), blend=blend)
        if not with_model or lineage.tuned is None:
            return cls(workspace, shop, scorer, None, split)
        settings = workspace.settings
        # Compiling takes longer than one search saves.
        as_it_is = replace(settings, recommend=replace(settings.recommend, compile=False))
        moments = None
        if shop.sequences is not None:
            moments = SplitMoments(shop.sequences, split, lineage.split["train_cut"])
        files = TunedFiles.read(workspace, lineage, shop.catalog, moments)
        tuned = files.load(as_it_is, shop.allowed, workspace.progress.say)
        return cls(workspace, shop, replace(scorer, searcher=tuned.searcher), tuned, split)

    def prompts(self, texts: Sequence[str], limit: int) -> list[Any] | None:
        """Return the model's inputs for questions, cut to their last ``limit`` tokens; None without a model."""
        if self.tuned is None:
            return None
        encoder, maker = self.tuned.encoder, self.tuned.maker
        return [maker.of_query(encoder.query_prompt(text)[-limit:]) for text in texts]

    def num_tokens(self, text: str) -> int:
        """Return the number of tokens of the model's prompt for a question; 0 without a model."""
        return 0 if self.tuned is None else len(self.tuned.encoder.query_prompt(text))

    def askers(self, users: NDArray[np.int32]) -> Askers:
        """Return the histories of users under the split, with the items that are no answers to them."""
        settings, sequences = self.workspace.settings, self.shop.sequences
        assert sequences is not None
        histories = Histories.under(sequences, self.split, settings.recommend.seen_days)
        seen = histories.masked_items(users, is_masked=settings.recommend.seen == "masked")
        for_blend = None
        if self.scorer.blend is not None:
            items, lengths = histories.latest(users, settings.split.history_length)
            for_blend = BlendUsers(items, lengths, list_days(sequences, histories, self.split)[users], seen)
        return Askers(None if self.tuned is None else self.tuned.prompts(histories, users), for_blend, seen)


def question_vectors(workspace: Workspace, lineage: Lineage, num_items: int) -> QuestionVectors | None:
    """Return the comparison of questions and items by text vectors; None if the lineage has no text vectors."""
    record = lineage.text
    if record is None:
        return None
    vectors = TextVectors.load(workspace.intact(record, TEXT_VECTORS))
    embedder = text_embedder(workspace, record, lineage.backbone)

    def embed(texts: Sequence[str]) -> TextVectors:
        return embedder.embed(np.arange(len(texts), dtype=np.int32), texts)

    return QuestionVectors.of(vectors, num_items, embed)
