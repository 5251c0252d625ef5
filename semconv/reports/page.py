"""The form of a report as one HTML page that needs nothing else: styles and drawings stand in it, no script.

Everything that comes from data is escaped here or by who puts it into a drawing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from semconv.reports.section import Section

Cell = str | tuple[str, str]  # what it says, and a remark below it in small print

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
.dense td, .split td { vertical-align: top; } td small { display: block; color: var(--soft); font-size: .78rem; white-space: nowrap; }
table.dense th, table.dense td { padding: .3rem .4rem; font-size: .9rem; } td.strong, tr.strong td:first-child { font-weight: 700; }
.spans dd.span { position: relative; } .spans i { height: .9rem; } .spans u { position: absolute; top: .4rem; height: .1rem; background: var(--ink); }
.chart { max-width: 42rem; } .chart text { fill: var(--soft); font: 14px system-ui, sans-serif; } .chart polyline { fill: none; stroke-linejoin: round; }
ul.legend { list-style: none; margin: .4rem 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; font-size: .9rem; }
ul.legend svg { display: inline-block; width: 2rem; height: .8rem; vertical-align: middle; margin-right: .4rem; }
.lists { display: grid; gap: 0 1.6rem; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); padding-bottom: .7rem; }
.lists h3 { font-size: .9rem; color: var(--soft); margin: .6rem 0 .2rem; } .lists ol { margin: 0; padding-left: 1.6rem; font-size: .92rem; overflow-wrap: anywhere; }
.lists mark { background: var(--good-back); color: var(--good); font-weight: 600; border-radius: .2rem; padding: 0 .2rem; }
@media (max-width: 40rem) {
  thead { display: none; } table, tbody { display: block; }
  tr { display: block; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .4rem .8rem; margin: .5rem 0; }
  td { display: flex; justify-content: space-between; gap: 1rem; padding: .15rem 0; border: 0; }
  td::before { content: attr(data-head); color: var(--soft); font-size: .9rem; text-align: left; }
  td:first-child { font-weight: 600; } td:first-child::before { font-weight: 400; } td.what { display: block; } td.what::before, .pair td::before { content: none; }
  td small { white-space: normal; text-align: right; }
  .pair tr { display: flex; justify-content: space-between; gap: 1rem; } .pair td:first-child { font-weight: 400; }
}
"""
_TITLE_LENGTH = 120


def page(title: str, body: Iterable[str]) -> str:
    """The whole document around some blocks."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def tile(name: str, value: str) -> str:
    """One figure in large print."""
    return f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>'


def badge(section: Section) -> str:
    """The grade of a section, nothing where it has none."""
    return f'<span class="grade {section.grade}">{section.badge}</span>' if section.grade else ""


def section_block(section: Section, inner: str) -> str:
    """A section: headline, what the figures mean, the figures, and what they say."""
    lines = [line for line in (section.verdict, *section.notes) if line]
    notes = "".join(f"<p>{text(line)}</p>" for line in lines)
    note = f'<div class="note {section.grade or "card"}">{notes}</div>' if notes else ""
    return (
        f'<section id="{section.key}">\n<div class="head"><h2>{escape(section.title)}</h2>{badge(section)}</div>\n'
        f'<p class="soft">{text(section.meaning)}</p>\n{inner}\n{note}\n</section>'
    )


def text(words: str) -> str:
    """Escaped, with what stands in backticks as code."""
    parts = escape(words).split("`")
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]], *, kind: str = "", strong: Iterable[str] = ()) -> str:
    """A table, a card a row on a narrow screen; a first cell of words stands as the card's headline.

    Args:
        kind: a class of the table; one of two columns is a list of pairs.
        strong: first cells of rows that stand out.
    """
    strong = set(strong)
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = []
    for row in rows:
        first = str(row[0])
        what = "" if first.isdigit() else ' class="what"'
        rest = (
            f'<td data-head="{escape(name)}"><span>{_cell(cell)}</span></td>'
            for name, cell in zip(head[1:], row[1:], strict=True)
        )
        mark = ' class="strong"' if first in strong else ""
        lines.append(f'<tr{mark}><td{what} data-head="{escape(head[0])}">{escape(first)}</td>{"".join(rest)}</tr>')
    kind = kind or ("pair" if len(head) == 2 else "")
    return f"<table{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}><thead><tr>{cells}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def short(title: str) -> str:
    """A title that fits a line or two."""
    return title if len(title) <= _TITLE_LENGTH else title[: _TITLE_LENGTH - 1].rstrip() + "…"


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return escape(cell)
    return f"{escape(cell[0])}<small>{escape(cell[1])}</small>" if cell[1] else escape(cell[0])
