"""The code report as one HTML page that needs nothing else: styles and drawings stand in it, no script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5b6575; --line: #dde2ea; --back: #f6f7f9; --card: #fff;
  --mark: #2563a8; --pale: #b9cfe8; --warn: #9a5b00; --warn-back: #fff4e0; --good: #1f6f43; --good-back: #e6f4ec; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa4b5; --line: #303848; --back: #12161d; --card: #1b212b;
  --mark: #6ea8e6; --pale: #33527a; --warn: #f0b95c; --warn-back: #38290f; --good: #7fd0a1; --good-back: #14301f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .3rem; }
p { margin: .3rem 0 .8rem; max-width: 46rem; } .soft { color: var(--soft); }
.name { color: var(--soft); overflow-wrap: anywhere; }
.note { padding: .7rem .9rem; border-radius: .5rem; margin: 1rem 0; background: var(--good-back); color: var(--good); }
.note.due { background: var(--warn-back); color: var(--warn); } .note ul { margin: .3rem 0 0; padding-left: 1.2rem; }
.grid { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
.wide { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem; min-width: 0; }
.card b { display: block; font-size: 1.35rem; line-height: 1.3; } .card span { color: var(--soft); font-size: .85rem; }
.card h3 { margin: 0 0 .2rem; font-size: 1rem; } svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th { color: var(--soft); font-weight: 600; font-size: .85rem; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
details { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; margin: .4rem 0; padding: .1rem .9rem; }
details details { background: transparent; } summary { cursor: pointer; padding: .45rem 0; overflow-wrap: anywhere; }
code { font-family: ui-monospace, monospace; background: var(--back); border-radius: .25rem; padding: .05rem .35rem; }
ul.titles { margin: 0 0 .6rem; padding-left: 1.2rem; overflow-wrap: anywhere; }
"""


def report_page(report: Mapping[str, Any]) -> str:
    """The page of ``codebook_report`` or ``foreign_report``; a section whose figures are absent is left out."""
    title = report.get("run_id") or report["file"]
    sections = [
        _verdict(report.get("refit")),
        _tiles(report),
        _usage(report["levels"]),
        _reconstruction(report),
        _collisions(report.get("collisions"), report.get("moved")),
        _agreement(report["agreement"]),
        _text_map(report.get("text_map"), report.get("alignment")),
        _drift(report.get("refit")),
        _tree(report["tree"]),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Codes: {escape(str(title))}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>Code report</h1>\n<p class="name">{escape(str(title))}</p>\n'
        + "\n".join(filter(None, sections))
        + "\n</main>\n</body>\n</html>\n"
    )


def _verdict(refit: Mapping[str, Any] | None) -> str:
    if refit is None:
        return ""
    if not refit["is_due"]:
        return '<div class="note">No refit is due: new items still fit the books.</div>'
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in refit["reasons"])
    return (
        f'<div class="note due">A refit is due (<code>semconv codebook fit</code>, then tune):<ul>{reasons}</ul></div>'
    )


def _tiles(report: Mapping[str, Any]) -> str:
    words = report["agreement"].get("title words")
    tiles = [
        ("items", f"{report['items']:,}"),
        ("coded from text since the fit", _count(report.get("items_assigned_since"))),
        ("not in the catalogue", _count(report.get("items_not_in_the_catalogue"))),
        ("servable items without codes", _count(report.get("items_without_codes"))),
        ("levels", str(len(report["levels"]))),
        ("of the variance is left after all levels", _percent(report.get("reconstruction_error"))),
        (
            "of items share all codes",
            _percent(report["collisions"][-1]["share_after"] if report.get("collisions") else None),
        ),
        ("times as many title words shared as with shuffled codes", _ratio(words)),
    ]
    cards = "".join(
        f'<div class="card"><b>{value}</b><span>{name}</span></div>' for name, value in tiles if value != "–"
    )
    return f'<div class="grid">{cards}</div>'


def _usage(levels: Sequence[Mapping[str, Any]]) -> str:
    cards = []
    for level in levels:
        counts = level["counts"]
        facts = f"{level['entropy_bits']:.2f} bits, {level['dead_codes']} of {len(counts)} codes dead, fullest {_percent(level['largest_share'])}"
        cards.append(f'<div class="card"><h3>Level {level["level"] + 1}</h3>{_area(counts)}<span>{facts}</span></div>')
    return _section(
        "Use of the codes",
        "Items on each code, the fullest first. A flat top uses the level well; a line on the ground is dead codes.",
        f'<div class="wide">{"".join(cards)}</div>',
    )


def _area(counts: Sequence[int]) -> str:
    """Counts as a stepped area; thousands of codes are drawn as 256 steps."""
    steps = min(len(counts), 256)
    drawn = [counts[place * len(counts) // steps] for place in range(steps)]
    top, width, height = max(*drawn, 1), 300, 90
    points = []
    for place, count in enumerate(drawn):
        y = f"{height - count / top * (height - 14):.1f}"
        points += [f"{place * width / steps:.1f},{y}", f"{(place + 1) * width / steps:.1f},{y}"]
    shape = f"0,{height} {' '.join(points)} {width},{height}"
    return (
        f'<svg viewBox="0 0 {width} {height + 2}" role="img" aria-label="items per code, the largest {top}">'
        f'<polygon points="{shape}" fill="var(--pale)"/><line x1="0" y1="{height}" x2="{width}" y2="{height}" stroke="var(--soft)"/>'
        f'<text x="{width}" y="11" text-anchor="end" font-size="11" fill="var(--soft)">{top:,} items</text></svg>'
    )


def _reconstruction(report: Mapping[str, Any]) -> str:
    bars = []
    for place, level in enumerate(report["levels"]):
        if "reconstruction_error" in level:
            bars.append((f"after level {place + 1}", level["reconstruction_error"]))
    body = _bars(bars) if bars else ""
    if report.get("variance_within"):
        rows = [[f"{n}", _percent(share)] for n, share in enumerate(report["variance_within"], start=1)]
        body += "<p>Whatever the books are: variance left within groups of items that share their first codes.</p>"
        body += _table(["codes shared", "variance left within groups"], rows)
    text = "Share of the behaviour vectors' variance that the codes up to a level do not tell, before items were moved apart."
    return _section("Reconstruction", text if bars else "", body) if body else ""


def _collisions(collisions: Sequence[Mapping[str, Any]] | None, moved: Mapping[str, Any] | None) -> str:
    if not collisions:
        return ""
    rows = [
        [
            f"{row['levels']}",
            *(_percent(row.get(name)) for name in ("share_before", "share_after", "moved_share")),
        ]
        for row in collisions
    ]
    body = _table(["levels", "colliding before", "colliding after", "items moved"], rows)
    if moved and moved["error_after"] is not None:
        body += (
            f"<p>The {_percent(moved['share'])} of items that were moved lie {moved['error_after']:.3f} from what their codes stand for,"
            f" {moved['error_before']:.3f} before the move (mean squared distance over mean squared length).</p>"
        )
    return _section(
        "Collisions", "Items that share all their codes, if the set had so many levels (paper, Table 5).", body
    )


def _agreement(agreement: Mapping[str, Mapping[str, float | None]]) -> str:
    if not agreement:
        return ""
    rows = [
        [escape(name), *(_percent(row[kind]) for kind in ("within", "shuffled", "random")), _ratio(row)]
        for name, row in agreement.items()
    ]
    return _section(
        "Do items that share codes look alike?",
        "Mean share of common words of two items. First: they share their first two codes; then the same with the codes shuffled over the items; then any two items.",
        _table(["", "same codes", "shuffled codes", "any two", "times shuffled"], rows),
    )


def _text_map(text_map: Mapping[str, Any] | None, alignment: Mapping[str, Any] | None) -> str:
    if alignment is None:
        return ""
    state = f"on, lambda {alignment['lambda']:g}" if alignment["is_on"] else f"off: {alignment['why_off']}"
    body = f"<p>Alignment is {escape(state)}.</p>"
    if text_map:
        body += _table(
            ["figure", "value"],
            [
                ["variance explained on held-out items (R²)", f"{text_map['held_out_r2']:.3f}"],
                ["items with text and interactions", f"{text_map['items']:,}"],
                ["first code from text is the learned one", _percent(text_map["first_code_agreement"])],
                ["the same by always naming the most frequent code", _percent(text_map["most_frequent_code"])],
                [
                    "first codes in use from text / learned",
                    f"{text_map['codes_in_use']} / {text_map['codes_in_use_learned']}",
                ],
            ],
        )
    return _section("From text to behaviour", "", body)


def _drift(refit: Mapping[str, Any] | None) -> str:
    if refit is None:
        return ""
    new = refit["error_of_mapped"]
    rows = [
        ["share of items coded from text", "0 %", _percent(refit["mapped_share"])],
        [
            "fullest first code",
            _percent(refit["largest_first_code_at_fit"]),
            _percent(refit["largest_first_code_now"]),
        ],
        [
            "reconstruction error, of fitted items and of new ones",
            f"{refit['error_of_fitted']:.3f}",
            "–" if new is None else f"{new:.3f}",
        ],
    ]
    return _section("Drift since the fit", "", _table(["", "at the fit", "now"], rows))


def _tree(nodes: Sequence[Mapping[str, Any]]) -> str:
    body = "".join(_node(node, 0, "") for node in nodes)
    return _section(
        "Tree of codes",
        "The first codes with most items, below them their second codes; titles are the most popular ones.",
        body,
    )


def _node(node: Mapping[str, Any], level: int, prefix: str) -> str:
    name = f"{prefix}<{'abcdef'[level]}_{node['code']}>"
    titles = [escape(title) for title in node["titles"]]
    head = f"<code>{escape(name)}</code> {node['items']:,} items" + (
        f' <span class="soft">{titles[0]}</span>' if titles else ""
    )
    inner = "".join(_node(child, level + 1, name) for child in node["children"])
    listed = "".join(f"<li>{title}</li>" for title in titles)
    return f'<details><summary>{head}</summary><ul class="titles">{listed}</ul>{inner}</details>'


def _bars(bars: Sequence[tuple[str, float]]) -> str:
    top, row, width = max(1e-9, *(value for _, value in bars)), 26, 420
    lines = []
    for place, (name, value) in enumerate(bars):
        y = place * row
        length = value / top * (width - 180)
        lines.append(
            f'<text x="0" y="{y + 17}" font-size="13" fill="currentColor">{escape(name)}</text>'
            f'<rect x="105" y="{y + 5}" width="{length:.1f}" height="16" rx="2" fill="var(--mark)"/>'
            f'<text x="{112 + length:.1f}" y="{y + 17}" font-size="13" fill="currentColor">{value:.1%}</text>'
        )
    height = row * len(bars) + 4
    return f'<svg viewBox="0 0 {width} {height}" style="max-width:38rem" role="img" aria-label="reconstruction error by level">{"".join(lines)}</svg>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table></div>'


def _section(title: str, text: str, body: str) -> str:
    lead = f'<p class="soft">{escape(text)}</p>' if text else ""
    return f"<section>\n<h2>{escape(title)}</h2>{lead}\n{body}\n</section>"


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}" if value < 0.1 else f"{value:.1%}"


def _ratio(row: Mapping[str, float | None] | None) -> str:
    if row is None or row["within"] is None or not row["shuffled"]:
        return "–"
    return f"{row['within'] / row['shuffled']:.1f}"
