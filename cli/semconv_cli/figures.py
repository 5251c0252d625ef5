"""The rows of the table ``metric`` as people read them: a line a method, a column a figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from semconv_cli import output

# What tells two lines apart; the first two are always shown, the others where they differ.
_ALWAYS = ("method",)
_WHERE_DIFFERENT = ("run_id", "split", "segment", "train_cut", "seen")
_INTERVAL_OF = "ndcg@10"
_SHORT = {"hit_ratio": "hr"}


def write_figures(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print metric rows pivoted, with the interval of NDCG@10, then what all of them share."""
    rows = list(rows)
    different = [name for name in _WHERE_DIFFERENT if len({row.get(name) for row in rows}) > 1]
    lines: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = tuple(row.get(name) for name in (*_ALWAYS, *different))
        line = lines.setdefault(key, dict(zip((*_ALWAYS, *different), key, strict=True)))
        name = row["name"] if row.get("k") is None else f"{row['name']}@{row['k']}"
        line[name.replace("hit_ratio", _SHORT["hit_ratio"])] = row["value"]
        if name == _INTERVAL_OF and row.get("ci_low") is not None:
            line[f"{name} interval"] = f"{row['ci_low']:.4f} to {row['ci_high']:.4f}"
    output.write_rows(lines.values())
    if rows:
        shared = [f"{name} {rows[0][name]}" for name in ("split", "train_cut", "seen") if name not in different]
        output.write(f"\n{rows[0]['num_users']} users, {', '.join(shared)}")
