"""Read the SQL files of the package: views, checks and cookbook queries. Each begins with two comment lines.

The first line names the database that the statement runs on:

- ``warehouse``
- ``generation``: a generation file alone
- ``publish``: a generation file that is being built, with the warehouse attached as ``warehouse``
- ``serving``: the served generation, with the generation before it attached as ``previous``
- ``memory``: a database in memory, with the tables that the rest of the line names.

A statement that runs on two databases names both, such as ``generation or publish``. More may follow the name: attached
databases and the parameters of the statement.

The second line says what the statement is for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from semconv.errors import InputError

_DATABASE, _COMMENT = "-- database: ", "-- "


@dataclass(frozen=True)
class SqlFile:
    """One SQL file: its name without the ending, its databases, its purpose and its statement."""

    name: str
    databases: tuple[str, ...]
    comment: str
    statement: str


def sql_files(folder: Path, database: str) -> list[SqlFile]:
    """Return the SQL files of a folder whose statements run on ``database``, sorted by name.

    Raises:
        InputError: the folder is missing, or a file lacks its two header lines.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: missing, so the installation is incomplete; install semconv again")
    files = [sql_file(path) for path in sorted(folder.glob("*.sql"))]
    return [file for file in files if database in file.databases]


def sql_file(path: Path) -> SqlFile:
    """Read one SQL file; raise InputError if it lacks its two header lines."""
    lines = path.read_text().splitlines()
    if len(lines) < 3 or not lines[0].startswith(_DATABASE) or not lines[1].startswith(_COMMENT):
        raise InputError(
            f"{path}: line 1 must be `-- database: NAME`, and line 2 a comment that says what the file is for"
        )
    statement = "\n".join(lines[2:]).rstrip().rstrip(";")
    named = re.match(r"\w+( or \w+)*", lines[0].removeprefix(_DATABASE).strip())
    databases = tuple(named[0].split(" or ")) if named else ()
    return SqlFile(path.stem, databases, lines[1].removeprefix(_COMMENT).strip(), statement)
