"""What the query benchmark prints: rows beside peers, a table a case, and what a reader must know of the texts."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.query_data import Reviews, UserParts
from benchmarks.rows import Row, Subject

PACKAGES = ["torch", "transformers", "scipy"]
METRICS = ("HR@1", "HR@10", "MRR@20")


def counted(reviews: Reviews) -> list[str]:
    """What a reader must know of the texts, in the cut of the first seed."""
    parts = UserParts.draw(reviews, 0)
    often = Counter(text.lower() for text in reviews.text)
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
        f"{sum(number for number in often.values() if number > 1) / len(reviews.text):.1%} of the reviews have a text that another"
        f" one has too; {sum(text in known for text in asked) / max(1, len(asked)):.1%} of those tested have one of training.",
        f"Masking the own title changes {sum(a != b for a, b in zip(reviews.text, masked.text, strict=True)) / len(reviews.text):.1%}"
        f" of the texts and leaves {sum(not text for text in masked.text)} empty.",
    ]


def over_seeds(measured: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], list[Mapping[str, Any]]]:
    """Lines by case, method and metric, one a seed."""
    found: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for line in measured:
        found.setdefault((line["case"], line["method"], line["metric"]), []).append(line)
    return found


def rows_of(name: str, measured: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The model beside each peer, means over seeds; and in how many seeds the interval of its lead is above 0."""
    lines = over_seeds(measured)
    rows = []
    for (case, method, metric), mine in lines.items():
        if method == "model":
            continue
        ours, peer = (statistics.fmean(line["value"] for line in each) for each in (lines[case, "model", metric], mine))
        subject = Subject("query", method, PACKAGES)
        where = f"{name}: {case}"
        rows.append(subject.row(where, metric, "mean", ours=ours, peer=peer or None, higher_is_better=True))
        surely = sum(line["lead_interval"][0] > 0 for line in mine)
        rows.append(subject.row(where, f"{metric}, seeds with a sure lead", f"of {len(mine)}", ours=float(surely)))
    return rows


def markdown(name: str, measured: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> str:
    """One table a case: means over seeds, their standard deviation, and the first seed's intervals."""
    lines = over_seeds(measured)
    text = [f"# The query task on {name}", "", *(line for remark in remarks for line in (remark, ""))]
    for case in dict.fromkeys(case for case, _, _ in lines):
        count = statistics.fmean(line["num_reviews"] for line in lines[case, "model", METRICS[0]])
        text += [
            f"## {case} ({count:.0f} reviews a seed)",
            "",
            f"| method | {' | '.join(METRICS)} | lead of the model at HR@10 |",
        ]
        text.append("|" + "---|" * (len(METRICS) + 2))
        for method in dict.fromkeys(method for each, method, _ in lines if each == case):
            cells = [_cell(lines[case, method, metric]) for metric in METRICS]
            first = lines[case, method, "HR@10"][0]
            low, high = first["lead_interval"]
            lead = "" if method == "model" else f"{first['lead']:+.3f} ({low:+.3f} to {high:+.3f})"
            text.append(f"| {method} | {' | '.join(cells)} | {lead} |")
        text.append("")
    return "\n".join(text)


def _cell(lines: Sequence[Mapping[str, Any]]) -> str:
    """Mean over seeds, standard deviation, and the first seed's own figure with its interval."""
    values, (low, high) = [line["value"] for line in lines], lines[0]["interval"]
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}; first seed {values[0]:.3f} ({low:.3f} to {high:.3f})"


def listed(values: Mapping[str, float]) -> str:
    """Names with their figures."""
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items())
