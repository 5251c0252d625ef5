"""Split texts of any script into words that can be compared.

Letter case, accents, forms of one letter and the English plural make no difference. Scripts that write no blanks between
words are cut into overlapping pairs of characters.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_ACCENTS: Final = re.compile("[\u0300-\u036f]")
# Han, kana, Thai, Lao, Myanmar, Khmer.
_UNSPACED: Final = re.compile(
    "([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\U00020000-\U0003ffff]+)"
)
_IRREGULAR: Final = {
    "lens": "lens",
    "lenses": "lens",
    "men": "man",
    "women": "woman",
    "children": "child",
    "feet": "foot",
    "knives": "knife",
    "shelves": "shelf",
}
# English words that ask for something and say nothing about it. In other languages, words that most items have are left out.
_FUNCTION_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        "a about am an and any are as at be but by buy can could do for from get give good had has have her him his how i id"
        " im in is it its like look looking me my need of on or our please recommend sale search see sell she show so some"
        " something that the their them there these they this to too us want wanted was we what when where which who will"
        " wish with would you your",
    )
)


class _Letters(dict[int, int | None]):
    """Maps letters, digits and marks to themselves, apostrophes to nothing, and all other characters to a blank."""

    def __missing__(self, code: int) -> int:
        self[code] = code if unicodedata.category(chr(code))[0] in "LNM" else 32
        return self[code] or 32


_LETTERS: Final = _Letters(dict.fromkeys(map(ord, "'`\u2018\u2019\u02bc\u00ad\u200b\u200c\u200d")))


def words(text: str, *, of_item: bool = False) -> list[str]:
    """Return the words of a text in order, folded for comparison.

    Args:
        of_item: also return the single characters of scripts without blanks, so that a question of one character finds
            them.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _ACCENTS.sub("", unicodedata.normalize("NFKD", text).casefold()))
    found = text.lower().translate(_LETTERS).split()
    if text.isascii():
        return [_singular(word) for word in found]
    return [part for word in found for part in _parts(word, of_item)]


@dataclass(frozen=True)
class NumberedWords:
    """The words of T texts one after the other, as numbers.

    Attributes:
        numbers: ``(n,)`` the number of each word.
        lengths: ``(T,)`` number of words of each text.
    """

    numbers: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Iterable[Iterable[str]], known: dict[str, int]) -> NumberedWords:
        """Number the words of texts; ``known`` gets the words that it does not have yet."""
        numbers, ends = array("q"), array("q")
        for text in texts:
            numbers.extend(known.setdefault(word, len(known)) for word in text)
            ends.append(len(numbers))
        starts = np.array([0, *ends], dtype=np.int64)
        return cls(np.array(numbers, dtype=np.int64), starts[1:] - starts[:-1])


def is_function_word(word: str) -> bool:
    """Return whether a folded word is an English word that says nothing about an item."""
    return word in _FUNCTION_WORDS


def _parts(word: str, of_item: bool) -> list[str]:
    """Return a word itself, or the pairs of characters of its parts in scripts without blanks."""
    if word.isascii():
        return [_singular(word)]
    result: list[str] = []
    for number, part in enumerate(_UNSPACED.split(word)):
        if number % 2 == 0:
            result += [part] if part else []
            continue
        pairs = [part[place : place + 2] for place in range(len(part) - 1)]
        result += [*pairs, *part] if of_item and pairs else pairs or [part]
    return result


def _singular(word: str) -> str:
    """Return an English word without the ending of a plural; other words stay as they are (Harman 1991, S stemmer)."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or word[-1] != "s" or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    shorter = word[:-2] if word.endswith(("xes", "ches", "shes", "sses", "zzes")) else word[:-1]
    return _IRREGULAR.get(shorter, shorter)
