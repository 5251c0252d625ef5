"""The vocabulary of the built-in backbone learns no word that single users alone wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from semconv.backbone.create import create_backbone
from semconv.backbone.vocabulary import USERS_PER_WORD, shared_words
from semconv.settings.backbone import BackboneSettings
from semconv.tasks.registry import phrases

SMALL = BackboneSettings(width=16, layers=1, heads=2, mlp_width=32, vocabulary=2000, context=256)
ITEMS = ["red lamp", "a zephyr vase, 40 cm"]


def words(queries: list[tuple[int, str]]) -> set[str]:
    return {word.strip() for word in shared_words(ITEMS, queries)}


def users(number: int, query: str) -> list[tuple[int, str]]:
    return [(user, query) for user in range(number)]


def test_a_word_needs_several_users_or_an_item() -> None:
    assert words(users(USERS_PER_WORD, "oak")) == {"oak"}
    assert words(users(USERS_PER_WORD - 1, "oak")) == set()
    assert words([(7, "oak")] * 50) == set()
    assert words([(7, "zephyr 40")]) == {"zephyr", "40"}


@pytest.mark.parametrize(
    "query",
    [
        "quillon", " quillon ", "Zephyr", "zephyrs", "zephyr\u00adlamp", "person-3@example.org", "0170-5551234",
        "red\nquillon", "quillon\x1flamp", "田中さん", "quillon's", "a_quillon_b", "e\u0301lise", "x" * 3000,
    ],
)  # fmt: skip
def test_no_word_of_a_single_user_is_kept(query: str) -> None:
    others = users(USERS_PER_WORD, "red oak")
    alone = [(99, query)] * 40
    assert words([*others, *alone]) <= {"red", "oak", "a", "lamp", "zephyr", "vase", ",", "40", "cm"}


def test_words_are_not_joined_where_a_word_between_them_is_dropped() -> None:
    kept = list(shared_words(ITEMS, [(1, "red quillon lamp"), (1, "redquillonlamp")]))
    assert kept == ["red", " lamp"]


def test_the_files_of_the_backbone_hold_shared_words_only(tmp_path: Path) -> None:
    queries = sorted([*users(USERS_PER_WORD, "some oak") * 5, *[(3, "quillon 5551234")] * 200])
    create_backbone(tmp_path, ITEMS * 5, queries, phrases(), SMALL)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"oak" in stored
    assert b"zephyr" in stored
    for part in (b"quillon", b"quill", b"5551", b"illon"):
        assert part not in stored
