"""Words of questions and items in several scripts."""

import pytest

from semconv.texts.words import is_function_word, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Red LAMP, red!", ["red", "lamp", "red"]),
        ("Applebee's 20% off", ["applebee", "20", "off"]),
        ("women\N{RIGHT SINGLE QUOTATION MARK}s boots", ["woman", "boot"]),
        ("lenses lens", ["lens", "lens"]),
        ("batteries glasses boxes kettles bus gas", ["battery", "glass", "box", "kettle", "bus", "gas"]),
        ("CAFÉ Straße naïve", ["cafe", "strasse", "naive"]),
        ("Ёлка ЁЛКА", ["елка", "елка"]),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER A}\N{FULLWIDTH DIGIT ONE}", ["a1"]),
        ("हिन्दी किताब", ["हिन्दी", "किताब"]),  # vowel signs belong to words
        ("خيمة،مصباح", ["خيمة", "مصباح"]),
        ("e-bike_light", ["e", "bike", "light"]),
        ("登山テント", ["登山", "山テ", "テン", "ント"]),
        ("茶", ["茶"]),
        ("iPhone15ケース", ["iphone15", "ケー", "ース"]),
        ("한국어 책", ["한국어", "책"]),
        ("?! ... \u200b", []),
    ],
)
def test_words_are_folded_alike(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_items_also_have_single_characters_of_scripts_without_blanks() -> None:
    assert set(words("緑茶", of_item=True)) == {"緑茶", "緑", "茶"}
    assert words("green tea", of_item=True) == ["green", "tea"]


def test_words_that_ask_are_no_words_of_items() -> None:
    assert all(is_function_word(word) for word in words("I want a ... for my"))
    assert not is_function_word("tent")
