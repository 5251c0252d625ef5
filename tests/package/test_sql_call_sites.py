"""No SQL is built from values: every expression that Python writes into SQL text is known, and a name or a constant."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worlds.paths import ROOT

SOURCES = sorted(path for folder in ("warehouse", "cli", "semconv") for path in (ROOT / folder).rglob("*.py"))
_SQL = re.compile(
    r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|ATTACH|DETACH|CREATE (OR REPLACE )?(TEMP )?TABLE|COPY|DROP|SET VARIABLE|"
    r"WHERE|JOIN|ORDER BY|PRAGMA|USE)\b"
)
# Everything but quote_identifier(...) that is written into SQL text: file -> expressions. Each of them was read, and is a
# name, a fragment or a number of this package's own modules. Two are SQL by design, on a read-only connection: the filter
# that a user writes, and the query that `semconv demo` prints and does not run.
KNOWN: dict[str, set[str]] = {
    "demo/demo.py": {"user_id"},  # printed
    "erase/databases.py": {"name", "kept", "PUBLISHED_STORAGE"},  # quoted; a condition and a constant of the package
    "erase/forgetting.py": {"table", "where", "column"},  # columns of the module
    "experiments/separate.py": {"table"},
    "features/erase.py": {"', '.join('?' * len(keys))", "where"},  # question marks; a fragment with quoted names
    "features/export.py": {
        "USER_ID", "RANK", "column.name", "column.feature", "lists", "rows", "view.key", "nulls", "own",
    },
    "gates/snapshot.py": {"incoming"},  # arrow_rows_1 and so on
    "ingest/merge.py": {
        "'item'", "'item_id'", "'item_index'", "'user_account'", "'user_id'", "'user_index'", "_ORDERS[order_by]", "_ROWS",
        "_ONE_OF_POSITION if by_position else _ROWS",
    },
    "ingest/merge_items.py": {
        "incoming",
        "kept",  # arrow_rows_2
        "', '.join((f'{value} AS {name}' for name, value in new.items()))",
        "' OR '.join((f'item.{name} IS DISTINCT FROM {value}' for name, value in new.items()))",
    },
    "ingest/records.py": {"value", "RECORD"},  # constants
    "ingest/users.py": {"incoming", "merged_json('old.attributes', 'n.attributes')"},  # columns
    "publish/build.py": {"table", "rows.format(width=width)", "_COLUMNS"},
    "publish/checks.py": {"statement", "EXAMPLES"},  # a file of the package
    "publish/external_lists.py": {
        "values", "columns", "' OR '.join((f'{name} IS NULL' for name in _REQUIRED))", "examples", "_EXAMPLES",
    },
    "publish/ordered_lists.py": {"name", "select"},  # a quoted name; a query of the caller
    "serving/query.py": {"name"},
    "serving/show.py": {"SIMILAR_ITEMS"},
    "serving/sqlalchemy_dialect.py": {"_IN_SCHEMA"},  # a condition of the module
    "store/baselines.py": {"name", "given"},  # tables of sequences.sql; arrow_rows_1 and so on
    "store/database.py": {"name"},  # arrow_rows_1 and so on
    "store/duckdb_store.py": {"table", "name", "index"},
    "store/reading.py": {"value", "table", "where.strip() or 'true'", "''.join((f', {column}' for column in columns))"},
    "store/run_table.py": {"_COLUMNS"},
    "store/statements.py": {"statements[0].query"},  # the statement itself, which is decided on
    "store/user_files.py": {"asked"},  # arrow_rows_1 and so on
    "upkeep/pruning.py": {"table"},
}  # fmt: skip


def key(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def written(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and source of every expression that is written into a text with SQL in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            parts = [part for part in node.values if isinstance(part, ast.FormattedValue)]
            literal = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
            if _SQL.search(literal):
                yield from ((part.lineno, ast.unparse(part.value)) for part in parts)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add):
            sides = (node.left, node.right)
            for side, other in (sides, sides[::-1]):
                if _is_sql(side) and not isinstance(other, ast.Constant | ast.JoinedStr):
                    yield node.lineno, ast.unparse(other)
        elif isinstance(node, ast.Call) and _formats_sql(node.func):
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            yield from ((node.lineno, ast.unparse(argument)) for argument in arguments)


def _formats_sql(called: ast.expr) -> bool:
    """Whether this is ``.format`` of a text with SQL in it, or of a constant."""
    if not isinstance(called, ast.Attribute) or called.attr != "format":
        return False
    return _is_sql(called.value) or (isinstance(called.value, ast.Name) and called.value.id.isupper())


def _is_sql(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(_SQL.search(node.value))


@pytest.mark.parametrize("path", SOURCES, ids=key)
def test_only_known_expressions_are_written_into_sql(path: Path) -> None:
    unknown = [
        f"{path.name}:{line}: {source}"
        for line, source in written(path)
        if not source.startswith("quote_identifier(") and source not in KNOWN.get(key(path), set())
    ]
    assert unknown == [], (
        "bind the value, or quote the name with quote_identifier, or add a fragment of the package to KNOWN"
    )


def test_every_known_expression_still_exists() -> None:
    sources = {key(path): {source for _, source in written(path)} for path in SOURCES}
    gone = {name: known - sources.get(name, set()) for name, known in KNOWN.items()}
    assert {name: sources for name, sources in gone.items() if sources} == {}


def test_names_are_quoted_in_one_place() -> None:
    quoting = [path for path in SOURCES if re.search(r"""replace\('"', '""'\)""", path.read_text())]
    assert [path.name for path in quoting] == ["database.py"]


@pytest.mark.parametrize(
    "code",
    [
        "connection.execute(f'SELECT * FROM item WHERE item_id = {value}')",
        "connection.execute('SELECT * FROM item WHERE item_id = %s' % value)",
        "connection.execute('DELETE FROM item WHERE item_id = ' + value)",
        "connection.sql('SELECT {} FROM item'.format(value))",
        "_STATEMENT.format(x=value)",
    ],
)
def test_the_scan_sees_a_value(tmp_path: Path, code: str) -> None:
    (tmp_path / "x.py").write_text(code)
    assert [source for _, source in written(tmp_path / "x.py")] == ["value"]
