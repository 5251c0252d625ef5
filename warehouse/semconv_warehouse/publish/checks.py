"""Integrity checks in SQL. Each file of ``sql/checks`` selects the rows that break a rule; without rows, it passes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import duckdb
import sqlalchemy as sa

from semconv.errors import CheckFailedError, InputError
from semconv_warehouse.publish.sql_files import SqlFile, sql_files
from semconv_warehouse.store.database import raw
from semconv_warehouse.store.layout import package_folder

CheckedDatabase = Literal["warehouse", "generation", "publish"]
EXAMPLES = 3
# The events that a check reads in place of $events: the latest of each user in a generation file, all during a publish.
_EVENTS = {"generation": "user_history", "publish": "warehouse.interaction"}


@dataclass(frozen=True)
class CheckResult:
    """The result of one check."""

    name: str
    database: str
    rule: str  # a sentence that is true when the check passes
    num_rows: int  # rows that break the rule
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether the check passed: no row breaks the rule."""
        return self.num_rows == 0

    def summary(self) -> str:
        """Return one line: the name and rule of the check, the number of rows that break it, and a few of them."""
        if self.passed:
            return f"{self.name}: ok"
        shown = "; ".join(", ".join(f"{key}={value}" for key, value in row.items()) for row in self.examples)
        return f"{self.name}: {self.num_rows:,} rows break the rule '{self.rule}' ({shown})"


def run_checks(
    connection: duckdb.DuckDBPyConnection | sa.Connection, database: CheckedDatabase, *, skip: Collection[str] = ()
) -> list[CheckResult]:
    """Run the checks of a database on an open connection to it, except the checks named in ``skip``.

    Raises:
        InputError: the database lacks a table or column that a check reads.
    """
    inner = raw(connection) if isinstance(connection, sa.Connection) else connection
    files = sql_files(package_folder("sql") / "checks", database)
    return [_run(inner, file, database) for file in files if file.name not in skip]


def require_passed(results: Iterable[CheckResult], context: str) -> None:
    """Raise CheckFailedError if a check failed. The message is ``context`` and a summary of each failed check."""
    failed = [result.summary() for result in results if not result.passed]
    if failed:
        raise CheckFailedError(f"{context}: {' | '.join(failed)}")


def _run(connection: duckdb.DuckDBPyConnection, file: SqlFile, database: CheckedDatabase) -> CheckResult:
    # The statement is a file of the package, never input of a user.
    statement = file.statement.replace("$events", _EVENTS.get(database, ""))
    counted = f"SELECT *, count(*) OVER () AS num_offending FROM (\n{statement}\n) LIMIT {EXAMPLES}"  # noqa: S608
    try:
        cursor = connection.execute(counted)
        names = [column[0] for column in cursor.description or []]
        rows = cursor.fetchall()
    except (duckdb.CatalogException, duckdb.BinderException) as error:
        raise InputError(f"check {file.name} cannot run on this database: {str(error).splitlines()[0]}") from error
    examples = [dict(zip(names[:-1], row[:-1], strict=True)) for row in rows]
    return CheckResult(file.name, database, file.comment, rows[0][-1] if rows else 0, examples)
