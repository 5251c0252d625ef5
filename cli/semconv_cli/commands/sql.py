"""``semconv sql``: run one SQL statement on the served generation, read-only."""

from __future__ import annotations

import re
import sys
from typing import Any

import click

from semconv_cli import output
from semconv_cli.options import Command
from semconv_cli.state import State, pass_state

_TABLE_ROWS = 100
_COMMENT = re.compile(r"--[^=\n]*\s")  # an option has no blank before its value


class _SqlCommand(Command):
    """A command whose argument may begin with a comment of SQL, which has the two hyphens of an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; put a line break before a statement that begins with a comment."""
        return super().parse_args(ctx, [f"\n{arg}" if _COMMENT.match(arg) else arg for arg in args])


@click.command("sql", cls=_SqlCommand, short_help="Run one SQL statement on the served generation.")
@click.argument("statement", required=False)
@click.option(
    "--query", "name", metavar="NAME", help="Run this query of the cookbook (docs/sql.md) instead of a STATEMENT."
)
@click.option(
    "--param",
    "parameters",
    metavar="NAME=VALUE",
    multiple=True,
    callback=lambda ctx, param, values: _parameters(values),
    help="Set the variable NAME, which the SQL reads with getvariable('NAME'). Repeatable.",
)
@click.option("--list", "is_list", is_flag=True, help="List the queries of the cookbook with their parameters.")
@click.option("--csv", "forms", multiple=True, flag_value="csv", help="Print CSV.")
@click.option(
    "--no-formulas",
    is_flag=True,
    help="With --csv: put an apostrophe before each text that a spreadsheet would compute as a formula.",
)
@click.option("--json", "forms", multiple=True, flag_value="json", help="Print one JSON array.")
@click.option("--ndjson", "forms", multiple=True, flag_value="ndjson", help="Print one JSON object per line.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    help=f"Print at most this many rows. 0 prints all rows.  [default: {_TABLE_ROWS} for a table, else all]",
)
@pass_state
def sql_command(
    state: State,
    statement: str | None,
    name: str | None,
    parameters: dict[str, str],
    is_list: bool,
    forms: tuple[output.Format, ...],
    no_formulas: bool,
    limit: int | None,
) -> None:
    """Run one SQL statement on the served generation. The previous generation is attached as `previous`.

    If STATEMENT is -, the command reads the statement from stdin. The command runs SELECT, DESCRIBE, SHOW, SUMMARIZE
    and EXPLAIN of these. A statement cannot write data or read other files.
    """
    if sum((statement is not None, name is not None, is_list)) != 1:
        raise click.UsageError("give one of a STATEMENT, --query NAME and --list")
    if len(set(forms)) > 1:
        raise click.UsageError("give one of --csv, --json and --ndjson")
    form = forms[0] if forms else "table"
    if no_formulas and form != "csv":
        raise click.UsageError("--no-formulas is for --csv; give both")
    if is_list:
        _list(state, form)
        return
    most = limit if limit is not None else (_TABLE_ROWS if form == "table" else 0)
    with state.open() as project:  # one row more than the limit shows that rows are missing
        if name is not None:
            table = project.sql_query(name, limit=most or None, parameters=parameters)
        else:
            text = sys.stdin.read().removeprefix("\ufeff") if statement == "-" else str(statement)
            table = project.sql(text, limit=most or None, parameters=parameters)
            if not table.column_names:
                state.remark("the text holds only comments, so nothing was run")
                return
    is_cut = bool(most) and table.num_rows > most
    rows = table.slice(0, most).to_pylist() if is_cut else table.to_pylist()
    output.write_rows(rows, form=form, columns=table.column_names, null="NULL", no_formulas=no_formulas)
    if is_cut:
        state.remark(f"these are the first {most} rows; --limit 0 prints all")


def _list(state: State, form: output.Format) -> None:
    with state.capture_output():
        from semconv_warehouse.serving.cookbook import cookbook

        queries = cookbook()
    rows: list[dict[str, Any]]
    if form == "table":
        rows = [{"query": one.name, "parameters": ", ".join(one.parameters), "answers": one.title} for one in queries]
    else:
        rows = [
            {"query": one.name, "answers": one.title, "words": one.notes, "parameters": dict(one.parameters)}
            for one in queries
        ]
    output.write_rows(rows, form=form, is_cut=False)


def _parameters(values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    wrong = next((name for name, sign, _ in pairs if not (name.isidentifier() and sign)), None)
    if wrong is not None:
        raise click.BadParameter(f"{wrong!r} is not NAME=VALUE")
    return {name: value for name, _, value in pairs}
