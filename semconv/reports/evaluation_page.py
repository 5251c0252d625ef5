"""The page of ``semconv evaluate --html``: what ``evaluation_report`` gives, in words, tables and drawings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from semconv.reports.drawings import curves, spans
from semconv.reports.page import Cell, page, section_block, short, table, tile
from semconv.reports.section import Section, count, percent

Report = Mapping[str, Any]

_RANK_FIGURES = ("hit_ratio@1", "hit_ratio@5", "hit_ratio@10", "ndcg@5", "ndcg@10")
_LIST_FIGURES = ("coverage", "novelty", "diversity", "fallback_share")
_CHANGED = ("hit_ratio@10", "ndcg@10", "mrr")


def evaluation_page(report: Report) -> str:
    """The page; everything that comes from data is escaped."""
    protocol = report["protocol"]
    held_out = {"test": "last", "valid": "last but one"}.get(protocol["split"], "")
    target = "first item after the cut" if str(protocol["train_cut"]).startswith("before") else f"{held_out} item"
    body = [
        f'<h1>Evaluation</h1>\n<p class="name">{escape(report["run_id"])}</p>',
        f"<p>Every user's {target} is hidden, each method lists {report['list_length']} items from the history before it,"
        " and the figures tell how high the hidden item stands. All methods have the same users, the same items to"
        " choose from and the same mask.</p>",
        f'<div class="grid">{"".join(tile(*pair) for pair in _tiles(report))}</div>',
        _figures(report),
        _curves(report),
        _segments(report),
        _lists(report),
        _changes(report),
        _examples(report["examples"]),
        _protocol(protocol),
    ]
    return page(f"Evaluation: {report['run_id']}", body)


def _tiles(report: Report) -> list[tuple[str, str]]:
    made = report["protocol"]
    return [
        ("users evaluated", count(report["num_users"])),
        ("split", str(made["split"])),
        ("what trained", str(made["train_cut"])),
        ("items of the history in the lists", str(made["seen"])),
        ("items to choose from", count(made["num_candidates"])),
    ]


def _figures(report: Report) -> str:
    figures, cutoff = report["figures"], report["cutoff"]
    shown = [name for name in _RANK_FIGURES if name in figures[report["methods"][0]]]
    mrr = f"mrr@{report['list_length']}"
    rows = [
        [method, *(_with_interval(figures[method][name]) for name in (*shown, mrr))] for method in report["methods"]
    ]
    head = ["method", *(_name(name) for name in (*shown, mrr))]
    drawn = {method: figures[method][cutoff] for method in report["methods"]}
    verdict = "".join(f"<p>{escape(_margin(report, method))}</p>" for method in report["own"])
    section = Section(
        "figures",
        "The lists beside the baselines",
        f"HR@k is the share of users whose hidden item is among the first k. NDCG@k also counts how high: 1 for the first"
        f" place, 1 / log2(rank + 1) below. MRR is the mean of 1 / rank. Small print: {_confidence(report)} intervals over users.",
    )
    lead = f'<p class="soft">{escape(_name(cutoff))}, the line is the interval:</p>'
    body = table(head, rows, kind="dense", strong=report["own"])
    return section_block(section, f'{lead}{spans(drawn)}\n<div class="note card">{verdict}</div>\n{body}')


def _margin(report: Report, method: str) -> str:
    """How a method stands to the best of the others, user by user."""
    row = report["margin"][method].get(report["cutoff"])
    if row is None:
        return ""
    name, rival, interval = _name(report["cutoff"]), report["rival"], _interval(row, signed=True)
    if row["ci_low"] > 0:
        return f"{method} beats {rival}, the best of the others, in {name} by {row['difference']:+.4f} ({interval})."
    if row["ci_high"] < 0:
        return f"{method} is below {rival}, the best of the others, in {name} by {row['difference']:+.4f} ({interval})."
    return f"{method} and {rival}, the best of the others, cannot be told apart in {name}: {row['difference']:+.4f} ({interval})."


def _curves(report: Report) -> str:
    section = Section(
        "curves",
        "NDCG over the length of the list",
        "How NDCG grows with the places that count. Beside each method its value at the end.",
    )
    return section_block(section, curves(report["curves"], report["own"]))


def _segments(report: Report) -> str:
    name, found = _name(report["cutoff"]), report["segments"]
    rows = [
        [segment, count(_users(by_method)), *(_with_interval(by_method.get(method)) for method in report["shown"])]
        for segment, by_method in found.items()
    ]
    every = [
        [segment, *(_value(by_method.get(method)) for method in report["methods"])]
        for segment, by_method in found.items()
    ]
    section = Section(
        "segments",
        "Who is served well",
        f"{name} by the items of a user's history, by the training interactions of the hidden item (its quartiles), and by"
        " whether that item is cold: without training interactions, without codes, or coded from its text alone.",
    )
    whole = table(["segment", *report["methods"]], every, kind="dense")
    head = ["segment", "users", *report["shown"]]
    return section_block(
        section, f"{table(head, rows, kind='split')}<details><summary>All methods</summary>{whole}</details>"
    )


def _lists(report: Report) -> str:
    k, figures = report["list_length"], report["figures"]
    rows: list[list[Cell]] = []
    for method in report["methods"]:
        mine = {name: figures[method].get(f"{name}@{k}") for name in _LIST_FIGURES}
        shares = {name: percent(mine[name]["value"]) if mine[name] else "–" for name in ("coverage", "fallback_share")}
        numbers = [_with_interval(mine[name], digits) for name, digits in (("novelty", 2), ("diversity", 3))]
        rows.append([method, shares["coverage"], *numbers, shares["fallback_share"]])
    section = Section(
        "lists",
        "What is in the lists",
        f"Of the whole lists of {k}. Coverage: items that at least one user is shown, of those that may be listed. Novelty:"
        " bits of surprise of an item, -log2 of its share of the training interactions. Diversity: 1 where no two items of"
        " a list share their first code, 0 where all share all. Fallback: places that the method itself could not fill.",
    )
    head = ["method", "coverage", "novelty, bits", "diversity", "from the fallback"]
    return section_block(section, table(head, rows, kind="split", strong=report["own"]))


def _changes(report: Report) -> str:
    if report["before"] is None:
        section = Section("changes", "What changed", "No earlier evaluation has the same hidden items to compare with.")
        return section_block(section, "")
    changed = [row for row in report["changes"] if row["name"] in {name.partition("@")[0] for name in _CHANGED}]
    changed = [row for row in changed if row["name"] == "mrr" or f"{row['name']}@{row['k']}" in _CHANGED]
    moved = {row["method"] for row in changed if row["difference"] or row["ci_low"] or row["ci_high"]}
    rows: list[list[Cell]] = [
        [f"{row['method']}, {_name(_key(row))}", f"{row['theirs']:.4f}", f"{row['ours']:.4f}",
         (f"{row['difference']:+.4f}", _interval(row, signed=True)), _said(row)]
        for row in changed
        if row["method"] in moved
    ]  # fmt: skip
    users = changed[0]["num_users"] if changed else 0
    differs = [name for name, value in changed[0]["protocol"].items() if isinstance(value, dict)] if changed else []
    notes = (
        [f"The two runs differ in {', '.join(differs)}, so the figures are not those of one protocol."]
        if differs
        else []
    )
    same = [method for method in dict.fromkeys(row["method"] for row in changed) if method not in moved]
    if same:
        notes.append(f"Unchanged to the last user: {', '.join(same)}.")
    section = Section(
        "changes",
        "What changed since the last evaluation",
        f"Differences from {report['before']} over the {count(users)} users whose hidden item is the same in both, with"
        " intervals of a paired bootstrap: a difference whose interval holds 0 may be chance.",
        notes=tuple(notes),
    )
    head = ["figure", "before", "now", "difference", "in words"]
    return section_block(section, table(head, rows, kind="split") if rows else "")


def _said(row: Mapping[str, Any]) -> str:
    if row["difference"] == row["ci_low"] == row["ci_high"] == 0:
        return "the same"
    return "better" if row["ci_low"] > 0 else "worse" if row["ci_high"] < 0 else "may be chance"


def _examples(examples: Sequence[Mapping[str, Any]]) -> str:
    section = Section(
        "examples",
        "Some users",
        f"{len(examples)} users, drawn with a fixed seed. The hidden item is marked where it is in the list.",
    )
    return section_block(section, "".join(_example(example, place == 0) for place, example in enumerate(examples)))


def _example(example: Mapping[str, Any], is_open: bool) -> str:
    ranks = ", ".join(
        f"{method}: {'rank ' + str(found['rank']) if found['rank'] else 'not in the list'}"
        for method, found in example["lists"].items()
    )
    lists = "".join(
        f"<div><h3>{escape(method)}</h3><ol>{''.join(_listed(title, found['rank'] == place) for place, title in enumerate(found['titles'], 1))}</ol></div>"
        for method, found in example["lists"].items()
    )
    shown, total = len(example["history"]), example["history_length"]
    latest = f"History, the latest {shown} of {total}" if shown < total else "History"
    history = "".join(f"<li>{escape(short(title))}</li>" for title in example["history"])
    return (
        f'<details{" open" if is_open else ""}><summary><b>{escape(example["user_id"])}</b> <span class="soft">{escape(ranks)}</span></summary>'
        f"<p>Hidden item: <b>{escape(short(example['target']))}</b></p>"
        f'<div class="lists"><div><h3>{latest}</h3><ol>{history}</ol></div>{lists}</div></details>'
    )


def _listed(title: str, is_target: bool) -> str:
    words = escape(short(title))
    return f"<li><mark>{words}</mark></li>" if is_target else f"<li>{words}</li>"


def _protocol(protocol: Mapping[str, Any]) -> str:
    section = Section(
        "protocol",
        "Protocol",
        "What these figures hold for. Figures of another protocol are other figures, however close they look.",
    )
    rows = [(name.replace("_", " "), _written(value)) for name, value in protocol.items() if value not in ("", None)]
    return section_block(section, f"<details><summary>All of it</summary>{table(('what', 'value'), rows)}</details>")


def _written(value: Any) -> str:
    return ", ".join(f"{name} {inner:g}" for name, inner in value.items()) if isinstance(value, dict) else str(value)


def _with_interval(row: Mapping[str, Any] | None, digits: int = 4) -> Cell:
    if row is None:
        return "–"
    return f"{row['value']:.{digits}f}", "" if row["ci_low"] is None else _interval(row, digits)


def _value(row: Mapping[str, Any] | None) -> str:
    return "–" if row is None else f"{row['value']:.4f}"


def _interval(row: Mapping[str, Any], digits: int = 4, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{row['ci_low']:{sign}.{digits}f} to {row['ci_high']:{sign}.{digits}f}"


def _users(by_method: Mapping[str, Mapping[str, Any]]) -> int:
    return int(next(iter(by_method.values()))["num_users"])


def _confidence(report: Report) -> str:
    return percent(report["protocol"]["confidence"]).replace(".0%", "%")


def _key(row: Mapping[str, Any]) -> str:
    return f"{row['name']}@{row['k']}"


def _name(name: str) -> str:
    """'hit_ratio@10' as people write it."""
    return name.replace("hit_ratio", "HR").replace("ndcg", "NDCG").replace("mrr", "MRR")
