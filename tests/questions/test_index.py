"""The index of words: BM25 against the independent formula of the benchmarks, and the items that a question names."""

import dataclasses

import numpy as np
import pytest

from benchmarks.peers.bm25 import Bm25
from semconv.questions.index import ItemTexts, WordIndex

TITLES = [
    "Red lamp",
    "red red chair",
    None,
    "blue vase",
    "green vase on a chair",
    "yellow rug",
    "old rug",
    "a rug of wool",
]


def index_of(titles: list[str | None], kinds: list[list[str] | None] | None = None) -> WordIndex:
    return WordIndex.build(ItemTexts(titles, (), kinds or [None] * len(titles)))


@pytest.mark.parametrize("question", ["RED chair, purple?", "red red", "vase", "wool rug"])
def test_scores_are_those_of_bm25(question: str) -> None:
    found = index_of(TITLES).match(question)
    expected = Bm25([title or "" for title in TITLES]).scores(question)
    assert found.items.tolist() == np.flatnonzero(expected).tolist()
    assert found.scores == pytest.approx(expected[found.items], rel=1e-5)
    assert found.title_scores == pytest.approx(found.scores)  # here titles are the whole text


def test_shares_unknown_words_and_words_of_most_items() -> None:
    index = index_of(["big lamp", "big chair", "big vase", "lamp and vase"])
    found = index.match("big lamp purple")
    assert found.unknown == ("purple",)
    assert found.items.tolist() == [0, 3]  # three of four items are big, so the word says nothing
    assert found.shares.tolist() == [1.0, 1.0]
    for nothing in ("big", "the", "purple", "...", ""):
        assert not index.match(nothing).is_known
        assert len(index.match(nothing).items) == 0


def test_other_texts_count_less_for_titles() -> None:
    index = WordIndex.build(ItemTexts(["lamp", "vase", "rug"], (["for a desk", None, "warm"],), [None] * 3))
    found = index.match("desk lamp")
    assert found.items.tolist() == [0]
    assert 0 < found.title_scores[0] < found.scores[0]


KINDS = [
    ["coffee", "Coffee mugs"],
    ["coffee", "coffee mug"],
    ["coffee", "kettle"],
    ["hiking", "tent"],
    ["hiking"],
    [],
    None,
]
NAMES = ["vintage mug", "retro mug", "old kettle", "trekking shelter", "boot", "odd thing", "other thing"]


@pytest.mark.parametrize(
    ("question", "kinds", "named"),
    [
        ("a coffee mug for me", ("coffee mug",), [0, 1]),  # and not all of coffee
        ("COFFEE MUGS", ("coffee mug",), [0, 1]),
        ("coffee", ("coffee",), [0, 1, 2]),
        ("a kettle for coffee", ("kettle", "coffee"), [2]),  # of both kinds
        ("kettle or tent", ("kettle", "tent"), [2, 3]),  # nothing is both
        ("retro mugs", (), [1]),  # no kind, but all words are in a title
        ("mug with pictures of boots", (), []),
        ("tea", (), []),
    ],
)
def test_a_question_names_kinds_or_titles(question: str, kinds: tuple[str, ...], named: list[int]) -> None:
    found = index_of(list(NAMES), list(KINDS)).match(question)
    assert found.kinds == kinds
    assert found.named.tolist() == named


def test_a_kind_of_most_items_names_nothing() -> None:
    found = index_of(["a", "b", "c"], [["card"], ["card"], None]).match("a card")
    assert found.kinds == ()


def test_scripts_without_blanks_are_found() -> None:
    index = index_of(["緑茶のカップ", "登山テント", "雨具"])
    assert index.match("テント").items.tolist() == [1]
    assert index.match("茶").items.tolist() == [0]


@pytest.mark.parametrize("titles", [[], [None, None], ["", "!?"]])
def test_catalogues_without_text_answer_nothing(titles: list[str | None]) -> None:
    found = index_of(titles).match("tent")
    assert (len(found.items), found.is_known, found.unknown) == (0, False, ("tent",))


def test_every_word_is_found_again() -> None:
    rng = np.random.default_rng(0)
    titles: list[str | None] = [" ".join(f"w{number}é" for number in rng.integers(0, 300, 5)) for _ in range(200)]
    index = index_of(titles)
    for number in range(0, 300, 7):
        having = [row for row, title in enumerate(titles) if f"w{number}é" in (title or "").split()]
        assert index.match(f"W{number}E").items.tolist() == having
    again = WordIndex(**{field.name: getattr(index, field.name) for field in dataclasses.fields(index)})
    assert again.match("w1é w2é").scores.tolist() == index.match("w1é w2é").scores.tolist()
