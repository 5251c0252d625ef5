"""``semconv experiment``: the paper's tables, or one's own, on a project's data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import click

from semconv_cli import output
from semconv_cli.options import Job, json_option
from semconv_cli.state import State, pass_state


@click.command("experiment", cls=Job, short_help="Run a table of the paper, or your own, on this data.")
@click.argument("table")
@click.option(
    "--split",
    type=click.Choice(["test", "valid"]),
    default="test",
    show_default=True,
    help="What is held out and scored; choose settings on valid.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Runs of every row.")
@json_option
@pass_state
def experiment_command(state: State, table: str, split: Literal["test", "valid"], seeds: int, as_json: bool) -> None:
    """Tune and evaluate every row of TABLE: table1, table3 to table8, or a TOML file of rows.

    Runs in data/experiments, apart from what is published; a killed experiment goes on where it stopped.
    --set changes what all rows have in common, as --set tuning.epochs=1 for a quick look.
    """
    rows: list[dict[str, Any]] = []
    with state.open() as project:
        for row in project.experiment(table, split=split, num_seeds=seeds):
            state.remark(_line(row))
            rows.append(row)
            state.note({"rows": len(rows)})
    if as_json:
        output.write_json(rows)
        return
    from semconv_warehouse.experiments.experiment import mean_rows

    output.write_rows(mean_rows(rows))


def _line(row: Mapping[str, Any]) -> str:
    paper = row["paper"].get("ndcg@10")
    beside = "" if paper is None else f", published {paper:.4f}"
    interval = f"{row['ndcg@10_low']:.4f} to {row['ndcg@10_high']:.4f}"
    return f"{row['label']}, seed {row['seed']}: NDCG@10 {row['ndcg@10']:.4f} ({interval}){beside}{_difference(row)}"


def _difference(row: Mapping[str, Any]) -> str:
    less, low, high = (row[f"ndcg@10_less_first{end}"] for end in ("", "_low", "_high"))
    return "" if less is None else f", {less:+.4f} ({low:+.4f} to {high:+.4f}) from the first row"
