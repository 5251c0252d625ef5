"""``semconv check``, ``semconv prune`` and ``semconv doctor``: keeping a project sound."""

from __future__ import annotations

import click

from semconv.errors import CheckFailedError
from semconv_cli import output
from semconv_cli.options import Command, json_option
from semconv_cli.state import State, pass_state


@click.command("check", cls=Command, short_help="Run every integrity check.")
@json_option
@pass_state
def check_command(state: State, as_json: bool) -> None:
    """Run every integrity check on the warehouse and on what is published; exit code 1 when one fails."""
    with state.open() as project:
        results = project.check()
    rows = [
        {
            "check": result.name,
            "passed": result.passed,
            "rows": result.num_rows,
            "rule": result.rule,
            "examples": result.examples,
        }
        for result in results
    ]
    output.write_rows(rows, form="json" if as_json else "table", columns=["check", "passed", "rows", "rule"])
    if failed := [result.name for result in results if not result.passed]:
        raise CheckFailedError(f"{len(failed)} of {len(results)} checks failed: {', '.join(failed)}")


@click.command("prune", cls=Command, short_help="Remove what nothing published needs.")
@click.option("--keep", type=click.IntRange(min=1), default=3, show_default=True, help="Newest generations to keep.")
@click.option("--dry-run", is_flag=True, help="Say what would go, change nothing.")
@json_option
@pass_state
def prune_command(state: State, keep: int, dry_run: bool, as_json: bool) -> None:
    """Remove generation files and run folders that nothing published needs."""
    with state.open() as project:
        result = project.prune(keep, dry_run)
    if as_json:
        output.write_json(result)
    else:
        output.write_fields(result)


@click.command("doctor", cls=Command, short_help="Look at machine, installation and project.")
@json_option
@pass_state
def doctor_command(state: State, as_json: bool) -> None:
    """Look at the machine, the installation and the project; exit code 1 when something needs care."""
    with state.open() as project:
        rows = project.doctor()
    output.write_rows(rows, form="json" if as_json else "table", is_cut=False)
    if failed := [str(row["check"]) for row in rows if not row["ok"]]:
        raise CheckFailedError(f"needs care: {', '.join(failed)}")
