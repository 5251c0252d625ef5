"""``semconv check``, ``semconv prune`` and ``semconv doctor``: find problems of a project and free disk space."""

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


@click.command("check", cls=Job, short_help="Run all integrity checks.")
@click.option(
    "--max-age",
    type=Duration(),
    metavar="SPAN",
    help="Also fail if the last publication is older than this age (such as 30m, 36h or 7d), or if there is none.",
)
@json_option
@pass_state
def check_command(state: State, max_age: timedelta | None, as_json: bool) -> None:
    """Run all integrity checks on the warehouse, the served generation and the files of runs.

    The exit code is 1 if a check fails.
    """
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
    """Return the name of a failed check, and the reason of the failure if it fits in one line."""
    found = result.examples[0]
    if result.name == "run_files":
        return f"run_files ({found['file']}: damaged or missing; restore it from a copy, or make it again with {found['way_out']})"
    if result.name == "stray_files":
        return f"stray_files ({found['problem']})"
    if result.name != "publication_age":
        return result.name
    age = found["age"] if found["generation"] is None else f"generation {found['generation']} is {found['age']} old"
    return f"{result.name} ({age})"


@click.command("discard", cls=Job, short_help="Go back to the model before the current one.")
@click.argument("run_id", required=False)
@json_option
@pass_state
def discard_command(state: State, run_id: str | None, as_json: bool) -> None:
    """Discard a model or a blend (RUN_ID), so that later commands use the one before it.

    Without RUN_ID, the command discards the current model, or the current blend if no model is used. It also discards
    everything that was computed from it: blends, lists and evaluations. It refuses a run from which the served lists were
    made. No file is removed: the command that made the run takes it back, as long as settings and data are the same.
    """
    with state.open() as project:
        result = project.discard(run_id)
    state.note({"runs_discarded": len(result["discarded"])})
    if as_json:
        output.write_json(result)
        return
    output.write_rows([{"discarded": name} for name in result["discarded"]], is_cut=False)
    state.remark(f"{result['current']} is current from now on")


@click.command("prune", cls=Job, short_help="Remove old generations and runs to free disk space.")
@click.option(
    "--keep", type=click.IntRange(min=1), default=3, show_default=True, help="Number of newest generations to keep."
)
@click.option("--dry-run", is_flag=True, help="List the files that would be removed, and change nothing.")
@json_option
@pass_state
def prune_command(state: State, keep: int, dry_run: bool, as_json: bool) -> None:
    """Remove generation files, run folders and feature files that are no longer needed.

    The served generation, the newest generations (--keep) and the current model stay, with all files that they need.
    The command prints the name and the size of everything that it removes.
    """
    with state.open() as project:
        result = project.prune(keep, dry_run)
    removed = {
        f"{kind}_removed": 0 if dry_run else len(result[kind]) for kind in ("generations", "runs", "publications")
    }
    state.note({**removed, "bytes_freed": 0 if dry_run else result["bytes"]})
    if as_json:
        output.write_json(result)
        return
    sizes = [{**row, "size": in_words(row["bytes"])} for row in result["sizes"]]
    output.write_rows(sizes, columns=["kind", "name", "size"], is_cut=False)
    state.remark(f"{in_words(result['bytes'])} {'would be' if dry_run else 'are'} freed")


@click.command("doctor", cls=Command, short_help="Find problems of machine, installation and project.")
@json_option
@pass_state
def doctor_command(state: State, as_json: bool) -> None:
    """Find problems of the machine, the installation and the project.

    The exit code is 1 if there is a problem.
    """
    with state.open() as project:
        rows = project.doctor()
    output.write_rows(rows, form="json" if as_json else "table", is_cut=False)
    if failed := [str(row["check"]) for row in rows if not row["ok"]]:
        raise CheckFailedError(f"needs care: {', '.join(failed)}")
