"""``semconv runs`` and ``semconv generations``: what was done and what was published."""

from __future__ import annotations

import click

from semconv_cli import output
from semconv_cli.options import Command, json_option
from semconv_cli.state import State, pass_state


@click.command("runs", cls=Command)
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Newest so many; 0 for all.")
@json_option
@pass_state
def runs_command(state: State, limit: int, as_json: bool) -> None:
    """Runs of stages, newest first."""
    with state.open() as project:
        rows = project.runs()
    output.write_rows(
        rows[: limit or None],
        form="json" if as_json else "table",
        columns=["run_id", "stage", "status", "started_at", "finished_at", "error"],
    )


@click.command("generations", cls=Command)
@json_option
@pass_state
def generations_command(state: State, as_json: bool) -> None:
    """Generations and when each was put in place, newest first."""
    with state.open() as project:
        rows = project.generations()
    output.write_rows(rows, form="json" if as_json else "table")
