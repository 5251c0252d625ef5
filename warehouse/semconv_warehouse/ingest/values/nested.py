"""Nested fields such as ``name.de``: members of structs of Parquet and of objects in JSON, also inside lists."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import polars as pl
from polars.datatypes import DataType

from semconv_warehouse.ingest.values.json_values import changed, instance
from semconv_warehouse.ingest.values.lists import is_whole, parsed

Path = tuple[str, ...]


def split_path(name: str, columns: Collection[str]) -> tuple[str, Path]:
    """Return the column in which a name begins, and the members below it. A column with the whole name comes first."""
    if name in columns:
        return name, ()
    parts = name.split(".")
    for number in range(len(parts) - 1, 0, -1):
        if (top := ".".join(parts[:number])) in columns:
            return top, tuple(parts[number:])
    return parts[0], tuple(parts[1:])


def member(value: pl.Expr, dtype: DataType, path: Path) -> tuple[pl.Expr, DataType] | None:
    """Return a member of a column and its type, None if the type has no such member. Of a list, members of all elements."""
    dtype = instance(dtype)
    if not path:
        return value, dtype
    if isinstance(dtype, pl.Struct):
        inner = {field.name: field.dtype for field in dtype.fields}.get(path[0])
        return None if inner is None else member(value.struct.field(path[0]), instance(inner), path[1:])
    if isinstance(dtype, pl.Array):
        value, dtype = value.arr.to_list(), pl.List(dtype.inner)
    if isinstance(dtype, pl.List) and path[0].isdecimal():
        return member(value.list.get(int(path[0]), null_on_oob=True), instance(dtype.inner), path[1:])
    if isinstance(dtype, pl.List):
        found = member(pl.element(), instance(dtype.inner), path)
        return None if found is None else (value.list.eval(found[0]), pl.List(found[1]))
    return (json_member(value, path), pl.String()) if isinstance(dtype, pl.String) else None


def json_member(text: pl.Expr, path: Path) -> pl.Expr:
    """Return a member of objects in JSON text: a text itself, any other value as JSON, null if there is none."""

    def of(one: str) -> str | None:
        value: Any = parsed(one)
        for part in path:
            value = _descend(value, part)
        if isinstance(value, str):
            return value if is_whole(value) else None
        return None if value is None else json.dumps(value)

    return changed(text, "", of)


def _descend(value: Any, part: str) -> Any:
    if isinstance(value, dict):
        return value.get(part)
    if not isinstance(value, list):
        return None
    if part.isdecimal():
        return value[int(part)] if int(part) < len(value) else None
    found = [_descend(one, part) for one in value]
    return [one for one in found if one is not None] or None
