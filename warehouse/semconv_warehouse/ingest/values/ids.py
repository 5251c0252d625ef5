"""Ids of users and items as text, from every type that holds ids."""

from __future__ import annotations

from typing import Final

import polars as pl

from semconv_warehouse.ingest.values.raw import RawColumn, decoded_bytes, wrong_type

LONGEST_ID: Final = 10_000  # characters
FLOAT_ID: Final = r"^-?\d+\.0+$"  # a whole number as pandas writes it in a column with gaps
WHOLE_ID: Final = r"^-?\d+(?:\.0+)?$"


def id_text(raw: RawColumn) -> pl.Expr:
    """Return ids as text without surrounding blanks, null for an empty id; InputError if the type cannot be an id.

    Whole numbers have no decimals, also those of a column of floats. Bytes are read as UTF-8.
    """
    value = pl.col(raw.name)
    if raw.dtype.is_float():  # whole numbers that were stored as floats because some are missing
        value = pl.when(value.is_not_nan()).then(value)
        whole = value.cast(pl.Int64, strict=False)
        value = pl.when(whole.cast(pl.Float64) == value).then(whole.cast(pl.String)).otherwise(value.cast(pl.String))
    elif isinstance(raw.dtype, pl.Decimal):
        value = value.cast(pl.String)
        if raw.dtype.scale:
            value = value.str.replace(r"0+$", "").str.replace(r"\.$", "")
    elif isinstance(raw.dtype, pl.Binary):
        value = decoded_bytes(value)
    elif not (raw.dtype.is_integer() or raw.is_text or isinstance(raw.dtype, pl.Null)):
        raise wrong_type(raw, "text or whole numbers")
    text = value.cast(pl.String).str.strip_chars()
    if raw.form.has_float_ids:
        text = text.str.replace(r"\.0+$", "")
    return pl.when(text != "").then(text)


def id_problem(column: str) -> pl.Expr:
    """Return why ids in a column of cleaned rows cannot be used, null for usable ids."""
    problem = pl.when(pl.col(column).is_null()).then(pl.lit(f"no {column}"))
    is_long = pl.col(column).str.len_chars() > LONGEST_ID
    return problem.when(is_long).then(pl.lit(f"{column} longer than {LONGEST_ID:,} characters"))
