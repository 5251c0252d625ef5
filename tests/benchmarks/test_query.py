"""The benchmark of queries: BM25 by hand, masks, the division of users, and the answers of many queries."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.peers.bm25 import Bm25, words
from benchmarks.peers.query import Questions, interval, measure, model_lists, peer_lists
from benchmarks.peers.query_data import Reviews, UserParts, without_words
from benchmarks.peers.query_report import markdown, rows_of
from tests.worlds.projects import make_coded_project


def reviews(texts: list[str], items: list[int], titles: list[str]) -> Reviews:
    """Make one review for each user."""
    table = pa.table({"item_id": [f"i{n}" for n in range(len(titles))], "title": titles})
    user = np.arange(len(texts))
    return Reviews(table, [f"u{n}" for n in user], user, np.zeros_like(user), np.array(items, dtype=np.int32), texts)


def test_bm25_is_the_formula() -> None:
    index = Bm25(["Red lamp", "red red chair", "blue vase"])
    # N = 3, mean length 7/3; red is in 2 documents, chair in 1.
    idf_red, idf_chair = math.log(1 + 1.5 / 2.5), math.log(1 + 2.5 / 1.5)
    short, long = (1.2 * (0.25 + 0.75 * length / (7 / 3)) for length in (2, 3))
    expected = [
        idf_red * 1 * 2.2 / (1 + short),
        idf_red * 2 * 2.2 / (2 + long) + idf_chair * 1 * 2.2 / (1 + long),
        0.0,
    ]
    assert index.scores("RED chair, green?") == pytest.approx(expected)
    assert index.scores("red red")[0] == pytest.approx(2 * expected[0])  # a repeated word counts twice
    assert index.scores("nothing known").tolist() == [0, 0, 0]
    assert words("Applebee's 20% off") == ["applebees", "20", "off"]


def test_peers_rank_allowed_items_and_break_ties_by_popularity() -> None:
    allowed = np.array([True, True, False, True])
    lists = peer_lists(["a vase"], ["vase", "lamp", "vase", "vase"], np.array([1, 9, 99, 5]), allowed)
    assert lists["BM25 over titles"][0].tolist() == [3, 0, 1]
    assert lists["popularity"][0].tolist() == [1, 3, 0]


def test_masks_remove_names_in_singular_and_plural_and_keep_the_rest() -> None:
    found = reviews(
        ["I love Applebee's card", "Gift cards!", "Olive oil"], [0, 0, 1], ["Applebees Gift Card", "Olive Garden"]
    )
    assert list(found.masked(everywhere=False).text) == ["I love", "", "oil"]
    assert without_words("applebees", {"olive"}) == "applebees"
    assert list(found.masked(everywhere=True).text) == ["I love", "", "oil"]
    swapped = reviews(["Olive oil"], [0], ["Applebees", "Olive Garden"])
    assert list(swapped.masked(everywhere=False).text) == ["Olive oil"]
    assert list(reviews(["Olive oil", "x"], [0, 1], ["Applebees", "Olive Garden"]).masked(everywhere=True).text) == [
        "oil",
        "x",
    ]


def test_parts_have_disjoint_users_and_the_seed_fixes_them() -> None:
    some = reviews(["x"] * 200, [0] * 200, ["t"])
    some = Reviews(some.items, some.user_ids[:50], some.user % 50, some.position, some.item, some.text)
    parts = UserParts.draw(some, seed=3)
    users = [set(some.user[mask].tolist()) for mask in (parts.train, parts.valid, parts.test)]
    assert [len(each) for each in users] == [35, 5, 10]
    assert set.union(*users) == set(range(50))
    assert (UserParts.draw(some, seed=3).test == parts.test).all()
    assert (UserParts.draw(some, seed=4).test != parts.test).any()


def test_intervals_are_those_of_users_not_of_reviews() -> None:
    """A hundred equal reviews of each of two users are as uncertain as two reviews."""
    values, user = np.repeat([0.0, 1.0], 100), np.repeat([0, 1], 100)
    assert interval(values, user, seed=0) == (0.0, 1.0)
    low, high = interval(values, np.arange(200), seed=0)
    assert 0.4 < low < 0.5 < high < 0.6


def test_many_queries_together_get_the_answers_of_each_alone(tmp_path: Path) -> None:
    project = make_coded_project(tmp_path / "shop")
    project.finetune()
    catalog = project.store.catalog()
    texts = ["something like a red lamp", "vase"]
    everything = np.ones(len(catalog), dtype=bool)
    found = model_lists(project, texts, everything)
    for text, items in zip(texts, found, strict=True):
        assert items.tolist() == model_lists(project, [text], everything)[0].tolist()
    assert found[0].tolist() != found[1].tolist()
    asked = reviews(texts, [0, 55], list(catalog.titles))
    lines = list(measure(Questions("as is", asked, np.array([True, False]), asked, project), seed=0))
    rows = rows_of("shop", lines)
    assert {row.peer_name for row in rows} == {"BM25 over titles", "popularity"}
    hits = next(row for row in rows if row.metric == "HR@10" and row.peer_name == "popularity")
    assert hits.peer == 1.0  # two items were reviewed, both are among the ten most popular
    assert "## as is; reviewed items; all texts (2 reviews for each seed)" in markdown("shop", lines, ["remark"])
