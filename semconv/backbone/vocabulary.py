"""The words of queries that may enter the vocabulary of the built-in backbone.

A tokenizer file lists the words that it learned, and no command can erase a user from it. So it learns a word of a query
only if an item's text has the word or at least :data:`USERS_PER_WORD` users wrote it. Words are the pieces into which
the tokenizer splits a text: runs of letters, of digits, and of other signs. No token is longer than a piece.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tokenizers import pre_tokenizers

USERS_PER_WORD = 5  # fewer users than this could be told from the word


def pieces_of_words() -> pre_tokenizers.ByteLevel:
    """Return the pre-tokenizer of the built-in backbone, which splits a text into words."""
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def shared_words(item_texts: Iterable[str], queries: Sequence[tuple[int, str]]) -> Iterator[str]:
    """Yield each word of the queries that a tokenizer may learn, as often as it occurs, with the blank before it.

    Args:
        item_texts: text of the items; all of its words may be learned.
        queries: user and query, sorted by user.
    """
    words = _Words()
    allowed = {word.lstrip() for text in item_texts for word in words.of(text)}
    users: Counter[str] = Counter()
    for _, texts in itertools.groupby(queries, key=lambda row: row[0]):
        users.update({word.lstrip() for _, text in texts for word in words.of(text)})
    allowed.update(word for word, number in users.items() if number >= USERS_PER_WORD)
    return (word for _, text in queries for word in words.of(text) if word.lstrip() in allowed)


class _Words:
    """Splits texts into words. Each distinct run of characters between blanks is split once."""

    def __init__(self) -> None:
        self._splitter = pieces_of_words()
        self._known: dict[str, list[str]] = {}

    def of(self, text: str) -> Iterator[str]:
        for number, run in enumerate(text.split()):
            yield from self._split(f" {run}" if number else run)

    def _split(self, run: str) -> list[str]:
        if run not in self._known:
            self._known[run] = [run[start:end] for _, (start, end) in self._splitter.pre_tokenize_str(run)]
        return self._known[run]
