"""Integrity stated as SQL: each file of ``sql/checks`` selects offending rows, and empty is good.

The first line of a file names the database it is for: ``warehouse``, ``generation`` (a published
file alone), or ``publish`` (a generation being built, with the warehouse attached as ``warehouse``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import duckdb
import sqlalchemy as sa

from semconv.errors import CheckFailedError, InputError
from semconv_warehouse.store.database import raw

CheckedDatabase = Literal["warehouse", "generation", "publish"]
EXAMPLES = 3


@dataclass(frozen=True)
class CheckResult:
    """What one check found."""

    name: str  # file stem
    database: str
    rule: str  # what holds when the check passes
    num_rows: int  # offending rows
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether no row offends."""
        return self.num_rows == 0

    def summary(self) -> str:
        """One line: the rule, how many rows break it, and some of them."""
        if self.passed:
            return f"{self.name}: ok"
        shown = "; ".join(", ".join(f"{key}={value}" for key, value in row.items()) for row in self.examples)
        return f"{self.name}: {self.num_rows:,} rows break the rule '{self.rule}' ({shown})"


@dataclass(frozen=True)
class SqlFile:
    """One file of ``sql/``: what database it is for, what it is, and its statement."""

    name: str
    database: str
    comment: str
    statement: str


def sql_files(folder: Path, database: str) -> list[SqlFile]:
    """The files of a folder whose first line says ``-- database: <database>``, by name.

    Raises:
        InputError: the folder is missing, or a file does not say its database or its purpose.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: missing; the package is not installed whole")
    files = [_parse(path) for path in sorted(folder.glob("*.sql"))]
    return [file for file in files if file.database == database]


def run_checks(
    connection: duckdb.DuckDBPyConnection | sa.Connection,
    folder: Path,
    database: CheckedDatabase,
    without: Collection[str] = (),
) -> list[CheckResult]:
    """Run every check of ``folder`` that is for ``database`` on an open connection to it, but those named ``without``.

    Raises:
        InputError: a check cannot run, because the database lacks a table or column that it reads.
    """
    inner = raw(connection) if isinstance(connection, sa.Connection) else connection
    return [_run(inner, file) for file in sql_files(folder, database) if file.name not in without]


def require(results: Iterable[CheckResult], what: str) -> None:
    """Raise CheckFailedError that names every failed check; ``what`` says what was checked and what follows."""
    failed = [result.summary() for result in results if not result.passed]
    if failed:
        raise CheckFailedError(f"{what}: {' | '.join(failed)}")


def _parse(path: Path) -> SqlFile:
    lines = path.read_text().splitlines()
    if len(lines) < 3 or not lines[0].startswith("-- database: ") or not lines[1].startswith("-- "):
        raise InputError(
            f"{path}: its first line must be `-- database: NAME`, its second a comment that says what it is"
        )
    statement = "\n".join(lines[2:]).rstrip().rstrip(";")
    return SqlFile(
        path.stem, lines[0].removeprefix("-- database: ").strip(), lines[1].removeprefix("-- ").strip(), statement
    )


def _run(connection: duckdb.DuckDBPyConnection, file: SqlFile) -> CheckResult:
    # The statement is a file of the package, never a value from outside.
    counted = f"SELECT *, count(*) OVER () AS num_offending FROM (\n{file.statement}\n) LIMIT {EXAMPLES}"  # noqa: S608
    try:
        cursor = connection.execute(counted)
        names = [column[0] for column in cursor.description or []]
        rows = cursor.fetchall()
    except (duckdb.CatalogException, duckdb.BinderException) as error:
        raise InputError(f"check {file.name} cannot run on this database: {str(error).splitlines()[0]}") from error
    examples = [dict(zip(names[:-1], row[:-1], strict=True)) for row in rows]
    return CheckResult(file.name, file.database, file.comment, rows[0][-1] if rows else 0, examples)
