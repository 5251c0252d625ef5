"""``semconv check``, ``semconv prune`` and ``semconv doctor``: keeping a project sound."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from semconv.errors import CheckFailedError
from semconv_cli import output
from semconv_cli.options import Command, Duration, Job, json_option
from semconv_cli.state import State, pass_state
from semconv_warehouse.upkeep.disk import in_words

if TYPE_CHECKING:
    from semconv_warehouse.publish.checks import CheckResult


@click.command("check", cls=Job, short_help="Run every integrity check.")
@click.option(
    "--max-age",
    type=Duration(),
    metavar="SPAN",
    help="Fail too when the last publication is older, or nothing is published: 30m, 36h, 7d.",
)
@json_option
@pass_state
def check_command(state: State, max_age: timedelta | None, as_json: bool) -> None:
    """Run every integrity check on the warehouse, on what is published and on the runs' files; exit code 1 when one fails."""
    with state.open() as project:
        results = project.check(max_age)
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
    state.note({"checks": len(rows), "failed": sum(not result.passed for result in results)})
    output.write_rows(rows, form="json" if as_json else "table", columns=["check", "passed", "rows", "rule"])
    if failed := [_failure(result) for result in results if not result.passed]:
        raise CheckFailedError(f"{len(failed)} of {len(results)} checks failed: {', '.join(failed)}")


def _failure(result: CheckResult) -> str:
    """The name of a failed check; what makes it fail, where that is one thing."""
    found = result.examples[0]
    if result.name == "run_files":
        return (
            f"run_files ({found['file']}: damaged or gone; put a copy back, or make it again with {found['way_out']})"
        )
    if result.name != "publication_age":
        return result.name
    age = found["age"] if found["generation"] is None else f"generation {found['generation']} is {found['age']} old"
    return f"{result.name} ({age})"


@click.command("prune", cls=Job, short_help="Remove what nothing published needs.")
@click.option("--keep", type=click.IntRange(min=1), default=3, show_default=True, help="Newest generations to keep.")
@click.option("--dry-run", is_flag=True, help="Say what would go, change nothing.")
@json_option
@pass_state
def prune_command(state: State, keep: int, dry_run: bool, as_json: bool) -> None:
    """Remove generation files, run folders and feature files that nothing published needs.

    Prints each with its size.
    """
    with state.open() as project:
        result = project.prune(keep, dry_run)
    gone = {f"{kind}_removed": 0 if dry_run else len(result[kind]) for kind in ("generations", "runs", "publications")}
    state.note({**gone, "bytes_freed": 0 if dry_run else result["bytes"]})
    if as_json:
        output.write_json(result)
        return
    sizes = [{**row, "size": in_words(row["bytes"])} for row in result["sizes"]]
    output.write_rows(sizes, columns=["kind", "name", "size"], is_cut=False)
    state.remark(f"{in_words(result['bytes'])} {'would be' if dry_run else 'are'} freed")


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
