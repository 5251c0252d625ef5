"""No SQL is built from values: every place where Python writes into SQL text is known, and writes names or constants of ours."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worlds.places import ROOT

SOURCES = sorted(path for folder in ("warehouse", "cli", "semconv") for path in (ROOT / folder).rglob("*.py"))
_SQL = re.compile(
    r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|ATTACH|DETACH|CREATE (OR REPLACE )?(TEMP )?TABLE|COPY|DROP|SET VARIABLE|"
    r"WHERE|JOIN|ORDER BY|PRAGMA|USE)\b"
)
# What else than quote_identifier(...) is written into SQL text, by file -> expressions. Each was read: names, fragments and
# numbers of this package's own modules. Two are SQL by design, on a read-only connection: a filter that the user writes,
# and the query that `semconv demo` prints and does not run.
KNOWN: dict[str, set[str]] = {
    "checks.py": {"file.statement", "EXAMPLES"},  # a file of the package
    "database.py": {"name"},  # arrow_rows_1 and on
    "databases.py": {"name", "kept"},  # quoted; a condition of ours
    "demo.py": {"user_id"},  # printed
    "experiment.py": {"table"},
    "feature_export.py": {"rows", "view.key", "nothing", "view.rows"},
    "feature_forget.py": {"', '.join('?' * len(keys))", "where"},  # question marks; a fragment with quoted names
    "forgetting.py": {"table", "where"},
    "generation.py": {"table", "rows.format(width=width)"},
    "merge.py": {
        "'item'", "'item_id'", "'item_index'", "'user_account'", "'user_id'", "'user_index'", "_ORDERS[order_by]", "incoming",
    },
    "merge_items.py": {
        "incoming",
        "', '.join((f'{value} AS {name}' for name, value in new.items()))",
        "' OR '.join((f'item.{name} IS DISTINCT FROM {value}' for name, value in new.items()))",
    },
    "readers.py": {"value", "RECORD"},  # quoted names of a file's columns
    "ordered_lists.py": {"name", "select"},  # a quoted name and a statement of the caller's own
    "parts.py": {"sources", "reason", "examples", "_EXAMPLES"},
    "pruning.py": {"table"},
    "reading.py": {"columns", "table", "where.strip() or 'true'", "'query' if queries else 'NULL AS query'"},
    "run_table.py": {"_COLUMNS", "condition"},
    "serving.py": {"SIMILAR_ITEMS", "kind", "name"},  # kind: in an error message
    "store.py": {"table", "name", "index"},
    "user_files.py": {"asked"},  # arrow_rows_1 and on
}  # fmt: skip


def written(path: Path) -> Iterator[tuple[int, str]]:
    """Line and source of every expression that goes into a text with SQL in it."""
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


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_but_names_of_ours_goes_into_sql(path: Path) -> None:
    unknown = [
        f"{path.name}:{line}: {source}"
        for line, source in written(path)
        if not source.startswith("quote_identifier(") and source not in KNOWN.get(path.name, set())
    ]
    assert unknown == [], "bind the value, or quote the name with quote_identifier, or add a fragment of ours to KNOWN"


def test_what_is_known_is_still_there() -> None:
    sources = {path.name: {source for _, source in written(path)} for path in SOURCES if path.name in KNOWN}
    assert {
        name: known - sources.get(name, set()) for name, known in KNOWN.items() if known - sources.get(name, set())
    } == {}


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
