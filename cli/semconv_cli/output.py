"""Print results to stdout: tables for people; JSON, JSON lines and CSV for programs."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

import click

from semconv.error_lines import printable
from semconv.formulas import without_formula

Format = Literal["table", "json", "ndjson", "csv"]
_MAX_CELL = 60


def write(text: str) -> None:
    """Print a text, then a line break. Control characters become spaces."""
    click.echo(printable(text, "\n"))


def write_json(value: Any) -> None:
    """Print a result as JSON. NaN and infinity are printed as null."""
    write(json_text(value, indent=2))


def json_text(value: Any, indent: int | None = None) -> str:
    """Return a value as strict JSON whose texts have escapes in place of control characters."""
    text = json.dumps(plain(value), ensure_ascii=False, indent=indent, allow_nan=False)
    if text.replace("\n", "").isprintable():
        return text
    # A control character can only be inside a text. JSON itself allows DEL and the C1 controls there unescaped.
    return "".join(sign if sign.isprintable() or sign == "\n" else json.dumps(sign)[1:-1] for sign in text)


def write_rows(
    rows: Iterable[Mapping[str, Any]],
    *,
    form: Format = "table",
    columns: Sequence[str] | None = None,
    null: str = "-",
    is_cut: bool = True,
    no_formulas: bool = False,
) -> None:
    """Print rows as a table, JSON, JSON lines or CSV.

    CSV holds texts as they are, but with spaces for control characters if stdout is a terminal.

    Args:
        columns: columns of a table or of CSV; JSON always has all of them.
        null: text of a missing value in a table.
        is_cut: shorten long cells of a table and mark them with an ellipsis.
        no_formulas: put an apostrophe before each cell of CSV that a spreadsheet would compute.
    """
    rows = list(rows)
    if form == "json":
        write_json(rows)
    elif form == "ndjson":
        for row in rows:
            write(json_text(row))
    else:
        names = list(columns) if columns is not None else list(dict.fromkeys(name for row in rows for name in row))
        if form == "csv":
            text = _csv(names, rows, no_formulas=no_formulas).rstrip("\n")
            # color: or click removes the escapes of terminals from the data of a pipe
            click.echo(printable(text, "\n") if sys.stdout.isatty() else text, color=True)
        else:
            write(_table(names, rows, null, _MAX_CELL if is_cut else None))


def write_fields(fields: Mapping[str, Any]) -> None:
    """Print a record with one field per line."""
    width = max((len(name) for name in fields), default=0)
    for name, value in fields.items():
        write(f"{printable(name):<{width}}  {_cell(value, '-')}")


def write_result(result: Any, as_json: bool) -> None:
    """Print a result as JSON, or as text: a list of records as a table, one record with one field per line."""
    value = plain(result)
    if as_json:
        write_json(value)
    elif isinstance(value, list):
        write_rows(value)
    else:
        write_fields(value)


def plain(value: Any) -> Any:
    """Convert a value to JSON types: dataclasses to objects, times to ISO 8601 text, NaN and infinity to null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(value.to_dict() if hasattr(value, "to_dict") else dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Decimal):  # DuckDB returns 1.5 and sums of integers as decimals
        return int(value) if value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    to_list: Callable[[], Any] | None = getattr(value, "tolist", None)  # numpy scalars and arrays
    return plain(to_list()) if to_list is not None else str(value)


def _csv(names: Sequence[str], rows: Iterable[Mapping[str, Any]], *, no_formulas: bool = False) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    quoting = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(map(without_formula, names) if no_formulas else names)
    for row in rows:
        values = [value if isinstance(value, Decimal) else plain(value) for value in map(row.get, names)]
        cells = [json.dumps(v, ensure_ascii=False) if isinstance(v, (list, dict)) else v for v in values]
        if no_formulas:
            cells = [without_formula(cell) if isinstance(cell, str) else cell for cell in cells]
        # csv does not quote a carriage return, but many readers take it for a line break.
        has_return = any(isinstance(cell, str) and "\r" in cell for cell in cells)
        (quoting if has_return else writer).writerow(cells)
    return stream.getvalue()


def _table(names: Sequence[str], rows: Sequence[Mapping[str, Any]], null: str, max_cell: int | None) -> str:
    cells = [[_shorten(_cell(row.get(name), null), max_cell) for name in names] for row in rows]
    is_number = [
        all(isinstance(row.get(name), (int, float, Decimal)) or row.get(name) is None for row in rows) and bool(rows)
        for name in names
    ]
    heads = [_shorten(printable(name), max_cell) for name in names]
    widths = [max(map(_width, column)) for column in zip(heads, *cells, strict=True)] if names else []

    def line(values: Sequence[str]) -> str:
        parts = [_pad(text, width, right) for text, width, right in zip(values, widths, is_number, strict=True)]
        return "  ".join(parts).rstrip()

    return "\n".join([line(heads), line(["-" * width for width in widths]), *map(line, cells)])


def _cell(value: Any, null: str) -> str:
    """Return the text of a table cell: one line without control characters."""
    value = str(value) if isinstance(value, Decimal) else plain(value)
    if value is None:
        return null
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}" if 1e-3 <= abs(value) < 1e6 else f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_cell(inner, null) for inner in value)
    if isinstance(value, dict):
        return ", ".join(f"{printable(name)} {_cell(inner, null)}" for name, inner in value.items())
    return printable(str(value))


def _shorten(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else text[: width - 1] + "…"


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
