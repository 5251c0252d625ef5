"""Write the result of an experiment in the form of benchmarks/results: a page in Markdown, and its figures as JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from semconv.artifacts import machine_errors, write_bytes
from semconv.clock import utc_now
from semconv.errors import SettingsError
from semconv.modes import PUBLIC_FILE
from semconv_warehouse.experiments.board_report import board_figures, board_page
from semconv_warehouse.experiments.comparison import LESS_REFERENCE
from semconv_warehouse.experiments.pages import (
    command_line,
    difference,
    interval,
    markdown_table,
    number,
    with_interval,
)
from semconv_warehouse.experiments.plan import FIGURES

_PACKAGES = ("torch", "transformers")
Result = Mapping[str, Any]


def write_report(result: Result, file: Path) -> list[Path]:
    """Write the page and, beside it, a JSON file with a row for each figure; return both files.

    Raises:
        SettingsError: the name of the file does not end with ``.md``.
    """
    check_report_file(file)
    is_board = "references" in result
    figures = board_figures(result, _versions()) if is_board else figure_rows(result)
    rows = json.dumps(list(figures), indent=1, allow_nan=False) + "\n"
    beside = file.with_suffix(".json")
    with machine_errors(file):
        write_bytes(file, (board_page(result) if is_board else markdown(result)).encode(), PUBLIC_FILE)
        write_bytes(beside, rows.encode(), PUBLIC_FILE)
    return [file, beside]


def check_report_file(file: Path) -> None:
    """Raise SettingsError if the name of a report does not end with ``.md``."""
    if file.suffix != ".md":
        raise SettingsError(
            f"{file}: the name of a report must end with .md; a JSON file of the same name goes beside it"
        )


def markdown(result: Result) -> str:
    """Return the page of an experiment: conditions, rows, rows that are left out, and verdicts."""
    parts = [f"# {result['title']}, {utc_now():%Y-%m-%d}", "\n".join(_conditions(result)), _table_of_rows(result)]
    if any("collision_rate" in row for row in result["means"]) and result["table"] == "table5":
        parts.append(_table_of_codes(result))
    if result["left_out"]:
        parts.append("Left out:\n\n" + "\n".join(f"- {row['label']}: {row['reason']}" for row in result["left_out"]))
    if result["verdicts"]:
        parts.append("## The claims of the paper\n\n" + _table_of_verdicts(result))
    return "\n\n".join(parts) + "\n"


def figure_rows(result: Result) -> Iterator[dict[str, Any]]:
    """Yield a row for each figure, difference, cost and verdict, with the keys of the other files in benchmarks/results."""
    data = result["data"]
    where = (
        f"{data['paper_data_set'] or 'own data'}, {data['users']} users, {result['split']}, {result['train_cut']},"
        f" seen {result['seen']}, {len(result['seeds'])} seeds, {result['budget'] or 'no'} samples"
    )
    shared = {"benchmark": result["table"], "peer": None, "peer_name": "", "ratio": None, "versions": _versions()}
    for row in result["means"]:
        case = {**shared, "case": f"{row['label']}: {where}"}
        for name in FIGURES:
            paper = row.get(f"paper {name}")
            beside = {} if not paper else {"peer": paper, "peer_name": "paper", "ratio": row[name] / paper}
            interval = [row["ndcg@10_low"], row["ndcg@10_high"]] if name == "ndcg@10" else None
            yield {**case, "metric": name, "unit": "mean over users", "ours": row[name], "interval": interval, **beside}
        if row[LESS_REFERENCE] is not None:
            interval = [row[f"{LESS_REFERENCE}_low"], row[f"{LESS_REFERENCE}_high"]]
            unit = f"difference from {result['reference']}"
            yield {**case, "metric": "ndcg@10", "unit": unit, "ours": row[LESS_REFERENCE], "interval": interval}
        for name, unit in (("tuning_samples", "samples"), ("tuning_processor_seconds", "s")):
            if row[name] is not None:
                yield {**case, "metric": name, "unit": unit, "ours": row[name], "interval": None}
    for row in result["verdicts"]:
        interval = None if row["difference"] is None else [row["low"], row["high"]]
        beside = {"peer": row["paper difference"], "peer_name": "paper", "verdict": row["verdict"]}
        claim = {"case": f"{row['claim']}: {where}", "metric": "ndcg@10", "unit": "difference of the claim"}
        yield {**shared, **claim, "ours": row["difference"], "interval": interval, **beside}


def _conditions(result: Result) -> Iterator[str]:
    data, seeds = result["data"], result["seeds"]
    options = ["--seeds", str(len(seeds)), *(["--budget", str(result["budget"])] if result["budget"] else [])]
    options += [word for name in result["backbones"] for word in ("--backbone", name)]
    options += ["--codes", result["codes"]] if result["codes"] else []
    yield f"`{command_line(result, *options)}`"
    yield ""
    yield (
        f"- Data: {data['users']:,} users, {data['items']:,} items, {data['interactions']:,} interactions"
        f" ({data['paper_data_set'] or 'no data set of the paper'})."
    )
    yield (
        f"- Protocol: split {result['split']}, train cut `{result['train_cut']}`, seen items {result['seen']},"
        f" {result['means'][0]['num_users']:,} users evaluated, seeds {', '.join(map(str, seeds))}."
    )
    budget = f"{result['budget']:,} training samples for each row" if result["budget"] else "the epochs of the settings"
    yield f"- Budget: {budget}. Settings: {'preset ' + result['preset'] if result['preset'] else 'of the project'}."
    yield f"- Published figures: {result['published']}."
    yield (
        f"- Intervals: {_percent(result)} bootstrap over users; the value of a user is the mean over the seeds. Differences are paired"
        f" over users, from the row {result['reference']}."
    )
    if result["not_above_popularity"]:
        yield (
            f"- Not above popularity on the same users: {', '.join(result['not_above_popularity'])}."
            " These rows have learned too little for a comparison; give them a larger budget."
        )
    for label, why in result["not_aligned"].items():
        yield f"- {not_aligned_line(label, why)}"
    for note in result["notes"]:
        yield f"- {note}"


def not_aligned_line(label: str, why: str) -> str:
    """Return the sentence on a row whose settings ask for alignment and whose codes have none."""
    return f"The codes of the row {label} are not aligned with text ({why})."


def _percent(result: Result) -> str:
    return f"{100 * result['confidence']:g} %"


def _table_of_rows(result: Result) -> str:
    means = result["means"]
    shows_paper = any("paper ndcg@10" in row for row in means)
    heads = [
        "row",
        *(name.upper() for name in FIGURES),
        f"{_percent(result)} interval of NDCG@10",
        f"less {result['reference']}",
    ]
    heads += ["published NDCG@10"] if shows_paper else []
    heads += ["samples", "processor seconds"]
    lines = []
    for row in means:
        cells = [row["label"], *(f"{row[name]:.4f}" for name in FIGURES)]
        cells += [interval(row["ndcg@10_low"], row["ndcg@10_high"]), difference(*with_interval(row, LESS_REFERENCE))]
        cells += [number(row.get("paper ndcg@10"), ".4f")] if shows_paper else []
        cells += [number(row["tuning_samples"], ",d"), number(row["tuning_processor_seconds"], ",.0f")]
        lines.append(cells)
    return markdown_table(heads, lines)


def _table_of_codes(result: Result) -> str:
    lines = [
        [
            row["label"],
            f"{row['collision_rate']:.2%}",
            f"{row['collision_rate_distinct']:.2%}",
            f"{row['new_tokens']:,.0f}",
        ]
        for row in result["means"]
        if "collision_rate" in row
    ]
    heads = ["row", "items that share their codes", "1 - different code sequences / items", "new tokens"]
    return markdown_table(heads, lines)


def _table_of_verdicts(result: Result) -> str:
    lines = [
        [
            row["claim"],
            difference(row["difference"], row["low"], row["high"]),
            ", ".join(number(one, "+.4f") for one in row["by seed"]),
            f"{number(row['paper difference'], '+.4f')} {row['paper data set'] or ''}".strip(),
            row["verdict"],
        ]
        for row in result["verdicts"]
    ]
    return markdown_table(["claim", "difference in NDCG@10", "with each seed", "the paper's", "verdict"], lines)


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
