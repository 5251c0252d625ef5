"""Decide whether a statement only reads, and close a connection to files.

DuckDB's parser decides, not the words of the text. `EXPLAIN ANALYZE` runs its inner statement, and a WITH clause may hold
a COPY or a DELETE, so both are looked into.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import duckdb

from semconv.errors import SettingsError

# The nodes of a query that reads. A statement that writes inside a WITH clause is a node of another type.
_READING_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
# In a serialized statement, which is too deep for a parser of JSON in Python. Quotes inside its texts are escaped.
_NODE = re.compile(r'"type":"([A-Z_]+_NODE)"')
# A PIVOT without the list of its values cannot be serialized. These are the statements that a WITH clause may hold.
_WRITING_WORDS = {b"COPY", b"DELETE", b"INSERT", b"MERGE", b"UPDATE"}
_REFUSED = {
    "EXPLAIN": "EXPLAIN of a statement that writes",
    "SELECT": "a WITH clause that writes",
    "MULTI": "a statement that may write",
}
_ADVICE = "give a SELECT, DESCRIBE, SHOW or SUMMARIZE statement, or EXPLAIN with one of these"


def require_reading(connection: duckdb.DuckDBPyConnection, text: str) -> str:
    """Return the statement to run for a text that only reads: SELECT, DESCRIBE, SHOW, SUMMARIZE, EXPLAIN of these.

    Raises:
        SettingsError: the text is not exactly one statement, or the statement may write. The message begins with the
            kind of the statement.
        duckdb.Error: the text cannot be parsed.
    """
    statements = connection.extract_statements(text)
    if len(statements) != 1:
        raise SettingsError(f"the text has {len(statements)} statements; give exactly one")
    kind = statements[0].type.name
    query = _reading_query(connection, text)
    if query is None and kind in ("EXPLAIN", "MULTI"):
        for prefix, inner in _explained(text):
            query = _reading_query(connection, inner)
            if query is not None:
                return f"{prefix}\n{query}"
    if query is None:
        raise SettingsError(f"{_REFUSED.get(kind, kind)} is refused, because this connection only reads; {_ADVICE}")
    return query


def close(connection: duckdb.DuckDBPyConnection) -> None:
    """Close a connection to all files but the databases that it has attached, and lock its settings.

    DuckDB alone would still let statements read and write the attached files, write-ahead logs beside them, and the
    folder for temporary files. So its access to the file system ends, and a query that does not fit into memory fails.
    """
    connection.execute("SET temp_directory = ''")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET disabled_filesystems = 'LocalFileSystem'")
    connection.execute("SET lock_configuration = true")


def _reading_query(connection: duckdb.DuckDBPyConnection, text: str) -> str | None:
    """Return the statement to run if the text is one query without a statement that writes in it, else None."""
    try:
        statements = connection.extract_statements(text)
        if len(statements) != 1:
            return None
        kind = statements[0].type
        if kind == duckdb.StatementType.SELECT:
            (serialized,) = connection.execute("SELECT json_serialize_sql(?)", [text]).fetchall()[0]
            nodes = set(_NODE.findall(serialized))
            return text if nodes and nodes <= _READING_NODES else None
        if kind == duckdb.StatementType.MULTI:
            # A PIVOT without the list of its values, or a statement that contains one: only a query fits in brackets.
            nested = f"SELECT * FROM (\n{statements[0].query}\n)"  # noqa: S608
            is_query = len(connection.extract_statements(nested)) == 1
            return nested if is_query and _WRITING_WORDS.isdisjoint(word for _, word, _ in _tokens(text)) else None
    except duckdb.Error:
        pass
    return None


def _explained(text: str) -> Iterator[tuple[str, str]]:
    """Yield each way to divide a text after ``EXPLAIN``, ``EXPLAIN ANALYZE`` or the list of options that may follow."""
    content, tokens = text.encode(), _tokens(text)
    words = [word for _, word, _ in tokens[:2]]
    if words[:1] != [b"EXPLAIN"]:
        return
    rest = tokens[2 if words[1:] == [b"ANALYZE"] else 1 :]
    for at in (*(begin for begin, _, _ in rest[:1]), *_end_of_options(rest)):
        yield content[:at].decode(), content[at:].decode()


def _tokens(text: str) -> list[tuple[int, bytes, Any]]:
    """Return the first byte, the text in upper case and the kind of each token that is no comment."""
    content, starts = text.encode(), duckdb.tokenize(text)
    ends = [*(begin for begin, _ in starts[1:]), len(content)]
    return [
        (begin, content[begin:end].strip().upper(), kind)
        for (begin, kind), end in zip(starts, ends, strict=True)
        if kind != duckdb.token_type.comment
    ]


def _end_of_options(tokens: list[tuple[int, bytes, Any]]) -> Iterator[int]:
    """Yield the position after a list in brackets with which the tokens begin, if they do."""
    depth = 0
    for begin, word, kind in tokens:
        if kind == duckdb.token_type.operator:
            for offset, sign in enumerate(word.decode()):
                depth += {"(": 1, ")": -1}.get(sign, 0)
                if sign == ")" and depth == 0:
                    yield begin + offset + 1
                    return
        if depth == 0:
            return
