"""A column of a file before its values are cleaned, and what its first rows show about them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from semconv.errors import InputError


@dataclass(frozen=True)
class Form:
    """What the values of a whole column show, and no single value tells.

    Attributes:
        has_float_ids: all values are whole numbers, and some end in ``.0``, as pandas writes ids with gaps.
        is_compact: numbers of eight digits are dates such as 20260605, not seconds.
        day_first: in dates such as 13/05/2026 the day comes first; None if the column has no such dates.
    """

    has_float_ids: bool = False
    is_compact: bool = True
    day_first: bool | None = None


@dataclass(frozen=True)
class RawColumn:
    """A column of a file, before its values are cleaned."""

    name: str  # name in the data frame
    shown: str  # name in the file
    dtype: pl.DataType
    file: object  # the file's name in messages
    is_json: bool = False  # whether the values are text of JSON: a list or an object is its text
    decimal: str = "."
    date_format: str | None = None
    form: Form = Form()
    more: tuple[RawColumn, ...] = ()  # further columns whose texts follow in the same value

    @property
    def parts(self) -> tuple[RawColumn, ...]:
        """This column, and those whose texts follow."""
        return (self, *self.more)

    @property
    def is_text(self) -> bool:
        """Whether the values are text."""
        return isinstance(self.dtype, pl.String | pl.Categorical | pl.Enum)


def wrong_type(raw: RawColumn, wanted: str) -> InputError:
    """Return the error for a column whose type cannot hold the wanted values."""
    members = [field.name for field in raw.dtype.fields] if isinstance(raw.dtype, pl.Struct) else []
    advice = (
        f"name a part of it with --map, such as {raw.shown}.{members[0]}"
        if members
        else "name another column with --map"
    )
    return InputError(f"{raw.file}: column {raw.shown} holds {raw.dtype} instead of {wanted}; {advice}")


def decoded_bytes(value: pl.Expr) -> pl.Expr:
    """Return bytes as text, null for bytes that are not UTF-8."""

    def decode(values: pl.Series) -> pl.Series:
        try:
            return values.cast(pl.String)
        except pl.exceptions.ComputeError:
            return pl.Series(values.name, [_text(one) for one in values], dtype=pl.String)

    return value.map_batches(decode, return_dtype=pl.String, is_elementwise=True)


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
