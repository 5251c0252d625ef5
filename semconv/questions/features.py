"""The candidates for the answers to questions in words, and the features by which they are ranked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semconv.blend.blend import Blend
from semconv.blend.candidates import Candidates, with_beams
from semconv.blend.tables import BlendUsers
from semconv.columns import SOURCE_NEIGHBOR
from semconv.item_head.search import ItemSearcher
from semconv.questions.index import Matches, WordIndex
from semconv.questions.vectors import QuestionVectors
from semconv.search.search import Searcher, SearchResult

WORDS: Final = "words"
TITLE: Final = "words in the title"
SHARE: Final = "share of the words"
TEXT: Final = "text vectors"
POPULARITY: Final = "popularity"
MODEL: Final = "model"
USER_MODEL: Final = "model with the history"
USER_BLEND: Final = "blend of the history"
_OF_TEXT: Final = (WORDS, TITLE, SHARE)

_MOST_BY_WORDS: Final = 60
_MOST_NAMED: Final = 60
_BEST_BY_WORDS, _MOST_KINDS, _MOST_OF_KIND = 10, 2, 20  # of the frequent kinds among the best items by words
_MOST_BY_VECTORS: Final = 20
_MOST_POPULAR: Final = 20
_SCORES_AT_ONCE: Final = 1 << 24  # questions times items of a block


@dataclass(frozen=True)
class Askers:
    """The histories of the users who ask; row b belongs to question b.

    Attributes:
        prompts: the model's inputs for the histories; None without a model.
        for_blend: the histories as a blend needs them; None without a blend.
        seen: arrays of item_index that are no answer, or None.
    """

    prompts: Sequence[Any] | None
    for_blend: BlendUsers | None
    seen: Sequence[NDArray[np.int32]] | None

    def part(self, start: int, stop: int) -> Askers:
        """Return the users from index ``start`` up to, but without, index ``stop``."""
        return Askers(
            None if self.prompts is None else self.prompts[start:stop],
            None if self.for_blend is None else self.for_blend.part(start, stop),
            None if self.seen is None else self.seen[start:stop],
        )


@dataclass(frozen=True)
class Questions:
    """B questions in words.

    Attributes:
        texts: their texts.
        prompts: the model's inputs for the texts; None without a model.
        askers: the users who ask; None for questions of nobody.
    """

    texts: Sequence[str]
    prompts: Sequence[Any] | None = None
    askers: Askers | None = None


@dataclass(frozen=True)
class Scored:
    """The candidates of B questions with their features.

    Attributes:
        candidates: the pairs of question and item; ``candidates.users`` are questions.
        names: names of the F features.
        features: ``(n, F)``, NaN where unknown.
        is_named: ``(n,)`` whether the question names the item (``Matches.named``).
        kinds: ``(n,)`` the most special kind of each candidate, -1 for none (``WordIndex.kinds``).
        matches: the matches of each question.
        by_model: ``(B, W)`` the items that the model alone finds, -1 for none; None without a model.
    """

    candidates: Candidates
    names: tuple[str, ...]
    features: NDArray[np.float32]
    is_named: NDArray[np.bool_]
    kinds: NDArray[np.int64]
    matches: list[Matches]
    by_model: NDArray[np.int32] | None


@dataclass(frozen=True)
class QuestionScorer:
    """Proposes items as answers, and computes their features.

    Attributes:
        index: the words of all I items.
        allowed: ``(I,)`` items that may be answers.
        popularity: ``(I,)`` interactions of each item.
        vectors: text vectors; None without.
        searcher: the search of the tuned model; None without a model.
        blend: ranks items for the histories of users; None without a blend.
    """

    index: WordIndex
    allowed: NDArray[np.bool_]
    popularity: NDArray[np.float64]
    vectors: QuestionVectors | None = None
    searcher: Searcher | ItemSearcher | None = None
    blend: Blend | None = None

    def names(self, *, has_users: bool) -> tuple[str, ...]:
        """Return the names of the features."""
        return (
            *_OF_TEXT,
            *([TEXT] if self.vectors is not None else []),
            POPULARITY,
            *([MODEL] if self.searcher is not None else []),
            *([USER_MODEL] if has_users and self.searcher is not None else []),
            *([USER_BLEND] if has_users and self.blend is not None else []),
        )

    def score(self, questions: Questions) -> Scored:
        """Propose items for every question and compute the features of all candidates.

        Raises:
            InputError: the search fails.
        """
        parts = list(self._blocks(questions))
        names = self.names(has_users=questions.askers is not None)
        starts = np.cumsum([0, *(len(part.matches) for part in parts)])
        columns = [
            [part.candidates.users + start for part, start in zip(parts, starts, strict=False)],
            [part.candidates.items for part in parts],
            [part.candidates.sources for part in parts],
        ]
        found = [part.by_model for part in parts if part.by_model is not None]
        return Scored(
            Candidates(*(np.concatenate(column) for column in columns)) if parts else Candidates.merged([]),
            names,
            np.concatenate([np.zeros((0, len(names)), np.float32), *(part.features for part in parts)]),
            np.concatenate([np.zeros(0, dtype=bool), *(part.is_named for part in parts)]),
            np.concatenate([np.zeros(0, dtype=np.int64), *(part.kinds for part in parts)]),
            [match for part in parts for match in part.matches],
            np.concatenate(found) if found else None,
        )

    def _blocks(self, questions: Questions) -> Iterator[Scored]:
        size = max(1, min(512, _SCORES_AT_ONCE // max(len(self.allowed), 1)))
        for start in range(0, len(questions.texts), size):
            stop = min(start + size, len(questions.texts))
            prompts = None if questions.prompts is None else questions.prompts[start:stop]
            askers = None if questions.askers is None else questions.askers.part(start, stop)
            yield self._block(Questions(questions.texts[start:stop], prompts, askers))

    def _block(self, questions: Questions) -> Scored:
        count, seen = len(questions.texts), None if questions.askers is None else questions.askers.seen
        matches = [self.index.match(text) for text in questions.texts]
        cosines = None if self.vectors is None else self.vectors.similarities(questions.texts)
        proposed = self._proposed(matches, cosines, seen)
        found, log_probs = None, None
        candidates = proposed
        if self.searcher is not None and questions.prompts is not None:
            others = proposed.table(count)
            found = self.searcher.search(questions.prompts, seen, others)
            candidates, log_probs = with_beams(proposed, proposed, others, found)
        table = {POPULARITY: np.log1p(self.popularity[candidates.items])}
        of_text, is_named = _text_features(matches, candidates, len(self.allowed))
        table |= of_text
        if cosines is not None:
            table[TEXT] = cosines[candidates.users, candidates.items]
        if log_probs is not None:
            table[MODEL] = log_probs
        if questions.askers is not None:
            table |= self._of_users(questions.askers, candidates, count)
        names = self.names(has_users=questions.askers is not None)
        features = np.stack([np.asarray(table[name], dtype=np.float32) for name in names], axis=1)
        features[np.isinf(features)] = np.nan
        by_model = None if found is None else found.items
        return Scored(candidates, names, features, is_named, self.index.kinds[candidates.items], matches, by_model)

    def _proposed(
        self,
        matches: list[Matches],
        cosines: NDArray[np.float32] | None,
        seen: Sequence[NDArray[np.int32]] | None,
    ) -> Candidates:
        """Return the best items by words, by text vectors and by popularity, and the best items that are named."""
        popular = np.argsort(-self.popularity, kind="stable")
        popular = popular[self.allowed[popular]]
        users, items = [], []
        for row, match in enumerate(matches):
            is_open = self.allowed.copy()
            if seen is not None:
                is_open[seen[row]] = False
            words = np.zeros(len(is_open), dtype=np.float32)
            words[match.items] = match.scores
            by_words = self._best(match.items[is_open[match.items]], words, _MOST_BY_WORDS)
            parts = [
                by_words,
                *(self._best(items_of, words, _MOST_OF_KIND) for items_of in self._of_kinds(by_words, is_open)),
                self._best(match.named[is_open[match.named]], words, _MOST_NAMED),
                popular[is_open[popular]][:_MOST_POPULAR],
            ]
            if cosines is not None:
                values = np.nan_to_num(cosines[row], nan=-2.0)
                parts.append(self._best(np.flatnonzero(is_open), values, _MOST_BY_VECTORS))
            chosen = np.unique(np.concatenate(parts).astype(np.int64))
            users.append(np.full(len(chosen), row))
            items.append(chosen)
        pairs = [np.concatenate([np.zeros(0, dtype=np.int64), *part]) for part in (users, items)]
        return Candidates.by(SOURCE_NEIGHBOR, pairs[0], pairs[1])

    def _of_kinds(self, best: NDArray[np.int64], is_open: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
        """Return the items of each kind that is frequent among the best items by words."""
        kinds = self.index.kinds[best[:_BEST_BY_WORDS]]
        found, counts = np.unique(kinds[kinds >= 0], return_counts=True)
        frequent = found[np.argsort(-counts, kind="stable")][:_MOST_KINDS]
        return [np.flatnonzero(is_open & (self.index.kinds == kind)) for kind in frequent.tolist()]

    def _best(self, items: NDArray[np.int64], scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Return the ``count`` best of some items by their score, of equal ones the most popular."""
        if len(items) > count:
            low = np.partition(scores[items], len(items) - count)[len(items) - count]
            items = items[scores[items] >= low]
        order = np.lexsort((items, -self.popularity[items], -scores[items]))
        return items[order[:count]]

    def _of_users(self, askers: Askers, candidates: Candidates, count: int) -> dict[str, NDArray[Any]]:
        """Return the features that come from the histories of users."""
        table: dict[str, NDArray[Any]] = {}
        if self.searcher is not None and askers.prompts is not None:
            others = candidates.table(count)
            found = self.searcher.search(askers.prompts, askers.seen, others)
            table[USER_MODEL] = _given(found, candidates)
        if self.blend is not None and askers.for_blend is not None:
            scores = np.full(len(candidates.items), np.nan)
            known = candidates.items < self.blend.tables.num_items
            for start, stop, block in self.blend.blocks(askers.for_blend):
                rows = np.flatnonzero((candidates.users >= start) & (candidates.users < stop) & known)
                features = block.features(candidates.users[rows] - start, candidates.items[rows])
                scores[rows] = self.blend.weights_without_model.scores(features)
            table[USER_BLEND] = scores
        return table


def _given(found: SearchResult, candidates: Candidates) -> NDArray[np.float32]:
    """Return the scores of candidates that a search scored as the rows of their table."""
    starts = np.searchsorted(candidates.users, np.arange(len(found.items)))
    column = np.arange(len(candidates.users)) - starts[candidates.users]
    scores: NDArray[np.float32] = found.other_scores[candidates.users, column]
    return scores


def _text_features(
    matches: list[Matches], candidates: Candidates, num_items: int
) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
    """Return the features of candidates from the words of their questions, 0 without a common word, and ``is_named``."""
    is_named = np.zeros(len(candidates.items), dtype=bool)
    table = np.zeros((len(_OF_TEXT), len(candidates.items)), dtype=np.float32)
    ends = np.searchsorted(candidates.users, np.arange(len(matches) + 1))
    for row, match in enumerate(matches):
        mine = slice(ends[row], ends[row + 1])
        position = np.full(num_items, -1, dtype=np.int64)
        position[match.items] = np.arange(len(match.items))
        at = position[candidates.items[mine]]
        for column, values in enumerate((match.scores, match.title_scores, match.shares)):
            table[column, mine][at >= 0] = values[at[at >= 0]]
        position[:] = -1
        position[match.named] = 0
        is_named[mine] = position[candidates.items[mine]] >= 0
    return dict(zip(_OF_TEXT, table, strict=True)), is_named
