"""Print metrics from the table ``metric``: a line per method, a column per metric, and how the metrics were measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from semconv.evaluation.methods import report_order
from semconv.reports.order import segment_order
from semconv.reports.protocol import entry_in_words, is_difference, stated
from semconv_cli import output

Row = Mapping[str, Any]

_SHOWN = ("hit_ratio@1", "hit_ratio@5", "hit_ratio@10", "ndcg@5", "ndcg@10")
_INTERVAL_OF = "ndcg@10"
_ALL, _REACHABLE = "all", "reachable target"
# Entries of the protocol that differ between methods, or that a reader of the table does not need.
_NOT_SHOWN = ("parameters", "tuned_on", "tuned_by", "behavior_run", "tuned_on_this_split", "blend")


def write_figures(rows: Iterable[Row], *, segments: bool = False) -> None:
    """Print the metrics of each method, and with ``segments`` also by user segment, and how they were measured."""
    rows = sorted(rows, key=lambda row: report_order(row["method"]))
    everybody = [row for row in rows if row["segment"] == _ALL]
    output.write_rows(_with_reachable(_lines(everybody, ("method",)), rows))
    if segments:
        output.write("")
        output.write_rows(_by_segment(rows))
    if everybody:
        output.write(f"\n{protocol_line(everybody)}")
    from semconv.evaluation.gain import gain_in_words  # loads numpy

    gain = gain_in_words(rows)
    if gain:
        output.write(f"\n{gain}")


def write_differences(rows: Sequence[Row]) -> None:
    """Print the paired differences between two evaluate runs, and the evaluation protocol."""
    shown = [row for row in rows if f"{row['name']}@{row['k']}" in _SHOWN]
    lines = [
        {
            "method": row["method"],
            "figure": _short(f"{row['name']}@{row['k']}"),
            "this run": row["ours"],
            "that run": row["theirs"],
            "difference": f"{row['difference']:+.4f}",
            "interval": f"{row['ci_low']:+.4f} to {row['ci_high']:+.4f}",
        }
        for row in sorted(shown, key=lambda row: report_order(row["method"]))
    ]
    output.write_rows(lines)
    if rows:
        output.write(f"\n{rows[0]['num_users']:,} users; {_written(rows[0]['protocol'])}")


def write_questions(rows: Sequence[Row]) -> None:
    """Print the metrics of each way to answer held-out queries, and the paired differences between the ways."""
    shown = [row for row in rows if f"{row['name']}@{row['k']}" in _SHOWN]
    output.write_rows(_lines(shown, ("method",)))
    differences = [row for row in rows if "_over_" in row["name"] and row["k"] == 10]
    output.write("")
    output.write_rows(
        [
            {
                "method": row["method"],
                "less": row["name"].split("_over_")[1],
                "figure": _short(f"{row['name'].split('_over_')[0]}@{row['k']}"),
                "difference": f"{row['value']:+.4f}",
                "interval": f"{row['ci_low']:+.4f} to {row['ci_high']:+.4f}",
            }
            for row in differences
        ]
    )
    if shown:
        output.write(f"\n{protocol_line(shown)}".replace(" users;", " queries;", 1))


def protocol_line(rows: Sequence[Row]) -> str:
    """Return one line that says how rows were measured: the number of users and the settings that they share."""
    first = rows[0]
    shared = {name: value for name, value in first["protocol"].items() if name not in _NOT_SHOWN}
    run = {name: first[name] for name in ("split", "train_cut", "seen")}
    num_users = max(row["num_users"] for row in rows)  # some users have no diversity
    return f"{num_users:,} users; {_written({**run, **shared})}"


def _lines(rows: Iterable[Row], keys: tuple[str, ...]) -> list[dict[str, Any]]:
    lines: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        name = f"{row['name']}@{row['k']}"
        if name in _SHOWN:
            key = tuple(row[part] for part in keys)
            line = lines.setdefault(key, dict(zip(keys, key, strict=True)))
            line[_short(name)] = row["value"]
            if name == _INTERVAL_OF and row["ci_low"] is not None:
                line[f"{name} interval"] = f"{row['ci_low']:.4f} to {row['ci_high']:.4f}"
    return list(lines.values())


def _with_reachable(lines: list[dict[str, Any]], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Add a column to the lines of the methods: the figure of users whose held-out item lists can contain."""
    values = {
        row["method"]: row["value"]
        for row in rows
        if row["segment"] == _REACHABLE and f"{row['name']}@{row['k']}" == _INTERVAL_OF
    }
    return [{**line, f"{_INTERVAL_OF} reachable": values[line["method"]]} if values else line for line in lines]


def _by_segment(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return a table line for each user segment and method, in the order in which reports show them."""
    users = {row["segment"]: row["num_users"] for row in rows if row["name"] == "hit_ratio"}
    inner = [row for row in rows if row["segment"] != _ALL]
    lines = _lines(sorted(inner, key=lambda row: segment_order(row["segment"])), ("segment", "method"))
    return [{"segment": line["segment"], "users": users[line["segment"]], **line} for line in lines]


def _short(name: str) -> str:
    return name.replace("hit_ratio", "hr")


def _written(protocol: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} ({entry_in_words(value)})" if isinstance(value, Mapping) and not is_difference(value)
        else f"{name} {entry_in_words(value)}"
        for name, value in stated(protocol).items()
    )  # fmt: skip
