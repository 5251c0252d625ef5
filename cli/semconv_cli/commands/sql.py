"""``semconv sql``: one statement on what is published, read-only."""

from __future__ import annotations

import sys

import click

from semconv_cli import output
from semconv_cli.options import Command
from semconv_cli.state import State, pass_state

_TABLE_ROWS = 100


@click.command("sql", cls=Command, short_help="Run one SQL statement on what is published.")
@click.argument("statement")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@click.option("--json", "form", flag_value="json", help="Print one JSON array.")
@click.option("--ndjson", "form", flag_value="ndjson", help="Print one JSON object a line.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    help=f"At most so many rows, 0 for all.  [default: {_TABLE_ROWS} for the table, all for the other forms]",
)
@pass_state
def sql_command(state: State, statement: str, form: output.Format | None, limit: int | None) -> None:
    """Run one SQL statement on serving.duckdb; the generation before it is attached as `previous`.

    STATEMENT - reads it from stdin.
    """
    if statement == "-":
        statement = sys.stdin.read()
    form = form or "table"
    most = limit if limit is not None else (_TABLE_ROWS if form == "table" else 0)
    with state.open() as project:
        table = project.sql(statement, limit=most or None)  # one row more tells of a cut
    is_cut = bool(most) and table.num_rows > most
    rows = table.slice(0, most).to_pylist() if is_cut else table.to_pylist()
    output.write_rows(rows, form=form, columns=table.column_names, null="NULL")
    if is_cut:
        state.remark(f"the first {most} rows; --limit 0 shows all")
