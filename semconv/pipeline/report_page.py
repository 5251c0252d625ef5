"""The code report as one HTML page that needs nothing else: styles and drawings stand in it, no script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from semconv.columns import code_token
from semconv.pipeline.report_form import Section, count
from semconv.pipeline.report_sections import overview, sections

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #566071; --line: #dde2ea; --back: #f6f7f9; --card: #fff;
  --mark: #2563a8; --pale: #b9cfe8; --poor: #8f2d22; --poor-back: #fbe9e6; --fair: #7d4a00; --fair-back: #fff1da;
  --good: #1a623a; --good-back: #e2f3e9; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #a3adbd; --line: #303848; --back: #12161d; --card: #1b212b;
  --mark: #6ea8e6; --pale: #33527a; --poor: #f2a196; --poor-back: #3d1a15; --fair: #f0b95c; --fair-back: #38290f;
  --good: #7fd0a1; --good-back: #14301f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.2rem; margin: 0; }
section { margin-top: 2.4rem; } section > * + * { margin-top: .7rem; }
p { margin: .3rem 0; max-width: 46rem; } .soft { color: var(--soft); } .name { color: var(--soft); overflow-wrap: anywhere; }
.head { display: flex; flex-wrap: wrap; align-items: baseline; gap: .3rem .7rem; }
.grade { font-size: .8rem; font-weight: 600; padding: .05rem .6rem; border-radius: 1rem; }
.good { background: var(--good-back); color: var(--good); } .fair { background: var(--fair-back); color: var(--fair); }
.poor { background: var(--poor-back); color: var(--poor); }
.note { padding: .6rem .9rem; border-radius: .5rem; max-width: none; } .note p { max-width: none; }
.grid, .wide { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); }
.wide { grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); } .grid { margin-top: 1rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem; min-width: 0; }
.card b { display: block; font-size: 1.35rem; line-height: 1.3; } .card span { color: var(--soft); font-size: .85rem; }
.card h3 { margin: 0 0 .2rem; font-size: 1rem; } svg { display: block; width: 100%; height: auto; }
ul.glance { list-style: none; margin: 1rem 0 0; padding: 0; display: grid; gap: .45rem; }
.glance li { display: grid; grid-template-columns: 4.6rem 1fr; gap: .7rem; align-items: start; } .glance .grade { text-align: center; }
.glance a { color: inherit; font-weight: 600; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: bottom; }
th { color: var(--soft); font-weight: 600; font-size: .85rem; } th:first-child, td:first-child { text-align: left; padding-left: 0; }
details { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; margin: .4rem 0; padding: .1rem .9rem; }
details details { background: transparent; } summary { cursor: pointer; padding: .45rem 0; overflow-wrap: anywhere; }
.bars { display: grid; grid-template-columns: auto 1fr 4rem; gap: .3rem .8rem; align-items: center; max-width: 36rem; margin: 0; }
.bars dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; } .bars i, .bars b { display: block; height: .9rem; border-radius: .2rem; }
.bars i { background: var(--line); } .bars b { background: var(--mark); min-width: 1px; }
p code, .glance code, .grade { white-space: nowrap; }
code { font-family: ui-monospace, monospace; font-size: .9em; background: var(--back); border-radius: .25rem; padding: .05rem .35rem; }
ul.titles { margin: 0 0 .6rem; padding-left: 1.2rem; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  thead { display: none; } table, tbody { display: block; }
  tr { display: block; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .4rem .8rem; margin: .5rem 0; }
  td { display: flex; justify-content: space-between; gap: 1rem; padding: .15rem 0; border: 0; }
  td::before { content: attr(data-head); color: var(--soft); font-size: .9rem; text-align: left; }
  td:first-child { font-weight: 600; } td:first-child::before { font-weight: 400; } td.what { display: block; } td.what::before, .pair td::before { content: none; }
  .pair tr { display: flex; justify-content: space-between; gap: 1rem; } .pair td:first-child { font-weight: 400; }
}
"""
_TITLE_LENGTH = 120


def report_page(report: Mapping[str, Any]) -> str:
    """The page of ``codebook_report`` or ``foreign_report``; a section whose figures are absent is left out."""
    title = str(report.get("run_id") or report["file"])
    made = sections(report)
    body = [
        f'<h1>Code report</h1>\n<p class="name">{escape(title)}</p>',
        _intro(report),
        f'<div class="grid">{"".join(_tile(*pair) for pair in overview(report))}</div>',
        _glance(made),
        *(_section(section, report["levels"]) for section in made),
        _tree(report["tree"]),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Codes: {escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _intro(report: Mapping[str, Any]) -> str:
    levels = len(report["levels"])
    example = "".join(
        code_token(level, code) for level, code in zip(range(levels), (17, 203, 4, 99, 51, 8), strict=False)
    )
    coarse = ", from coarse to fine," if levels > 1 else ""
    return (
        f"<p>Every item is written as {levels} short code{'s' if levels > 1 else ''}{coarse} such as <code>{escape(example)}</code>,"
        " and the model recommends an item by writing its codes. Good codes are used evenly, say much about an item,"
        " tell any two items apart, and start alike where items are alike.</p>"
    )  # fmt: skip


def _tile(name: str, value: str) -> str:
    return f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>'


def _glance(made: Sequence[Section]) -> str:
    lines = "".join(
        f'<li>{_badge(section)}<span><a href="#{section.key}">{escape(section.title)}</a><br>{_text(section.verdict)}</span></li>'
        for section in made
        if section.grade
    )
    return f'<ul class="glance">{lines}</ul>'


def _badge(section: Section) -> str:
    return f'<span class="grade {section.grade}">{section.badge}</span>' if section.grade else ""


def _section(section: Section, levels: Sequence[Mapping[str, Any]]) -> str:
    notes = "".join(f"<p>{_text(line)}</p>" for line in (section.verdict, *section.notes))
    figures = _bars(section, levels) if section.key == "reconstruction" else _table(section.head, section.rows)
    drawing = _usage(levels) if section.key == "usage" else ""
    return (
        f'<section id="{section.key}">\n<div class="head"><h2>{escape(section.title)}</h2>{_badge(section)}</div>\n'
        f'<p class="soft">{_text(section.meaning)}</p>\n{drawing}\n{figures if section.rows else ""}\n'
        f'<div class="note {section.grade or "card"}">{notes}</div>\n</section>'
    )


def _text(text: str) -> str:
    """Escaped, with what stands in backticks as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, a card a row on a narrow screen; a first cell of words stands as the card's headline."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = []
    for row in rows:
        kind = "" if row[0].isdigit() else ' class="what"'
        first = f'<td{kind} data-head="{escape(head[0])}">{escape(row[0])}</td>'
        rest = (
            f'<td data-head="{escape(name)}">{escape(cell)}</td>' for name, cell in zip(head[1:], row[1:], strict=True)
        )
        lines.append(f"<tr>{first}{''.join(rest)}</tr>")
    kind = ' class="pair"' if len(head) == 2 else ""
    return f"<table{kind}><thead><tr>{cells}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _usage(levels: Sequence[Mapping[str, Any]]) -> str:
    cards = "".join(
        f'<div class="card"><h3>Level {level["level"] + 1}</h3>{_area(level["counts"])}</div>' for level in levels
    )
    lead = "Items on each code, the fullest code on the left. A flat top is even use; where it lies on the ground, codes are dead."
    return f'<p class="soft">{lead}</p><div class="wide">{cards}</div>'


def _area(counts: Sequence[int]) -> str:
    """Counts as a stepped area; thousands of codes are drawn as 256 steps."""
    steps = min(len(counts), 256)
    drawn = [counts[place * len(counts) // steps] for place in range(steps)]
    top, width, height = max(*drawn, 1), 300, 72
    points = []
    for place, number in enumerate(drawn):
        y = f"{height - number / top * (height - 4):.1f}"
        points += [f"{place * width / steps:.1f},{y}", f"{(place + 1) * width / steps:.1f},{y}"]
    shape = f"0,{height} {' '.join(points)} {width},{height}"
    return (
        f'<svg viewBox="0 0 {width} {height + 2}" role="img" aria-label="items per code, the largest {top}">'
        f'<polygon points="{shape}" fill="var(--pale)"/><line x1="0" y1="{height}" x2="{width}" y2="{height}" stroke="var(--soft)"/>'
        f"</svg><span>fullest: {count(top)} items</span>"
    )


def _bars(section: Section, levels: Sequence[Mapping[str, Any]]) -> str:
    """The rows of the reconstruction error, each with a bar as long as the error."""
    bars = "".join(
        f'<dt>{escape(name)}</dt><dd><i><b style="width:{min(1.0, level["reconstruction_error"]):.1%}"></b></i></dd><dd>{escape(value)}</dd>'
        for (name, value), level in zip(section.rows, levels, strict=True)
    )
    return f'<dl class="bars">{bars}</dl>'


def _tree(nodes: Sequence[Mapping[str, Any]]) -> str:
    body = "".join(_node(node, 0, "", is_open=place == 0) for place, node in enumerate(nodes))
    lead = (
        f"The {len(nodes)} first codes with most items, in each the second codes with most items. Beside a code its item"
        " with most interactions, inside up to three. Items below one code should be of a kind."
    )
    return (
        '<section id="tree">\n<div class="head"><h2>Tree of codes</h2></div>\n'
        f'<p class="soft">{lead}</p>\n<div>{body}</div>\n</section>'
    )


def _node(node: Mapping[str, Any], level: int, prefix: str, *, is_open: bool = False) -> str:
    name = prefix + code_token(level, node["code"])
    titles = [escape(_short(title)) for title in node["titles"]]
    items = "1 item" if node["items"] == 1 else f"{count(node['items'])} items"
    head = f"<code>{escape(name)}</code> {items}" + (f' <span class="soft">{titles[0]}</span>' if titles else "")
    inner = "".join(_node(child, level + 1, name) for child in node["children"])
    listed = f'<ul class="titles">{"".join(f"<li>{title}</li>" for title in titles)}</ul>' if titles else ""
    return f"<details{' open' if is_open else ''}><summary>{head}</summary>{listed}{inner}</details>"


def _short(title: str) -> str:
    return title if len(title) <= _TITLE_LENGTH else title[: _TITLE_LENGTH - 1].rstrip() + "…"
