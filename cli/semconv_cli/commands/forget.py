"""``semconv forget``: erase users from all data of the project."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from semconv_cli import output
from semconv_cli.options import Job, json_option
from semconv_cli.state import State

_SHOWN = 3  # unknown ids that a message names


@click.command("forget", cls=Job, short_help="Erase users from tables, files, generations and Feast.")
@click.option("--user", "user_ids", multiple=True, metavar="USER", help="user_id of a user to erase. Repeatable.")
@click.option(
    "--users",
    "users_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File of users to erase: one user_id per line, or a CSV or Parquet file with a column user_id.",
)
@click.option("--dry-run", is_flag=True, help="Count the rows that would be erased, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
@click.pass_context
def forget_command(
    ctx: click.Context, user_ids: tuple[str, ...], users_file: Path | None, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Erase users from the warehouse, run folders, generations, feature files and the online store.

    The erasing cannot be undone. The command names the models and files that still contain data of the erased users.
    After a kill, run the same command again: it finishes the erasing.
    """
    if not user_ids and users_file is None:
        raise click.UsageError("name the users to erase with --user or --users", ctx)
    if not (yes or dry_run):
        if not sys.stdin.isatty():
            raise click.UsageError(
                "forget cannot be undone, and there is no terminal to ask for confirmation; confirm with --yes", ctx
            )
        named = ", ".join(user_ids) + (f" and those in {users_file}" if users_file else "")
        click.confirm(f"erase {named.removeprefix(' and ')}?", abort=True, err=True)
    state = ctx.ensure_object(State)
    with state.open() as project:
        result = project.forget(user_ids, users_file=users_file, dry_run=dry_run)
    state.note({"users": 0 if dry_run else result["users"], "rows": sum(result["rows"].values())})
    if as_json:
        output.write_json(result)
        return
    output.write_rows([{"where": where, "rows": number} for where, number in result["rows"].items()])
    if result["unknown"]:
        state.remark(f"{len(result['unknown'])} ids are unknown: {', '.join(result['unknown'][:_SHOWN])}")
    for remark in result["remarks"]:
        state.remark(remark)
