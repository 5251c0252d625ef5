"""What a column as a whole shows: whether ids are floats of pandas, and how its dates are written.

The first rows are looked at. All rows are read once more only where the first rows raise a question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import polars as pl

from semconv.columns import EVENT_TIME, ITEM_ID, USER_ID
from semconv.errors import InputError
from semconv_warehouse.ingest.files.source import Source
from semconv_warehouse.ingest.values.ids import FLOAT_ID, SHORTENED_ID, WHOLE_ID
from semconv_warehouse.ingest.values.raw import Form, RawColumn
from semconv_warehouse.ingest.values.times import SLASHED, is_compact_date

_SAMPLED: Final = 1000  # rows
_NUMBER: Final = r"^-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?$"
_SMALLEST_DATE, _LARGEST_DATE = 10_000_000, 99_999_999  # numbers of eight digits


def columns_of(source: Source, found: Mapping[str, str]) -> tuple[list[pl.Expr], dict[str, RawColumn]]:
    """Return what :meth:`Source.raw_columns` returns, with the form of ids and times; remarks go to the source.

    Raises:
        InputError: day and month of dates such as 05/06/2026 cannot be told apart.
    """
    selected, raw = source.raw_columns(found)
    asked = [ours for ours in (USER_ID, ITEM_ID, EVENT_TIME) if ours in raw and _has_form(raw[ours])]
    if not asked:
        return selected, raw
    sample = _sample(source, selected, [raw[ours].name for ours in asked])
    for ours in asked:
        values = sample[raw[ours].name]
        look = _time_form if ours == EVENT_TIME else _id_form
        raw[ours] = replace(raw[ours], form=look(source, selected, raw[ours], values))
    return selected, raw


def _has_form(raw: RawColumn) -> bool:
    return raw.date_format is None and (raw.is_text or raw.dtype.is_numeric())


def _sample(source: Source, selected: Sequence[pl.Expr], names: Sequence[str]) -> pl.DataFrame:
    parts, height = [], 0
    for batch in source.batches(lambda rows: rows.select(selected).select(names).head(_SAMPLED)):
        parts.append(batch)
        height += batch.height
        if height >= _SAMPLED:
            break
    return pl.concat(parts)


def _id_form(source: Source, selected: Sequence[pl.Expr], raw: RawColumn, values: pl.Series) -> Form:
    if not raw.is_text:
        return Form()
    text = values.cast(pl.String).str.strip_chars()
    shortened = text.filter(text.str.contains(SHORTENED_ID))
    if len(shortened) and bool(text.drop_nulls().filter(text.drop_nulls() != "").str.contains(_NUMBER).all()):
        source.remarks.append(
            f"the ids of column {raw.shown} are numbers, some in scientific notation such as {shortened[0]}, and are stored as they"
            " stand; write them as text to keep all digits"
        )
    if not text.str.contains(FLOAT_ID).any() or not _are_whole(text):
        return Form()
    value = pl.col(raw.name).cast(pl.String).str.strip_chars()
    other = ~value.str.contains(WHOLE_ID) & (value != "")
    if any(row[0] for row in _over_all_rows(source, selected, [other.any()])):
        return Form()
    source.remarks.append(f"the ids of column {raw.shown} are whole numbers, so an id such as 7.0 is read as 7")
    return Form(has_float_ids=True)


def _are_whole(text: pl.Series) -> bool:
    return bool(text.filter(text != "").str.contains(WHOLE_ID).all())


def _time_form(source: Source, selected: Sequence[pl.Expr], raw: RawColumn, values: pl.Series) -> Form:
    day_first = None
    if raw.is_text and values.cast(pl.String).str.contains(SLASHED).any():
        day_first = _day_first(source, selected, raw)
    numbers = values.cast(pl.Float64, strict=False).drop_nulls()
    eight = numbers.is_between(_SMALLEST_DATE, _LARGEST_DATE)
    dates = numbers.to_frame("n").select(is_compact_date(pl.col("n")).sum()).item()
    if dates and dates * 2 >= eight.sum():
        source.remarks.append(f"numbers of eight digits in column {raw.shown} are read as dates (yyyymmdd)")
        return Form(is_compact=True, day_first=day_first)
    # Small numbers count seconds or steps from some start; such a count may pass through numbers that look like dates.
    return Form(is_compact=not (eight.any() or (numbers < _SMALLEST_DATE).any()), day_first=day_first)


def _day_first(source: Source, selected: Sequence[pl.Expr], raw: RawColumn) -> bool:
    """Return whether the day comes first in dates such as 13/05/2026, by the values above 12."""
    value = pl.col(raw.name).cast(pl.String).str.strip_chars()
    first, second = (value.str.extract(SLASHED, group).cast(pl.Int64) for group in (1, 2))
    asked = [value.filter(first > 12).first(), value.filter(second > 12).first(), value.filter(first > 0).first()]
    found: list[str | None] = [None, None, None]
    for row in _over_all_rows(source, selected, [one.alias(str(number)) for number, one in enumerate(asked)]):
        found = [old or new for old, new in zip(found, row, strict=True)]
    by_day, by_month, example = found
    column = f"{raw.file}: column {raw.shown}"
    if by_day and by_month:
        raise InputError(
            f"{column}: {by_day!r} begins with the day and {by_month!r} with the month; write all dates in one form, such as"
            " 2026-06-05"
        )
    if not by_day and not by_month:
        forms = " or ".join(repr(_form_of(str(example), start)) for start in ("%d{0}%m", "%m{0}%d"))
        raise InputError(
            f"{column}: {example!r} may begin with the day or with the month, and no date of the column tells; give"
            f" --date-format {forms}"
        )
    source.remarks.append(
        f"dates in column {raw.shown} are read as {'day, month, year' if by_day else 'month, day, year'}"
    )
    return bool(by_day)


def _form_of(example: str, start: str) -> str:
    """Return the form of a date such as 05/06/2026 8:26, for --date-format."""
    sign = "/" if "/" in example else "-"
    colons = example.count(":")
    return start.format(sign) + f"{sign}%Y" + ("", " %H:%M", " %H:%M:%S")[min(colons, 2)]


def _over_all_rows(source: Source, selected: Sequence[pl.Expr], asked: Sequence[pl.Expr]) -> list[tuple[Any, ...]]:
    """Return the answers to questions about all rows: one row, or one for each block of the file."""
    return [row for batch in source.batches(lambda rows: rows.select(selected).select(asked)) for row in batch.rows()]
