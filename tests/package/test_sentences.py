"""The draw of sentences is repeatable and covers every kind of text."""

from __future__ import annotations

from collections import Counter

from tests.package.sentences import docstrings, draw, help_texts, messages, pages


def test_a_seed_gives_the_same_sentences_of_every_kind() -> None:
    drawn = draw("7", 30)
    assert drawn == draw("7", 30)
    assert drawn != draw("8", 30)
    assert Counter(kind for kind, _, _ in drawn) == {"page": 8, "help": 8, "message": 7, "docstring": 7}


def test_every_kind_of_text_is_found() -> None:
    assert any("semconv run" in where for where, _ in help_texts())
    assert any(where == "tuning.epochs" for where, _ in help_texts())
    assert any(where == "README.md" for where, _ in pages())
    assert any(where.startswith("semconv/runs/book.py") for where, _ in docstrings())
    assert any("{" in text for _, text in messages())
    assert all(len(set(kind())) > 100 for kind in (pages, help_texts, messages, docstrings))
