"""Clean the values of a file's columns with polars: ids, times, numbers, texts and lists of texts."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from semconv.errors import InputError
from semconv_warehouse.ingest.json_values import MOST_LEVELS, changed, is_too_deep, levels

_TIME: Final = pl.Datetime("us")
_TEXT_TIMES: Final = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")
# The size of a number tells its unit, seconds to nanoseconds since 1970: 1e11 s is the year 5138, 1e11 ms is 1973.
_LARGEST_SECONDS, _LARGEST_MILLISECONDS, _LARGEST_MICROSECONDS = 1e11, 1e14, 1e17
_YEARS: Final = (1, 9999)  # the years that a Python datetime can hold
_DAYS: Final = (-719_162, 2_932_896)  # days since 1970 of the first and the last day of these years
# Nanoseconds are not listed: every int64 number of nanoseconds lies in these years.
_TICKS_PER_DAY: Final = {"ms": 86_400_000, "us": 86_400_000_000}

# HTML elements that a browser does not show; they are removed with their content.
_HIDDEN = r"(?is)<script\b.*?</script\s*>|<style\b.*?</style\s*>|<!--.*?-->"
# Tags that begin or end a line. They are replaced by a blank.
_BREAK = r"(?i)</?(?:br|p|div|li|ul|ol|tr|td|th|table|h[1-6]|hr)\b[^<>]*>"
_TAG = r"</?[a-zA-Z][^<>]*>"
_CONTROL = r"[\x00-\x08\x0e-\x1f\x7f-\x9f]"

LONGEST_ID: Final = 10_000  # characters
TOO_DEEP: Final = f"lists nested deeper than {MOST_LEVELS} levels"

_BETWEEN = "\ue000"  # a private-use character that separates the parts of a list while these are joined to one text


@dataclass(frozen=True)
class RawColumn:
    """A column of a file, before its values are cleaned."""

    name: str  # name in the data frame
    shown: str  # name in the file
    dtype: pl.DataType
    file: object  # the file's name in messages


def id_text(raw: RawColumn) -> pl.Expr:
    """Return ids as text without surrounding blanks, null for an empty id; InputError if the type cannot be an id."""
    value = pl.col(raw.name)
    if raw.dtype.is_float():  # whole numbers that were stored as floats because some are missing
        whole = value.cast(pl.Int64, strict=False)
        value = pl.when(whole.cast(pl.Float64) == value).then(whole.cast(pl.String)).otherwise(value.cast(pl.String))
    elif not (raw.dtype.is_integer() or isinstance(raw.dtype, pl.String | pl.Categorical | pl.Enum | pl.Null)):
        raise _wrong_type(raw, "text or whole numbers")
    text = value.cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def id_problem(column: str) -> pl.Expr:
    """Return why ids in a column of cleaned rows cannot be used, null for usable ids."""
    problem = pl.when(pl.col(column).is_null()).then(pl.lit(f"no {column}"))
    is_long = pl.col(column).str.len_chars() > LONGEST_ID
    return problem.when(is_long).then(pl.lit(f"{column} longer than {LONGEST_ID:,} characters"))


def time(raw: RawColumn) -> pl.Expr:
    """Return times in UTC from datetimes, dates, seconds/ms/us/ns since 1970, or ISO text; null if unreadable."""
    value = pl.col(raw.name)
    if isinstance(raw.dtype, pl.Datetime | pl.Date):
        return _time_of_ticks(value.to_physical(), raw.dtype)
    if raw.dtype.is_integer() or raw.dtype.is_float() or isinstance(raw.dtype, pl.Decimal):
        return _number_time(value.cast(pl.Float64))
    if not isinstance(raw.dtype, pl.String | pl.Categorical | pl.Enum | pl.Null):
        raise _wrong_type(raw, "datetimes, numbers or ISO text")
    text = value.cast(pl.String).str.strip_chars()
    iso = text.str.replace(r"^(\d{4}-\d{2}-\d{2}) ", "${1}T")
    zoned = iso.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", strict=False, time_unit="us").dt.replace_time_zone(None)
    read = pl.coalesce(
        _number_time(text.cast(pl.Float64, strict=False)),
        *(iso.str.to_datetime(form, strict=False, time_unit="us") for form in _TEXT_TIMES),
        zoned,
        iso.str.to_date("%Y-%m-%d", strict=False).cast(_TIME),
    )
    return pl.when(read.dt.year().is_between(*_YEARS)).then(read)


def printable(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return values that can be cast to text: times outside the years 1 to 9999 become the numbers in the file."""
    if not isinstance(dtype, pl.Datetime | pl.Date):
        return value
    ticks = value.to_physical()
    return pl.coalesce(_time_of_ticks(ticks, dtype).dt.to_string("iso"), ticks.cast(pl.String))


def _time_of_ticks(ticks: pl.Expr, dtype: pl.Datetime | pl.Date) -> pl.Expr:
    """Return the time of a number of days or clock ticks since 1970, null outside the years 1 to 9999.

    Outside these years a plain cast would overflow to a wrong time.
    """
    if isinstance(dtype, pl.Date):
        return pl.when(ticks.is_between(*_DAYS)).then(ticks).cast(pl.Date).cast(_TIME)
    unit = dtype.time_unit
    if unit in _TICKS_PER_DAY:
        first, last = _DAYS[0] * _TICKS_PER_DAY[unit], (_DAYS[1] + 1) * _TICKS_PER_DAY[unit] - 1
        ticks = pl.when(ticks.is_between(first, last)).then(ticks)
    return ticks.cast(pl.Datetime(unit)).cast(_TIME)


def whole_number(raw: RawColumn) -> pl.Expr:
    """Return whole numbers, null for a value that is none; InputError if the column's type has no numbers."""
    value = number(raw)
    if raw.dtype.is_integer():
        return pl.col(raw.name).cast(pl.Int64, strict=False)
    if isinstance(raw.dtype, pl.String):  # not through floats, which would round numbers above 2^53
        return pl.col(raw.name).str.strip_chars().cast(pl.Int64, strict=False)
    return pl.when(value == value.floor()).then(value).cast(pl.Int64, strict=False)


def number(raw: RawColumn) -> pl.Expr:
    """Return finite numbers, null for a value that is none; InputError if the column's type has no numbers."""
    value = pl.col(raw.name)
    if isinstance(raw.dtype, pl.String | pl.Categorical | pl.Enum):
        value = value.cast(pl.String).str.strip_chars()
    elif not (raw.dtype.is_numeric() or isinstance(raw.dtype, pl.Null)):
        raise _wrong_type(raw, "numbers")
    value = value.cast(pl.Float64, strict=False)
    return pl.when(value.is_finite()).then(value)


def text(raw: RawColumn, *, may_be_json: bool = False) -> pl.Expr:
    """Return text without HTML entities, tags and extra blanks, null if nothing is left. Lists of texts are joined."""
    value = pl.col(raw.name)
    if isinstance(raw.dtype, pl.List) and isinstance(raw.dtype.inner, pl.String):
        value = value.list.join(" ", ignore_nulls=True)
    elif raw.dtype.is_nested() or isinstance(raw.dtype, pl.Binary | pl.Object):
        raise _wrong_type(raw, "text")
    elif may_be_json:
        value = changed(value, r"\[", lambda item: _joined(item, " "))
    return without_html(printable(value, raw.dtype).cast(pl.String))


def text_list(raw: RawColumn) -> pl.Expr:
    """Return lists of clean texts from lists, JSON arrays or texts with ``|`` between parts; null for empty lists."""
    value = pl.col(raw.name)
    if isinstance(raw.dtype, pl.List) and isinstance(raw.dtype.inner, pl.String):
        joined = value.list.join(_BETWEEN, ignore_nulls=True)
    elif raw.dtype.is_nested() or isinstance(raw.dtype, pl.Binary | pl.Object):
        raise _wrong_type(raw, "text or lists of text")
    else:
        text = printable(value, raw.dtype).cast(pl.String)
        array = changed(text, r"\[", lambda item: _joined(item, _BETWEEN))
        joined = pl.when(array == text).then(text.str.replace_all("|", _BETWEEN, literal=True)).otherwise(array)
    # The parts are cleaned as one text, because a call of the Python functions for each list would be slow.
    parts = without_html(joined).str.split(_BETWEEN).list.eval(pl.element().str.strip_chars())
    cleaned = parts.list.filter(pl.element() != "")
    return pl.when(cleaned.list.len() > 0).then(cleaned)


def category(raw: RawColumn) -> pl.Expr:
    """Return the values of a column with few different texts or whole numbers, null for an empty one."""
    return id_text(raw).cast(pl.Categorical)


def is_deep_list(raw: RawColumn) -> pl.Expr:
    """Return whether each value is the text of a list that is nested too deep to be parsed."""
    if not isinstance(raw.dtype, pl.String | pl.Categorical | pl.Enum):
        return pl.lit(False)
    value = pl.col(raw.name).cast(pl.String)
    return value.str.contains(r"^\s*\[").fill_null(value=False) & is_too_deep(value)


def without_html(value: pl.Expr) -> pl.Expr:
    """Return text as a browser shows it, on one line. A code token such as ``<a_17>`` is removed like any other tag."""
    shown = changed(value, "&", html.unescape)
    for pattern, replacement in ((_HIDDEN, " "), (_BREAK, " "), (_TAG, ""), (_CONTROL, ""), (r"\s+", " ")):
        shown = shown.str.replace_all(pattern, replacement)
    shown = shown.str.strip_chars()
    return pl.when(shown != "").then(shown)


def _joined(value: str, between: str) -> str:
    """Join the texts of a JSON array; return any other text unchanged."""
    if not re.match(r"\s*\[", value) or levels(value) > MOST_LEVELS:
        return value
    try:
        parsed: Any = json.loads(value)
    except ValueError:
        return value
    return between.join(item for item in parsed if isinstance(item, str))


def _number_time(value: pl.Expr) -> pl.Expr:
    """Return the time of a number since 1970; the size of the number tells its unit."""
    size = value.abs()
    microseconds = (
        pl.when(size < _LARGEST_SECONDS)
        .then(value * 1e6)
        .when(size < _LARGEST_MILLISECONDS)
        .then(value * 1e3)
        .when(size < _LARGEST_MICROSECONDS)
        .then(value)
        .otherwise(value / 1e3)
    )
    read = microseconds.round().cast(pl.Int64, strict=False).cast(_TIME)
    return pl.when(value.is_finite() & read.dt.year().is_between(*_YEARS)).then(read)


def _wrong_type(raw: RawColumn, wanted: str) -> InputError:
    return InputError(
        f"{raw.file}: column {raw.shown} holds {raw.dtype} instead of {wanted}; name another column with --map"
    )
