"""Ids of users and items as text, from every type that holds ids."""

from __future__ import annotations

from typing import Final

import polars as pl

from semconv_warehouse.ingest.values.raw import RawColumn, decoded_bytes, wrong_type

LONGEST_ID: Final = 10_000  # characters
FLOAT_ID: Final = r"^-?\d+\.0+$"  # a whole number as pandas writes it in a column with gaps
SHORTENED_ID: Final = r"^-?\d+(?:\.\d+)?[eE][-+]?\d+$"  # a number in scientific notation
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


def id_problem(column: str, raw: RawColumn) -> pl.Expr:
    """Return why ids in a column of cleaned rows cannot be used, null for usable ids.

    Args:
        raw: the column of the file; its values are in the same rows.
    """
    cleaned, value = pl.col(column), pl.col(raw.name)
    is_bytes = isinstance(raw.dtype, pl.Binary)
    is_unreadable = value.is_not_null() & decoded_bytes(value).is_null() if is_bytes else pl.lit(False)
    has_zero = cleaned.str.contains("\0", literal=True) if is_bytes else pl.lit(False)  # a number, not a text
    problems = {
        f"{column} of bytes that are not UTF-8": is_unreadable,
        f"no {column}": cleaned.is_null(),
        f"{column} longer than {LONGEST_ID:,} characters": cleaned.str.len_chars() > LONGEST_ID,
        f"{column} of bytes with a zero byte": has_zero,
    }
    return pl.coalesce(pl.when(is_found).then(pl.lit(text)) for text, is_found in problems.items())
