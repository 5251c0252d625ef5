"""Select the parts of values that JSON can hold, because Parquet columns may have bytes inside lists and structs."""

from __future__ import annotations

import polars as pl
from polars.datatypes import DataType, DataTypeClass

_NO_JSON = (pl.Binary, pl.Object, pl.Float16, pl.Int128, pl.UInt128, pl.BaseExtension)


def json_part(value: pl.Expr, dtype: DataType | DataTypeClass) -> pl.Expr | None:
    """Return a column's values without bytes at any depth; None if the column has only bytes."""
    dtype = instance(dtype)
    if _is_json(dtype):
        return value
    if isinstance(dtype, pl.BaseExtension):
        return json_part(value.ext.storage(), dtype.ext_storage())
    if isinstance(dtype, pl.Struct):
        parts = {field.name: json_part(value.struct.field(field.name), field.dtype) for field in dtype.fields}
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
        return all(_is_json(field.dtype) for field in dtype.fields)
    if isinstance(dtype, pl.List | pl.Array):
        return _is_json(dtype.inner)
    if isinstance(dtype, pl.Map):
        return _is_json(dtype.key) and _is_json(dtype.value)
    return not isinstance(dtype, _NO_JSON)
