"""The output of the query benchmark: rows, a table for each case, and remarks about the texts."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.peers.query_data import Reviews, UserParts
from benchmarks.rows import Comparison, Row, markdown_table

PACKAGES = ["torch", "transformers", "scipy"]
METRICS = ("HR@1", "HR@10", "MRR@20")


def remarks_on(reviews: Reviews) -> list[str]:
    """Count reviews and equal texts, with the users divided by the first seed."""
    parts = UserParts.draw(reviews, 0)
    occurrences = Counter(text.lower() for text in reviews.text)
    known = {text.lower() for text, is_in in zip(reviews.text, parts.train, strict=True) if is_in}
    asked = [text.lower() for text, is_in in zip(reviews.text, parts.test, strict=True) if is_in]
    masked = reviews.masked(everywhere=False)
    sizes = ", ".join(
        f"{int(mask.sum())} {name}"
        for name, mask in (("train", parts.train), ("validate", parts.valid), ("test", parts.test))
    )
    return [
        f"{len(reviews.text)} reviews of {len(reviews.user_ids)} users and {len(set(reviews.item.tolist()))} of"
        f" {reviews.items.num_rows} items; with the first seed {sizes}.",
        f"{sum(number for number in occurrences.values() if number > 1) / len(reviews.text):.1%} of the reviews have the same text as another"
        f" one; {sum(text in known for text in asked) / max(1, len(asked)):.1%} of the tested ones have a text of a training review.",
        f"Masking an item's own title changes {sum(a != b for a, b in zip(reviews.text, masked.text, strict=True)) / len(reviews.text):.1%}"
        f" of the texts and leaves {sum(not text for text in masked.text)} empty.",
    ]


def over_seeds(measured: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], list[Mapping[str, Any]]]:
    """Group the lines of all seeds by case, method and metric."""
    found: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for line in measured:
        found.setdefault((line["case"], line["method"], line["metric"]), []).append(line)
    return found


def rows_of(name: str, measured: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Make rows of the model beside each peer: means over seeds, and the number of seeds with a significant lead.

    A lead is significant if its whole interval is above 0.
    """
    lines = over_seeds(measured)
    rows = []
    for (case, method, metric), mine in lines.items():
        if method == "model":
            continue
        ours, peer = (statistics.fmean(line["value"] for line in each) for each in (lines[case, "model", metric], mine))
        comparison = Comparison("query", method, PACKAGES)
        where = f"{name}: {case}"
        rows.append(comparison.row(where, metric, "mean", ours=ours, peer=peer or None, higher_is_better=True))
        leads = sum(line["lead_interval"][0] > 0 for line in mine)
        rows.append(comparison.row(where, f"{metric}, seeds with a sure lead", f"of {len(mine)}", ours=float(leads)))
    return rows


def markdown(name: str, measured: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> str:
    """Make a table for each case: means over seeds, standard deviations, and the intervals of the first seed."""
    lines = over_seeds(measured)
    text = [f"# The query task on {name}", "", *(line for remark in remarks for line in (remark, ""))]
    for case in dict.fromkeys(case for case, _, _ in lines):
        count = statistics.fmean(line["num_reviews"] for line in lines[case, "model", METRICS[0]])
        table = []
        for method in dict.fromkeys(method for each, method, _ in lines if each == case):
            first = lines[case, method, "HR@10"][0]
            low, high = first["lead_interval"]
            lead = "" if method == "model" else f"{first['lead']:+.3f} ({low:+.3f} to {high:+.3f})"
            table.append([method, *(_cell(lines[case, method, metric]) for metric in METRICS), lead])
        heads = ["method", *METRICS, "lead of the model at HR@10"]
        text += [f"## {case} ({count:.0f} reviews for each seed)", "", markdown_table(heads, table)]
    return "\n".join(text)


def _cell(lines: Sequence[Mapping[str, Any]]) -> str:
    """Format the mean over seeds, the standard deviation, and the first seed's figure with its interval."""
    values, (low, high) = [line["value"] for line in lines], lines[0]["interval"]
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}; first seed {values[0]:.3f} ({low:.3f} to {high:.3f})"
