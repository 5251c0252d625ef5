"""``semconv runs`` and ``semconv generations``: list the runs of stages and the published generations."""

from __future__ import annotations

import click

from semconv_cli import output
from semconv_cli.options import Command, json_option
from semconv_cli.state import State, pass_state
from semconv_warehouse.upkeep.disk import in_words


@click.command("runs", cls=Command, short_help="List the runs of stages, newest first.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Number of runs to list; 0 lists all."
)
@json_option
@pass_state
def runs_command(state: State, limit: int, as_json: bool) -> None:
    """List the runs of stages, newest first, with the size of each run's folder and the generations that need the run."""
    with state.open() as project:
        rows = project.runs()[: limit or None]
    if as_json:
        output.write_json(rows)
        return
    output.write_rows(
        [{**row, "size": in_words(row["bytes"])} for row in rows],
        columns=["run_id", "stage", "status", "started_at", "finished_at", "size", "generations", "error"],
    )


@click.command("generations", cls=Command, short_help="List published generations, newest first.")
@json_option
@pass_state
def generations_command(state: State, as_json: bool) -> None:
    """List the published generations, newest first, with the times of publication and the sizes.

    bytes is the size of the generation's file. run_bytes is the size of the run folders that only this generation
    needs. feature_bytes is the size of the Parquet files that were exported for Feast. forced names the gates that
    failed when the generation was published with --force; --json also shows what the gates measured.
    """
    with state.open() as project:
        rows, usage = project.generations(), project.disk_usage()
    if as_json:
        output.write_json(rows)
        return
    sizes = ("bytes", "run_bytes", "feature_bytes")
    shown = [{name: in_words(value) if name in sizes else value for name, value in row.items()} for row in rows]
    for row, of in zip(shown, rows, strict=True):
        row["forced"] = ", ".join(entry["gate"] for entry in of["forced"])
    output.write_rows(shown, columns=list(rows[0]) if rows else ["generation"])
    state.remark("on disk: " + ", ".join(f"{name} {in_words(number)}" for name, number in usage.items()))
