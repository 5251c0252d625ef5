"""``semconv experiment``: tune and evaluate several combinations of settings on the data of a project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import click

from semconv_cli import output
from semconv_cli.options import Job, held_out_option, json_option
from semconv_cli.state import State, pass_state


@click.command("experiment", cls=Job, short_help="Compare settings: a table of the paper, or your own.")
@click.argument("table")
@held_out_option
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of tunings per row, each with a different random seed.",
)
@json_option
@pass_state
def experiment_command(state: State, table: str, split: Literal["test", "valid"], seeds: int, as_json: bool) -> None:
    """Tune and evaluate a model for every row of TABLE: table1, table3 to table8, or a TOML file of rows.

    Results are stored in data/experiments and are never published. To continue a killed experiment, run the same
    command again. --set changes a setting of all rows, such as --set tuning.epochs=1 for quick, rough results.
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
    from semconv_warehouse.experiments.experiment import mean_rows  # numpy, not for the help

    output.write_rows(mean_rows(rows))


def _line(row: Mapping[str, Any]) -> str:
    line = f"{row['label']}, seed {row['seed']}: NDCG@10 {row['ndcg@10']:.4f}"
    line += f" ({row['ndcg@10_low']:.4f} to {row['ndcg@10_high']:.4f})"
    if (paper := row["paper"].get("ndcg@10")) is not None:
        line += f", published {paper:.4f}"
    difference, low, high = (row[f"ndcg@10_less_first{end}"] for end in ("", "_low", "_high"))
    if difference is not None:
        line += f", {difference:+.4f} ({low:+.4f} to {high:+.4f}) from the first row"
    return line
