"""The page of ``semconv evaluate --html``, which shows the figures of ``evaluation_report`` as text and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from semconv.columns import UNREACHABLE
from semconv.reports.charts import interval_bars, ndcg_chart
from semconv.reports.page import render
from semconv.reports.protocol import entry_in_words, is_difference, stated
from semconv.reports.section import Cell, count, percent

Report = Mapping[str, Any]

_RANK_FIGURES = ("hit_ratio@1", "hit_ratio@5", "hit_ratio@10", "ndcg@5", "ndcg@10")
_CHANGED = ("hit_ratio@10", "ndcg@10")  # figures that are compared with the last evaluation, in addition to MRR


class Table(NamedTuple):
    """A table of the page: its head and its rows."""

    head: list[str]
    rows: list[list[Cell]]


def evaluation_page(report: Report) -> str:
    """Return the HTML page for the figures of ``evaluation_report``."""
    figures, protocol, methods = report["figures"], report["protocol"], report["methods"]
    return render(
        "evaluation.html",
        report=report,
        held_out_item=_held_out_item(protocol),
        unreachable=_unreachable(protocol),
        cutoff=_label(report["cutoff"]),
        confidence=percent(protocol["confidence"]).replace(".0%", "%"),
        bars=interval_bars({method: figures[method][report["cutoff"]] for method in methods}),
        margins=[*(margin for method in report["own"] if (margin := _margin(report, method))), *_gain(report)],
        figures=_figures(report),
        chart=ndcg_chart(report["curves"], report["own"]),
        segments=_segments(report),
        all_segments=_all_segments(report),
        lists=_lists(report),
        changes=None if report["before"] is None else _changes(report["changes"]),
        protocol=[(name.replace("_", " "), entry_in_words(value)) for name, value in stated(protocol).items()],
    )


def _held_out_item(protocol: Report) -> str:
    if str(protocol["train_cut"]).startswith("before"):
        return "first item after the cut"
    return {"test": "last item", "valid": "last but one item"}[protocol["split"]]


def _unreachable(protocol: Report) -> dict[str, Any]:
    """Return the number of held-out items that no list can contain, and the number for each reason."""
    reasons = [
        (words, protocol[name]) for name, words in UNREACHABLE.items() if protocol.get(name)
    ]  # a run of an earlier version did not count them
    return {"number": sum(number for _, number in reasons), "reasons": reasons}


def _figures(report: Report) -> Table:
    figures = report["figures"]
    shown = [name for name in _RANK_FIGURES if name in figures[report["methods"][0]]]
    shown.append(f"mrr@{report['list_length']}")
    rows = [[method, *(_with_interval(figures[method][name]) for name in shown)] for method in report["methods"]]
    return Table(["method", *map(_label, shown)], rows)


def _margin(report: Report, method: str) -> str:
    """Return a sentence that compares a method with the best baseline; empty if both have no users in common."""
    row = report["margin"][method].get(report["cutoff"])
    if row is None:
        return ""
    name, rival = _label(report["cutoff"]), f"{report['rival']}, the best baseline,"
    difference = f"{row['difference']:+.4f} ({_interval(row, signed=True)})"
    if row["ci_low"] > 0:
        return f"{method} beats {rival} in {name} by {difference}."
    if row["ci_high"] < 0:
        return f"{method} is worse than {rival} in {name} by {difference}."
    return f"{method} and {rival} do not differ significantly in {name}: {difference}."


def _gain(report: Report) -> list[str]:
    return [report["gain"]] if report["gain"] else []


def _segments(report: Report) -> Table:
    rows: list[list[Cell]] = []
    for segment, by_method in report["segments"].items():
        users = count(int(next(iter(by_method.values()))["num_users"]))
        rows.append([segment, users, *(_with_interval(by_method.get(method)) for method in report["shown"])])
    return Table(["segment", "users", *report["shown"]], rows)


def _all_segments(report: Report) -> Table:
    rows: list[list[Cell]] = [
        [segment, *(_value(by_method.get(method)) for method in report["methods"])]
        for segment, by_method in report["segments"].items()
    ]
    return Table(["segment", *report["methods"]], rows)


def _lists(report: Report) -> Table:
    rows: list[list[Cell]] = []
    for method in report["methods"]:
        coverage, novelty, diversity, fallback = (
            report["figures"][method].get(f"{name}@{report['list_length']}")
            for name in ("coverage", "novelty", "diversity", "fallback_share")
        )
        rows.append(
            [method, _share(coverage), _with_interval(novelty, 2), _with_interval(diversity, 3), _share(fallback)]
        )
    return Table(["method", "coverage", "novelty, bits", "diversity", "from the fallback"], rows)


def _changes(changes: list[Report]) -> dict[str, Any]:
    """Return the table of differences from the earlier run, the number of compared users, and remarks."""
    changed = [row for row in changes if row["name"] == "mrr" or _key(row) in _CHANGED]
    moved = {row["method"] for row in changed if row["difference"] or row["ci_low"] or row["ci_high"]}
    rows: list[list[Cell]] = [
        [f"{row['method']}, {_label(_key(row))}", f"{row['theirs']:.4f}", f"{row['ours']:.4f}",
         (f"{row['difference']:+.4f}", _interval(row, signed=True)), _in_words(row)]
        for row in changed
        if row["method"] in moved
    ]  # fmt: skip
    differs = [name for name, value in changed[0]["protocol"].items() if is_difference(value)] if changed else []
    same = [method for method in dict.fromkeys(row["method"] for row in changed) if method not in moved]
    remarks = []
    if differs:
        remarks.append(f"The two runs have different protocols; they differ in {', '.join(differs)}.")
    if same:
        remarks.append(f"Unchanged for every user: {', '.join(same)}.")
    return {
        "table": Table(["figure", "before", "now", "difference", "in words"], rows),
        "num_users": changed[0]["num_users"] if changed else 0,
        "remarks": remarks,
    }


def _in_words(row: Report) -> str:
    if row["difference"] == row["ci_low"] == row["ci_high"] == 0:
        return "the same"
    return "better" if row["ci_low"] > 0 else "worse" if row["ci_high"] < 0 else "may be chance"


def _with_interval(row: Report | None, digits: int = 4) -> Cell:
    if row is None:
        return "–"
    return f"{row['value']:.{digits}f}", "" if row["ci_low"] is None else _interval(row, digits)


def _value(row: Report | None) -> str:
    return "–" if row is None else f"{row['value']:.4f}"


def _share(row: Report | None) -> str:
    return "–" if row is None else percent(row["value"])


def _interval(row: Report, digits: int = 4, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{row['ci_low']:{sign}.{digits}f} to {row['ci_high']:{sign}.{digits}f}"


def _key(row: Report) -> str:
    return f"{row['name']}@{row['k']}"


def _label(name: str) -> str:
    """Return the usual name of a metric, such as HR@10 for ``hit_ratio@10``."""
    return name.replace("hit_ratio", "HR").replace("ndcg", "NDCG").replace("mrr", "MRR")
