"""The code report on the page and in the terminal: complete, escaped, with the same figures in both."""

import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from semconv.reports.code_page import report_page
from semconv.reports.code_sections import overview, sections
from semconv.tokenization import quality
from semconv_cli.code_report import write_report

WITHOUT_END = ("meta", "line", "polygon", "br")
DRIFT = ("outgrown_share", "largest_first_code", "text_error", "train_interactions")


def codes_of(levels: int, rows: int = 300) -> np.ndarray:
    """Codes whose first two levels tell which of twelve words a title has."""
    group = np.random.default_rng(0).integers(12, size=rows)
    parts = [group // 4, group % 4, *(np.arange(rows) // 7**n % 7 for n in range(4))]
    return np.stack(parts[:levels], axis=1).astype(np.uint16)


def drift(*due: str) -> dict[str, Any]:
    rows = [{"name": name, "at_fit": 1, "now": 2, "limit": 1.5, "is_due": name in due} for name in DRIFT]
    return {"is_due": bool(due), "reasons": [f"{name} grew" for name in due], "drift": rows}


def report(levels: int = 6, title: str = "a <b>bold</b> title", **changes: Any) -> dict[str, Any]:
    """A report on a fitted code set; a change to None leaves a figure out."""
    codes, rows = codes_of(levels), 300
    titles = [title, *(f"kind{code[0]}{code[1 % levels]} own{n}" for n, code in enumerate(codes[1:]))]
    level_rows = quality.level_figures(codes, 50)
    for n, level in enumerate(level_rows):
        level["reconstruction_error"] = 0.5 / (n + 1)
    collisions = [{"share_before": 0.5, "moved_share": 0.25, **row} for row in quality.prefix_collisions(codes)]
    made = {
        "run_id": "codebook-x",
        "items": rows,
        "levels": level_rows,
        "collisions": collisions,
        "collision_share_now": collisions[-1]["share_after"],
        "moved_items": 75,
        "moved": {"share": 0.25, "error_before": 0.1, "error_after": 0.15},
        "alignment": {"lambda": 0.1, "is_on": True, "why_off": None},
        "useful_r2": 0.02,
        "text_map": {
            "items": 290, "held_out_r2": 0.345, "first_code_agreement": 0.7, "most_frequent_code": 0.3,
            "first_code_agreement_behavior_alone": 0.6, "most_frequent_code_behavior_alone": 0.2,
            "codes_in_use": 3, "codes_in_use_learned": 3,
        },
        "new_items": {"coded": 24, "first_codes_in_use": 3},
        "untouched_items": {"coded": 0, "first_codes_in_use": 0},
        "agreement": {"title words": quality.agreement(codes, quality.Features.of_titles(titles))},
        "tree": quality.code_tree(codes, titles, np.where(np.arange(rows) == 0, 99, 1)),
        "variance_within": [0.5 / (n + 1) for n in range(levels)],
        "variance_within_shuffled": [0.9 / (n + 1) for n in range(levels)],
        "reconstruction_error": 0.125,
        "refit": drift("text_error"),
        **changes,
    }  # fmt: skip
    return {name: value for name, value in made.items() if value is not None}


def external(levels: int = 4) -> dict[str, Any]:
    """A report on external codes, which have neither codebooks nor a fit."""
    codes = codes_of(levels)
    of_fit = ("run_id", "refit", "reconstruction_error", "moved", "moved_items", "alignment", "text_map")
    made = report(levels, file="codes.parquet", collisions=quality.prefix_collisions(codes), **dict.fromkeys(of_fit))
    for level in made["levels"]:
        del level["reconstruction_error"]
    return made


class Page(HTMLParser):
    """Parse a page, check that its tags are closed in order, and keep its links, ids and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in WITHOUT_END:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in WITHOUT_END:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


VARIANTS = {
    "fitted": report(),
    "one level": report(1),
    "two levels": report(2),
    "no title, no brand": report(agreement={}, tree=quality.code_tree(codes_of(3), [None] * 300, np.ones(300, int))),
    "no text": report(text_map=None, alignment={"lambda": 0.1, "is_on": False, "why_off": "too few items"}),
    "nothing moved": report(moved={"share": 0.0, "error_before": None, "error_after": None}, moved_items=0),
    "no pair": report(agreement={"title words": {"within": None, "shuffled": None, "random": 0.1}}),
    "nothing in common by chance": report(agreement={"brand": {"within": 0.2, "shuffled": 0.0, "random": 0.0}}),
    "not due": report(refit=drift()),
    "external": external(),
    "external, one level": external(1),
    "external, no vectors": {k: v for k, v in external().items() if not k.startswith("variance")},
}


@pytest.mark.parametrize("made", VARIANTS.values(), ids=VARIANTS.keys())
def test_page_and_terminal_show_the_same(made: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    text = report_page(made)
    page = Page(text)
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)  # links lead to this page only
    assert not re.search(r"<script|url\(|@import|https?://", text)
    write_report(made)
    printed = " ".join(capsys.readouterr().out.split())
    shown = [word.strip() for word in page.words]
    for name, value in overview(made):
        assert name in shown
        assert value in shown
        assert f"{name} {value}" in " ".join(printed.split())
    for section in sections(made):
        assert section.title in shown
        for row in section.rows:
            assert set(row) <= {*shown, ""}
            assert " ".join(row).strip() in printed
        for line in (section.verdict, *section.notes):
            assert line.replace("`", "") in " ".join(unescape(re.sub("<[^>]*>", "", text)).split())
            assert line in printed
    assert "nan" not in printed
    assert "None" not in printed


def test_titles_are_escaped_and_cut() -> None:
    text = report_page(report(title="<img src=x onerror=alert(1)> & more"))
    assert "<img" not in text
    assert "&lt;img src=x onerror=alert(1)&gt; &amp; more" in text
    long = report_page(report(title="word " * 500))
    assert "word …" in long or "word…" in long
    assert len(long) < len(text) + 2000


def section_of(made: dict[str, Any], key: str) -> Any:
    return next(section for section in sections(made) if section.key == key)


def test_grades_follow_the_limits_in_the_text() -> None:
    assert section_of(report(), "refit").grade == "poor"
    assert any("text_error grew" in line for line in section_of(report(), "refit").notes)
    assert section_of(report(refit=drift()), "refit").grade == "good"
    assert [section_of(made, "refit").badge for made in (report(), report(refit=drift()))] == ["due", "not due"]
    for error, grade in ((0.2, "good"), (0.3, "fair"), (0.5, "poor")):
        assert section_of(report(reconstruction_error=error), "reconstruction").grade == grade
    few = [{"levels": 1, "share_before": 0.02, "share_after": 0.0, "moved_share": 0.01}]
    for share, grade in ((0.01, "fair"), (0.03, "poor")):
        assert section_of(report(collisions=few, collision_share_now=share), "collisions").grade == grade
    assert section_of(report(collisions=few, collision_share_now=0.0), "collisions").grade == "good"
    assert (
        section_of(report(collision_share_now=0.0), "collisions").grade == "poor"
    )  # a quarter of the items were moved
    for within, grade in ((0.3, "good"), (0.15, "fair"), (0.1, "poor")):
        row = {"brand": {"within": within, "shuffled": 0.1, "random": 0.1}}
        assert section_of(report(agreement=row), "likeness").grade == grade
    even, skewed = (
        np.arange(300)[:, None] % 50,
        np.where(np.arange(300)[:, None] < 290, 0, np.arange(300)[:, None] % 50),
    )
    for codes, grade in ((even, "good"), (skewed, "poor")):
        levels = quality.level_figures(codes.astype(np.uint16), 50)
        assert section_of({**external(), "levels": levels}, "usage").grade == grade
    weak = {**report()["text_map"], "held_out_r2": 0.01}
    assert section_of(report(text_map=weak), "text").grade == "poor"
    assert section_of(report(), "text").grade == "good"
    # The learned code contains text, so the code of behaviour alone counts.
    mixed = {**report()["text_map"], "first_code_agreement_behavior_alone": 0.3, "first_code_agreement": 0.9}
    assert section_of(report(text_map=mixed), "text").grade == "fair"
    for within, grade in ((0.5, "good"), (0.8, "fair"), (0.95, "poor")):
        spread = {"variance_within": [within], "variance_within_shuffled": [1.0]}
        assert section_of(report(1, **spread), "spread").grade == grade


def test_collisions_show_moved_items_and_the_share_of_the_paper() -> None:
    found = section_of(report(4), "collisions")
    assert found.rows[1][-1] == "10.8%"
    assert found.notes == (
        "75 items (25.0%) were moved. This changed the reconstruction error of these items from 10.0% to 15.0% (1.5 times).",
    )
