"""``semconv experiment``: tune and evaluate several combinations of settings on the data of a project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import click

from semconv_cli import output
from semconv_cli.options import FILE, Job, json_option
from semconv_cli.state import State, pass_state


@click.command("experiment", cls=Job, short_help="Compare settings: a table of the paper, or your own.")
@click.argument("table")
@click.option(
    "--split",
    type=click.Choice(["test", "valid"]),
    default="valid",
    show_default=True,
    help="Held-out items that the methods must predict. With valid, training uses all but the last two items of a user."
    " With test, training uses split.train_cut. If split.train_cut = [:-1], the number of epochs is the one that the same"
    " command with --split valid chose before.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of trainings per row, each with a different random seed.",
)
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    metavar="SAMPLES",
    help="Number of training samples of every row that trains a model or a peer. Validation chooses the epoch."
    " Without this option, every row has its own limits from the settings.",
)
@click.option(
    "--backbone",
    "backbones",
    multiple=True,
    metavar="MODEL",
    help="A row of table6: a folder or hub name of a pretrained backbone, built-in, or built-in:LAYERSxWIDTH. Give it at"
    " least twice, the smallest model first.",
)
@click.option(
    "--codes",
    type=FILE,
    metavar="FILE",
    help="File with the codes of LC-Rec: NAME.index.json, or a Parquet file of item_id and codes.",
)
@click.option(
    "--peer-seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="For the table peers: the most processor seconds that the training of SASRec may take. By default, the seconds"
    " that the training of the project's model took.",
)
@click.option(
    "--other-head",
    is_flag=True,
    help="For peers: also tune a model with the other head (tuning.history), for the default epochs of this head.",
)
@click.option(
    "--report",
    type=FILE,
    metavar="FILE.md",
    help="Also write a page with rows, costs and verdicts to this file, and its figures to a JSON file beside it.",
)
@json_option
@pass_state
def experiment_command(
    state: State,
    table: str,
    split: Literal["test", "valid"],
    seeds: int,
    budget: int | None,
    backbones: tuple[str, ...],
    codes: Path | None,
    peer_seconds: float | None,
    other_head: bool,
    report: Path | None,
    as_json: bool,
) -> None:
    """Tune and evaluate a model for every row of TABLE: table1, table3 to table8, peers, or a TOML file of rows.

    peers is a leaderboard: the project's own model and blend beside counters and SASRec, on the same users.
    The tables of the paper use the settings of the preset paper; --set changes a setting of all rows. Table 2 of the
    paper is `semconv show data`. Results are stored in data/experiments and are never published. To continue a killed
    experiment, run the same command again.
    """
    with state.open() as project:
        from semconv_warehouse.experiments.options import ExperimentOptions
        from semconv_warehouse.experiments.report import check_report_file, write_report

        if report is not None:
            check_report_file(report)
        options = ExperimentOptions(
            split, tuple(range(seeds)), budget or 0, backbones, codes, peer_seconds or 0.0, other_head
        )
        experiment = project.experiment(table, options)
        for count, row in enumerate(experiment, start=1):
            state.remark(_line(row, experiment.experiment.reference))
            state.note({"rows": count})
        result = experiment.result()
        if report is not None:
            write_report(result, report)
            state.remark(f"wrote {report} and {report.with_suffix('.json')}")
    if as_json:
        output.write_json(result)
        return
    if "references" in result:
        _write_board(result)
        return
    _write_table(result)


def _write_table(result: Mapping[str, Any]) -> None:
    """Print the rows of a table, then the rows that are left out, the verdicts, and notes on rows."""
    from semconv_warehouse.experiments.plan import CODE_FIGURES
    from semconv_warehouse.experiments.report import not_aligned_line

    is_of_codes = result["table"] == "table5"
    output.write_rows(
        {name: value for name, value in row.items() if is_of_codes or name not in CODE_FIGURES}
        for row in result["means"]
    )
    for name in ("left_out", "verdicts"):
        if result[name]:
            output.write(f"\n{name.replace('_', ' ')}")
            output.write_rows(result[name], is_cut=False)
    if labels := result["not_above_popularity"]:
        output.write(
            f"\nnot above popularity: {', '.join(labels)}; these rows have learned too little for a comparison; give them a"
            " larger --budget"
        )
    for label, why in result["not_aligned"].items():
        output.write(f"\n{not_aligned_line(label, why)}")
    for note in result["notes"]:
        output.write(f"\n{note}")


def _write_board(result: Mapping[str, Any]) -> None:
    """Print the rows of a leaderboard, one table for each segment of targets, then the rows that are left out."""
    from semconv_warehouse.experiments.board_report import SEGMENTS, board_rows

    for segment, title in SEGMENTS.items():
        rows = board_rows(result, segment)
        if rows:
            output.write(f"{title}")
            output.write_rows(rows, null="", is_cut=False)
            output.write("")
    for key, label in result["references"].items():
        output.write(f"less_{key}: the row less the row {label}, paired over users")
    if any(row["is_chosen_on_these_users"] for row in result["rows"]):
        output.write(
            "*: chosen on users of this split, so the figures are too high; --split test is the fair comparison"
        )
    if result["left_out"]:
        output.write("\nleft out")
        output.write_rows(result["left_out"], is_cut=False)


def _line(row: Mapping[str, Any], reference: str) -> str:
    line = f"{row['label']}, seed {row['seed']}: NDCG@10 {row['ndcg@10']:.4f}"
    line += f" ({row['ndcg@10_low']:.4f} to {row['ndcg@10_high']:.4f})"
    if (paper := row["paper"].get("ndcg@10")) is not None:
        line += f", published {paper:.4f}"
    difference, low, high = (row[f"ndcg@10_less_reference{end}"] for end in ("", "_low", "_high"))
    if difference is not None:
        line += f", {difference:+.4f} ({low:+.4f} to {high:+.4f}) from {reference}"
    return line
