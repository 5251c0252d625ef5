"""An index of the words of all items, and BM25 scores from it (Robertson & Zaragoza 2009, eq. 3.15).

The index is a set of flat arrays, 12 bytes for each word of each item. So a process can map it from a file and read only
the words of a question. DuckDB's search extension needs a download, and no library for BM25 is a dependency; the index
is one sort of pairs of word and item.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semconv.ragged import lengths_of, offsets_of, row_of
from semconv.texts.words import NumberedWords, is_function_word, words

_K1: Final = 1.2
_B: Final = 0.75
_KIND: Final = "="  # begins the name of a kind in the vocabulary; no word contains it
_MOST_KIND_WORDS: Final = 8
_NO_ITEMS: Final = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class ItemTexts:
    """The texts of I items that questions are matched with."""

    titles: Sequence[str | None]  # (I,)
    others: Sequence[Sequence[str | None]]  # columns of I texts each, such as descriptions and brands
    kinds: Sequence[Sequence[str] | None]  # (I,) names of the kinds of each item, such as its categories


@dataclass(frozen=True)
class Matches:
    """The items whose texts match one question.

    Attributes:
        items: ``(m,)`` item index, ascending: the items with a word of the question.
        scores: ``(m,)`` BM25 scores of whole texts.
        title_scores: ``(m,)`` BM25 scores of titles.
        shares: ``(m,)`` share of the question that the text contains, 0 to 1; rare words count more (idf).
        named: ``(n,)`` items that the question names: of the kinds in it, or with all of its words in their titles.
        kinds: names of the kinds in the question.
        is_known: whether an item has a word of the question that says something about it.
        unknown: words of the question that no item has.
    """

    items: NDArray[np.int64]
    scores: NDArray[np.float32]
    title_scores: NDArray[np.float32]
    shares: NDArray[np.float32]
    named: NDArray[np.int64]
    kinds: tuple[str, ...]
    is_known: bool
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class WordIndex:
    """The items that contain each word.

    Attributes:
        letters: ``(L,)`` UTF-8 letters of the sorted vocabulary: words, and names of kinds after the sign ``=``.
        letter_offsets: ``(V + 1,)`` index at which each entry of the vocabulary begins.
        offsets: ``(V + 1,)`` index at which the items of each entry begin.
        items: ``(P,)`` item index, ascending for each entry.
        weights: ``(P,)`` BM25 score of the whole text for a question of this word.
        title_weights: ``(P,)`` the same for the title; 0 where the title does not contain the word.
        idf: ``(V,)`` inverse document frequency; 0 for kinds.
        num_items: ``(2,)`` number of items, and of items with a word.
    """

    letters: NDArray[np.uint8]
    letter_offsets: NDArray[np.int64]
    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    weights: NDArray[np.float32]
    title_weights: NDArray[np.float32]
    idf: NDArray[np.float32]
    num_items: NDArray[np.int64]

    @classmethod
    def build(cls, texts: ItemTexts) -> WordIndex:
        """Index the words of all items. An item without text is never found."""
        count, numbers = len(texts.titles), dict[str, int]()
        body = NumberedWords.of((_all_words(texts, item) for item in range(count)), numbers)
        title = NumberedWords.of((words(text or "", of_item=True) for text in texts.titles), numbers)
        kind = NumberedWords.of((_kind_entries(names or ()) for names in texts.kinds), numbers)
        names = [name.encode() for name in numbers]
        order = sorted(range(len(names)), key=names.__getitem__)
        rank = np.empty(len(names), dtype=np.int64)
        rank[order] = np.arange(len(names))
        of_body, of_title, of_kind = (_Counted.of(part, rank, count) for part in (body, title, kind))
        weights, idf = of_body.bm25(len(names))
        keys = np.concatenate([of_body.keys, of_kind.keys])
        title_weights = np.zeros(len(keys), dtype=np.float32)
        title_weights[np.searchsorted(of_body.keys, of_title.keys)] = of_title.bm25(len(names))[0]
        every = np.argsort(keys, kind="stable")
        entry, item = np.divmod(keys[every], max(count, 1))
        return cls(
            np.frombuffer(b"".join(names[number] for number in order), dtype=np.uint8),
            offsets_of(lengths_of(names)[order]),
            offsets_of(np.bincount(entry, minlength=len(names))),
            item.astype(np.int32),
            np.concatenate([weights, np.zeros(len(of_kind.keys))])[every].astype(np.float32),
            title_weights[every],
            idf.astype(np.float32),
            np.array([count, np.count_nonzero(of_body.lengths)]),
        )

    @cached_property
    def kinds(self) -> NDArray[np.int64]:
        """The most special kind of each item ``(I,)``, as the number of its entry; -1 for none.

        It is the item's kind with the fewest items, without kinds of one item and kinds of more than half of the items.
        """
        size = len(self.letter_offsets) - 1
        first, end = (bisect_left(range(size), sign, key=self._name) for sign in (b"=", b">"))
        counts = np.diff(self.offsets[first : end + 1])
        rows = slice(int(self.offsets[first]), int(self.offsets[end]))
        entry, items = np.repeat(np.arange(first, end), counts), self.items[rows]
        order = np.argsort(-np.repeat(counts, counts), kind="stable")  # the smallest kind of an item is written last
        order = order[_is_kind(np.repeat(counts, counts)[order], int(self.num_items[1]))]
        kinds = np.full(int(self.num_items[0]), -1, dtype=np.int64)
        kinds[items[order]] = entry[order]
        return kinds

    def match(self, question: str) -> Matches:
        """Return the items that match a question. Words that more than half of the items have say nothing."""
        asked = words(question)
        entries, unknown = dict[int, int](), list[str]()
        for word in asked:
            entry = self._entry(word)
            if entry is None:
                unknown += [] if word in unknown or is_function_word(word) else [word]
            elif not is_function_word(word) and 2 * self._count(entry) <= self.num_items[1]:
                entries[entry] = entries.get(entry, 0) + 1
        total = np.zeros((4, int(self.num_items[0])), dtype=np.float32)  # body, title, share, number of title words
        all_idf = sum(float(self.idf[entry]) for entry in entries)
        for entry, times in entries.items():
            rows = slice(int(self.offsets[entry]), int(self.offsets[entry + 1]))
            found, in_title = self.items[rows], self.title_weights[rows]
            total[0, found] += times * self.weights[rows]
            total[1, found] += times * in_title
            total[2, found] += self.idf[entry] / all_idf
            total[3, found] += in_title > 0
        items = np.flatnonzero(total[2])
        kinds, named = self._kinds(asked)
        if not kinds and entries:
            named = np.flatnonzero(total[3] == len(entries))
        scores, title_scores, shares = total[:3, items]
        return Matches(items, scores, title_scores, shares, named, kinds, bool(entries), tuple(unknown))

    def _kinds(self, asked: list[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
        """Return the kinds in a question, and the items of all of them, or of any if no item is of all.

        Longer names go first, and a word belongs to one name: "coffee mug" names the kind coffee mug and not coffee.
        """
        is_free = [True] * len(asked)
        found: dict[str, NDArray[np.int64]] = {}
        for size in range(min(len(asked), _MOST_KIND_WORDS), 0, -1):
            for start in range(len(asked) - size + 1):
                name = " ".join(asked[start : start + size])
                if not all(is_free[start : start + size]) or (entry := self._entry(_KIND + name)) is None:
                    continue
                if 2 * self._count(entry) <= self.num_items[1]:
                    is_free[start : start + size] = [False] * size
                    found[name] = self.items[self.offsets[entry] : self.offsets[entry + 1]].astype(np.int64)
        if not found:
            return (), _NO_ITEMS
        members, counts = np.unique(np.concatenate(list(found.values())), return_counts=True)
        of_all = members[counts == len(found)]
        return tuple(found), of_all if len(of_all) else members

    def _entry(self, name: str) -> int | None:
        """Return the number of an entry of the vocabulary, or None if no item has it."""
        wanted, size = name.encode(), len(self.letter_offsets) - 1
        number = bisect_left(range(size), wanted, key=self._name)
        return number if number < size and self._name(number) == wanted else None

    def _name(self, number: int) -> bytes:
        return self.letters[self.letter_offsets[number] : self.letter_offsets[number + 1]].tobytes()

    def _count(self, entry: int) -> int:
        return int(self.offsets[entry + 1] - self.offsets[entry])


def _is_kind(counts: NDArray[np.int64], num_texts: int) -> NDArray[np.bool_]:
    """Return which kinds tell items apart: kinds of several items, and of at most half of all items."""
    return np.asarray((counts > 1) & (2 * counts <= num_texts))


def _all_words(texts: ItemTexts, item: int) -> list[str]:
    """Return the words of an item's title, other texts and kinds."""
    columns = [texts.titles[item], *(column[item] for column in texts.others), *(texts.kinds[item] or ())]
    return [word for text in columns if text for word in words(text, of_item=True)]


def _kind_entries(names: Sequence[str]) -> set[str]:
    """Return the entries of the vocabulary for the kinds of an item."""
    folded = (words(name) for name in names if name)
    return {_KIND + " ".join(parts) for parts in folded if 0 < len(parts) <= _MOST_KIND_WORDS}


@dataclass(frozen=True)
class _Counted:
    """The distinct pairs of entry and item.

    Attributes:
        keys: ``(P,)`` entry times number of items, plus item; ascending.
        frequencies: ``(P,)`` how often the item has the entry.
        lengths: ``(I,)`` number of words of each item.
    """

    keys: NDArray[np.int64]
    frequencies: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, words: NumberedWords, rank: NDArray[Any], num_items: int) -> _Counted:
        """Count the pairs of entry and item; ``rank`` ``(V,)`` is the place of each number in the sorted vocabulary."""
        keys = rank[words.numbers] * max(num_items, 1) + row_of(words.lengths)
        return cls(*np.unique(keys, return_counts=True), words.lengths)

    def bm25(self, num_entries: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the BM25 weight of each pair, and the idf of each entry, which is never negative."""
        count = len(self.lengths)
        entry, item = np.divmod(self.keys, max(count, 1))
        containing = np.bincount(entry, minlength=num_entries)
        idf = np.where(containing > 0, np.log1p((count - containing + 0.5) / (containing + 0.5)), 0.0)
        mean = max(float(self.lengths.mean()) if count else 0.0, 1e-12)
        damping = _K1 * (1 - _B + _B * self.lengths[item] / mean)
        return idf[entry] * self.frequencies * (_K1 + 1) / (self.frequencies + damping), idf
