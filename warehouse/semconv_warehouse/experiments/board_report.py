"""The page of a leaderboard in Markdown, and its rows as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from semconv.clock import utc_now
from semconv.evaluation.segments import ALL, KNOWN_TRANSITION, NEW_TARGET, NEW_TRANSITION
from semconv_warehouse.experiments.pages import (
    command_line,
    difference,
    interval,
    markdown_table,
    number,
    with_interval,
)

Result = Mapping[str, Any]
SEGMENTS = {
    ALL: "All targets",
    KNOWN_TRANSITION: "Targets whose transition was seen in training",
    NEW_TRANSITION: "Targets whose transition was not seen in training",
    NEW_TARGET: "New targets: no interaction in training",
}
_CONDITIONS = ("train_cut", "seen", "split", "num_users", "seed")


def board_page(result: Result) -> str:
    """Return the page: conditions, a table for each segment, costs, and rows that are left out."""
    parts = [f"# {result['title']}, {utc_now():%Y-%m-%d}", "\n".join(_conditions(result))]
    for segment, title in SEGMENTS.items():
        rows = [row for row in board_rows(result, segment) if row]
        if rows:
            heads = [_head(name, result) for name in rows[0]]
            parts.append(f"## {title}\n\n{markdown_table(heads, [list(row.values()) for row in rows])}")
    if result["left_out"]:
        parts.append("Left out:\n\n" + "\n".join(f"- {row['label']}: {row['reason']}" for row in result["left_out"]))
    return "\n\n".join(parts) + "\n"


def board_rows(result: Result, segment: str) -> list[dict[str, str]]:
    """Return the rows of one segment as texts: figures with intervals, costs, and the conditions of each row."""
    return [_texts(row, result) for row in result["rows"] if row["segment"] == segment]


def board_figures(result: Result, versions: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield a row for each figure, difference and cost, with the keys of the files in benchmarks/results."""
    for row in result["rows"]:
        where = f"{row['segment']}, {row['num_users']} users, {row['split']}, {row['train_cut']}, seen {row['seen']}"
        shared = {
            "benchmark": result["table"],
            "case": f"{row['label']}: {where}, seed {row['seed']}",
            "peer": None,
            "peer_name": "",
            "ratio": None,
            "versions": dict(versions),
        }
        for name in ("ndcg@10", "hr@10"):
            interval = [row[f"{name}_low"], row[f"{name}_high"]]
            yield {**shared, "metric": name, "unit": "mean over users", "ours": row[name], "interval": interval}
            for key, label in result["references"].items():
                less = f"{name}_less_{key}"
                if row[less] is not None:
                    interval = [row[f"{less}_low"], row[f"{less}_high"]]
                    unit = f"difference from {label}"
                    yield {**shared, "metric": name, "unit": unit, "ours": row[less], "interval": interval}
        if row["segment"] == ALL:
            for name in ("training_processor_seconds", "list_processor_seconds_per_1000_users"):
                if row[name] is not None:
                    yield {**shared, "metric": name, "unit": "s", "ours": row[name], "interval": None}


def _texts(row: Result, result: Result) -> dict[str, str]:
    texts = {"row": row["label"] + ("*" if row["is_chosen_on_these_users"] else "")}
    for name in ("ndcg@10", "hr@10"):
        texts[name] = f"{row[name]:.4f} {interval(*with_interval(row, name)[1:])}"
        for key in result["references"]:
            texts[f"{name}_less_{key}"] = difference(*with_interval(row, f"{name}_less_{key}"))
    texts["training s"] = number(row["training_processor_seconds"], ",.1f") or "not recorded"
    texts["lists s / 1,000"] = number(row["list_processor_seconds_per_1000_users"], ",.3f")
    return texts | {name: f"{row[name]:,}" if name == "num_users" else str(row[name]) for name in _CONDITIONS}


def _head(name: str, result: Result) -> str:
    for metric in ("ndcg@10", "hr@10"):
        if name == metric:
            return metric.upper()
        if name.startswith(f"{metric}_less_"):
            return f"{metric.upper()} less {result['references'][name.removeprefix(f'{metric}_less_')]}"
    return name.replace("num_users", "users").replace("_", " ")


def _conditions(result: Result) -> Iterator[str]:
    data, options, references = result["data"], result["options"], result["references"]
    asked = ["--peer-seconds", f"{options['peer_seconds']:g}"] if options["peer_seconds"] else []
    asked += ["--other-head"] if options["other_head"] else []
    yield f"`{command_line(result, *asked)}`"
    yield ""
    yield f"- Data: {data['users']:,} users, {data['items']:,} items, {data['interactions']:,} interactions."
    yield (
        f"- Protocol: train cut `{result['train_cut']}`, seen items {result['seen']}, split {result['split']},"
        f" {result['num_users']:,} users evaluated, seed {result['seed']}, full ranking. Ranked by {result['ranker']}."
    )
    yield "- Intervals: bootstrap over users. Differences are paired over the same users; an interval that holds 0 is no difference."
    if "rival" in references:
        yield f"- {references['rival']} is the strongest counter on these users."
    if any(row["is_chosen_on_these_users"] for row in result["rows"]):
        yield (
            "- A row with * has an epoch, weights or parameters that were chosen on users of this split, so its figures are"
            " too high. `--split test` measures on items on which nothing was chosen."
        )
    yield (
        "- Cost: processor seconds. Training is the training alone, without validation; for counters and popularity it is"
        f" counting. Lists are those of {result['timed_users']:,} of the users, with everything loaded, for 1,000 users."
        " A blend costs its fit and the model."
    )
    for row in result["rows"]:
        if row["segment"] == ALL and row["reads"]:
            yield f"- {row['label']} reads items and {' and '.join(_READS[name] for name in row['reads'])}."


_READS = {"dates": "the dates of events", "texts": "text vectors"}
