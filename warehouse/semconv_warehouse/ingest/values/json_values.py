"""Values as strict JSON: without bytes, which Parquet columns may have inside lists and structs, NaN and deep nesting."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable
from typing import Final

import polars as pl
from polars.datatypes import DataType, DataTypeClass

MOST_LEVELS: Final = 100  # of lists and objects inside each other; polars reads JSON up to 126 levels
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
# A text in double quotes; one of the numbers that Python and DuckDB write into JSON although JSON has none of them; or a
# number that may be too large for a reader: a whole one of 20 digits and more, or one with an exponent of 3 digits and more.
_SPECIAL = re.compile(
    r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[-+]?\b(?:Infinity|NaN)\b'
    r"|(?<![\w.])-?\d+(?:\.\d+)?[eE]\+?\d{3,}|(?<![\w.])-?\d{20,}(?![\d.eE])",
    re.DOTALL,
)
_MAY_BE_SPECIAL = r"NaN|Infinity|[eE]\+?\d{3}|\d{20}"
_HALF = (
    r"\\u[dD][89abAB][0-9a-fA-F]{2}|\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # one of the two parts of a letter beyond 16 bits
)
_PAIR = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\\\")
_HALF_ALONE = re.compile(_HALF)
_PYTHON = r"^\s*\{\s*'"  # the start of an object of Python, as programs print it
_NO_JSON = (pl.Binary, pl.Object, pl.Float16, pl.Int128, pl.UInt128, pl.BaseExtension)


def is_too_deep(text: pl.Expr) -> pl.Expr:
    """Return whether JSON text has more than MOST_LEVELS levels. Parsers of JSON would exceed the stack."""

    def test(texts: pl.Series) -> pl.Series:
        has_many = (texts.str.count_matches(r"[\[{]") > MOST_LEVELS).fill_null(value=False)
        if not has_many.any():
            return has_many
        rows = has_many.arg_true()
        return has_many.scatter(rows, pl.Series([levels(one) > MOST_LEVELS for one in texts.gather(rows)]))

    return text.map_batches(test, return_dtype=pl.Boolean, is_elementwise=True)


def levels(text: str) -> int:
    """Return how many lists and objects are open at once at most; brackets in quoted text do not count."""
    level = most = 0
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign in "[{":
            level += 1
            most = max(most, level)
        elif sign in "]}":
            level -= 1
    return most


def strict_json(text: pl.Expr) -> pl.Expr:
    """Return JSON text with null in place of what JSON does not have; the text of a Python object becomes JSON.

    JSON has neither NaN nor infinity, and no text with half of a letter (a lone surrogate such as ``\\ud83d``). A whole
    number of 20 digits and more becomes text, because readers of JSON would round it.
    """
    return changed(text, rf"{_MAY_BE_SPECIAL}|{_HALF}|{_PYTHON}", repaired_json)


def repaired_json(text: str) -> str:
    """Return one text of JSON as :func:`strict_json` does."""
    if re.match(_PYTHON, text):
        text = _json_of_python(text)
    return _SPECIAL.sub(lambda match: _allowed(match[0]), text)


def _allowed(token: str) -> str:
    if token.lstrip("-").isdigit():
        return f'"{token}"'
    if not token.startswith('"'):
        return token if math.isfinite(float(token)) else "null"
    return "null" if "\\u" in token and _HALF_ALONE.search(_PAIR.sub("", token)) else token


def _json_of_python(text: str) -> str:
    """Return the text of a Python object, such as ``{'item_id': 'a'}``, as JSON; text that is none stays as it is."""
    if levels(text) > MOST_LEVELS:
        return text
    try:
        return json.dumps(ast.literal_eval(text.strip()))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def changed(value: pl.Expr, sign: str, change: Callable[[str], str | None]) -> pl.Expr:
    """Apply a Python function only to texts that match the pattern ``sign``, which are usually few."""

    def apply(texts: pl.Series) -> pl.Series:
        touched = texts.str.contains(sign).fill_null(value=False)
        if not touched.any():
            return texts
        rows = touched.arg_true()
        return texts.scatter(rows, pl.Series([change(item) for item in texts.gather(rows)], dtype=pl.String))

    return value.map_batches(apply, return_dtype=pl.String, is_elementwise=True)


def json_part(value: pl.Expr, dtype: DataType | DataTypeClass) -> pl.Expr | None:
    """Return a column's values without bytes at any depth; None if the column has only bytes."""
    dtype = instance(dtype)
    if _is_json(dtype):
        return value
    if isinstance(dtype, pl.BaseExtension):
        return json_part(value.ext.storage(), dtype.ext_storage())
    if isinstance(dtype, pl.Struct):
        # DuckDB has no members without a name.
        named = [field for field in dtype.fields if field.name]
        parts = {field.name: json_part(value.struct.field(field.name), field.dtype) for field in named}
        kept = [part.alias(name) for name, part in parts.items() if part is not None]
        return pl.when(value.is_not_null()).then(pl.struct(kept)) if kept else None
    if isinstance(dtype, pl.List | pl.Array):
        element = json_part(pl.element(), dtype.inner)
        lists = value.arr.to_list() if isinstance(dtype, pl.Array) else value
        return None if element is None else lists.list.eval(element)
    # DuckDB cannot read these two number types from polars.
    if isinstance(dtype, pl.Float16):
        return value.cast(pl.Float32)
    return value.cast(pl.String) if isinstance(dtype, pl.Int128 | pl.UInt128) else None


def bytes_in(name: str, dtype: DataType | DataTypeClass) -> list[str]:
    """Return the names of the parts of a column that :func:`json_part` leaves out, such as ``image.bytes``."""
    dtype = instance(dtype)
    if isinstance(dtype, pl.Struct):
        return [found for field in dtype.fields for found in bytes_in(f"{name}.{field.name}", field.dtype)]
    if isinstance(dtype, pl.List | pl.Array):
        return bytes_in(name, dtype.inner)
    return [name] if json_part(pl.col(name), dtype) is None else []


def instance(dtype: DataType | DataTypeClass) -> DataType:
    """Return a polars type as an instance, because polars also uses classes as types."""
    return dtype if isinstance(dtype, DataType) else dtype()


def _is_json(dtype: DataType | DataTypeClass) -> bool:
    """Return whether polars and DuckDB both write every value of a type as JSON."""
    dtype = instance(dtype)
    if isinstance(dtype, pl.Struct):
        return all(field.name and _is_json(field.dtype) for field in dtype.fields)
    if isinstance(dtype, pl.List | pl.Array):
        return _is_json(dtype.inner)
    if isinstance(dtype, pl.Map):
        return _is_json(dtype.key) and _is_json(dtype.value)
    return not isinstance(dtype, _NO_JSON)
