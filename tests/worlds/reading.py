"""DuckDB files that tests only read, attached to one database of the test process.

To open a file as a database of its own takes ten times longer, because DuckDB then creates all its functions anew.
Columns of JSON come as text, unlike those that ``DuckDBStore.read`` returns.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import duckdb

_names = count()


@functools.cache
def _database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


@contextmanager
def reading(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a file read-only for the length of the block; unqualified names are names in this file."""
    name = f"file_{next(_names)}"
    quoted = str(path).replace("'", "''")
    connection = _database().cursor()
    connection.execute(f"ATTACH '{quoted}' AS {name} (READ_ONLY)")
    try:
        connection.execute(f"USE {name}")
        yield connection
    finally:
        connection.execute("USE memory")
        connection.execute(f"DETACH {name}")
        connection.close()
