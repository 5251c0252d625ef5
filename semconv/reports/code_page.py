"""The code report as one HTML page that needs nothing else: styles and drawings stand in it, no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from semconv.columns import code_token
from semconv.reports.code_sections import overview, sections
from semconv.reports.page import badge, page, section_block, short, table, text, tile
from semconv.reports.section import Section, count


def report_page(report: Mapping[str, Any]) -> str:
    """The page of ``codebook_report`` or ``foreign_report``; a section whose figures are absent is left out."""
    title = str(report.get("run_id") or report["file"])
    made = sections(report)
    body = [
        f'<h1>Code report</h1>\n<p class="name">{escape(title)}</p>',
        _intro(report),
        f'<div class="grid">{"".join(tile(*pair) for pair in overview(report))}</div>',
        _glance(made),
        *(_section(section, report["levels"]) for section in made),
        _tree(report["tree"]),
    ]
    return page(f"Codes: {title}", body)


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


def _glance(made: Sequence[Section]) -> str:
    lines = "".join(
        f'<li>{badge(section)}<span><a href="#{section.key}">{escape(section.title)}</a><br>{text(section.verdict)}</span></li>'
        for section in made
        if section.grade
    )
    return f'<ul class="glance">{lines}</ul>'


def _section(section: Section, levels: Sequence[Mapping[str, Any]]) -> str:
    figures = _bars(section, levels) if section.key == "reconstruction" else table(section.head, section.rows)
    drawing = _usage(levels) if section.key == "usage" else ""
    return section_block(section, f"{drawing}\n{figures if section.rows else ''}")


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
    titles = [escape(short(title)) for title in node["titles"]]
    items = "1 item" if node["items"] == 1 else f"{count(node['items'])} items"
    head = f"<code>{escape(name)}</code> {items}" + (f' <span class="soft">{titles[0]}</span>' if titles else "")
    inner = "".join(_node(child, level + 1, name) for child in node["children"])
    listed = f'<ul class="titles">{"".join(f"<li>{title}</li>" for title in titles)}</ul>' if titles else ""
    return f"<details{' open' if is_open else ''}><summary>{head}</summary>{listed}{inner}</details>"
