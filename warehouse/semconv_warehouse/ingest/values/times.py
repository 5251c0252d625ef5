"""Times of events in UTC, from clock ticks, dates, numbers and many forms of text."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import polars as pl

from semconv_warehouse.ingest.values.raw import Form, RawColumn, wrong_type

# The forms of text that are read, for messages.
FORMS: Final = (
    "times are read from ISO 8601 text (2026-06-05 10:00:00+02:00), numbers since 1970, and dates such as 20260605,"
    " 05.06.2026 or 06/25/2026; give any other form with --date-format"
)
_TIME: Final = pl.Datetime("us")
_ISO: Final = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")
_ISO_ZONED: Final = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z")
_HALF_DAYS: Final = ("%Y-%m-%dT%I:%M:%S %p", "%Y-%m-%dT%I:%M %p")
# The size of a number tells its unit, seconds to nanoseconds since 1970: 1e11 s is the year 5138, 1e11 ms is 1973.
_LARGEST_SECONDS, _LARGEST_MILLISECONDS, _LARGEST_MICROSECONDS = 1e11, 1e14, 1e17
_YEARS: Final = (1, 9999)  # the years that a Python datetime can hold
_DAYS: Final = (-719_162, 2_932_896)  # days since 1970 of the first and the last day of these years
# Nanoseconds are not listed: every int64 number of nanoseconds lies in these years.
_TICKS_PER_DAY: Final = {"ms": 86_400_000, "us": 86_400_000_000}
# Numbers that are dates: the first and the last day, and the form of their digits. Twelve and fourteen digits would
# otherwise be milliseconds of 1976 and of the years 2572 to 2636, which no log has.
_DATES: Final = ((19_000_101, 21_001_231, "%Y%m%d"), (190_001_010_000, 210_012_312_359, "%Y%m%d%H%M"), (19_000_101_000_000, 21_001_231_235_959, "%Y%m%d%H%M%S"))  # fmt: skip
_DAY = r"(?:[T ,]+|$)"  # what follows a date
# Forms of dates -> ISO, in this order. The last two depend on which of day and month comes first.
_YEAR_FIRST: Final = (rf"^(\d{{4}})[-/.](\d{{1,2}})[-/.](\d{{1,2}}){_DAY}", "${1}-${2}-${3}T")
_DIGITS: Final = (r"^(\d{4})(\d{2})(\d{2})[T ]+(\d{2}):?(\d{2})", "${1}-${2}-${3}T${4}:${5}")
_SECONDS: Final = (r"^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2})(\d{2})", "${1}:${2}")
_DOTTED: Final = (rf"^(\d{{1,2}})\.(\d{{1,2}})\.(\d{{4}}){_DAY}", "${3}-${2}-${1}T")
_SLASHED: Final = rf"^(\d{{1,2}})[-/](\d{{1,2}})[-/](\d{{4}}){_DAY}"
SLASHED: Final = r"^\s*(\d{1,2})[-/](\d{1,2})[-/]\d{4}(?:\D|$)"  # of which day and month cannot be told apart alone

_Step = Callable[[pl.Series], pl.Series]


def time(raw: RawColumn) -> pl.Expr:
    """Return times in UTC, null if unreadable, from datetimes, dates, seconds/ms/us/ns since 1970, or text."""
    value = pl.col(raw.name)
    if isinstance(raw.dtype, pl.Datetime | pl.Date) and raw.date_format is None:
        return _time_of_ticks(value.to_physical(), raw.dtype)
    if raw.dtype.is_numeric() and raw.date_format is None:
        read_numbers = partial(_numbers, form=raw.form)
        return value.cast(pl.Float64).map_batches(read_numbers, return_dtype=_TIME, is_elementwise=True)
    if not (raw.is_text or raw.dtype.is_integer() or isinstance(raw.dtype, pl.Null)):
        raise wrong_type(raw, "datetimes, numbers or ISO text")
    read_texts = partial(_texts, steps=_steps(raw))
    return value.cast(pl.String).map_batches(read_texts, return_dtype=_TIME, is_elementwise=True)


def printable(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return values that can be cast to text: times outside the years 1 to 9999 become the numbers in the file."""
    if not isinstance(dtype, pl.Datetime | pl.Date):
        return value
    ticks = value.to_physical()
    return pl.coalesce(_time_of_ticks(ticks, dtype).dt.to_string("iso"), ticks.cast(pl.String))


def is_compact_date(number: pl.Expr) -> pl.Expr:
    """Return whether a number of eight digits is a date such as 20260605."""
    first, last, form = _DATES[0]
    date = number.cast(pl.Int64, strict=False).cast(pl.String).str.to_date(form, strict=False)
    return number.is_between(first, last) & (number == number.floor()) & date.is_not_null()


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


def _steps(raw: RawColumn) -> tuple[_Step, ...]:
    """Return the ways to read text, each for the texts that the ways before it cannot read."""
    if raw.date_format is not None:
        return (partial(_parsed, form=raw.date_format),)
    return partial(_iso), partial(_text_numbers, raw=raw), partial(_other_forms, day_first=raw.form.day_first)


def _texts(values: pl.Series, steps: tuple[_Step, ...]) -> pl.Series:
    text = values.str.strip_chars()
    read = pl.Series(values.name, [None], dtype=_TIME).new_from_index(0, len(values))
    for step in steps:
        missing = (read.is_null() & text.is_not_null() & (text != "")).arg_true()
        if not len(missing):
            break
        whole = len(missing) == len(text)
        found = step(text if whole else text.gather(missing))
        read = found if whole else read.scatter(missing, found)
    years = read.dt.year().is_between(*_YEARS)
    return read.set((~years).fill_null(value=True), None).rename(values.name)


def _iso(text: pl.Series) -> pl.Series:
    return _first_form(text.str.replace(r"^(\d{4}-\d{2}-\d{2}) ", "${1}T"), _ISO)


def _other_forms(text: pl.Series, day_first: bool | None) -> pl.Series:
    """Return times of text after its date has become the one of ISO, and its zone an offset."""
    iso = text.str.replace(r"\s*(?:UTC|GMT|Z|z)$", "Z").str.replace(r"\s+([-+]\d{2}:?\d{2})$", "${1}")
    iso = iso.str.replace(r"(:\d{2}),(\d+)", "${1}.${2}")
    forms = [_YEAR_FIRST, _DIGITS, _SECONDS, _DOTTED]
    if day_first is not None:
        forms.append((_SLASHED, "${3}-${2}-${1}T" if day_first else "${3}-${1}-${2}T"))
    for pattern, replacement in forms:
        iso = iso.str.replace(pattern, replacement)
    date = iso.str.replace(r"T(?:Z)?$", "T00:00")  # a date alone
    date = date.str.replace(r"(?i)([ap])\.?m\.?$", "${1}m").str.replace(r"(\d)([apAP]m)$", "${1} ${2}")
    return _first_form(date, (*_ISO, *_ISO_ZONED, *_HALF_DAYS))


def _first_form(text: pl.Series, forms: tuple[str, ...]) -> pl.Series:
    """Return the times of text in the first of several forms that fits; each form is tried on what is left only."""
    read = _parsed(text, forms[0])
    for form in forms[1:]:
        missing = (read.is_null() & text.is_not_null()).arg_true()
        if not len(missing):
            break
        read = read.scatter(missing, _parsed(text.gather(missing), form))
    return read


def _parsed(text: pl.Series, form: str) -> pl.Series:
    """Return times in UTC of text in one form."""
    read = text.str.to_datetime(form, strict=False, time_unit="us")
    return read.dt.replace_time_zone(None)


def _text_numbers(text: pl.Series, raw: RawColumn) -> pl.Series:
    if raw.decimal == ",":
        text = text.str.replace(",", ".", literal=True)
    return _numbers(text.cast(pl.Float64, strict=False), raw.form)


def _numbers(values: pl.Series, form: Form) -> pl.Series:
    """Return the times of numbers since 1970, or of numbers whose digits are a date."""
    values = values.to_physical()
    read = values.to_frame("value").select(_number_time(pl.col("value")).alias("time"))["time"]
    for first, last, digits in _DATES[0 if form.is_compact else 1 :]:
        dates = (values.is_between(first, last)).fill_null(value=False).arg_true()
        if len(dates):
            text = values.gather(dates).cast(pl.Int64, strict=False).cast(pl.String)
            whole = values.gather(dates) == values.gather(dates).floor()
            parsed = text.str.to_datetime(digits, strict=False, time_unit="us")
            read = read.scatter(dates, parsed.set(~whole, None))
    return read.rename(values.name)


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
