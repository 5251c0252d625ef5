"""Times as exports write them: compact dates, points and slashes, zones, counts since 1970, and forms that are given."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from semconv.errors import InputError
from semconv_warehouse.ingest.values.raw import Form, RawColumn
from semconv_warehouse.ingest.values.times import time
from semconv_warehouse.store.duckdb_store import DuckDBStore
from tests.worlds.small_files import events_of, values, written

JUNE = datetime(2026, 6, 5)  # noqa: DTZ001
MORNING = datetime(2026, 6, 5, 8, 26)  # noqa: DTZ001


def read_times(texts: list[Any], dtype: Any = pl.String, **form: Any) -> list[datetime | None]:
    known = {name: form.pop(name) for name in ("decimal", "date_format") if name in form}
    raw = RawColumn("x", "x", dtype() if isinstance(dtype, type) else dtype, "file", form=Form(**form), **known)
    return pl.DataFrame({"x": texts}, {"x": dtype}).select(time(raw))["x"].to_list()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-06-05T08:26:00", MORNING),
        ("2026-06-05 08:26", MORNING),
        ("2026-06-05T10:26:00+02:00", MORNING),
        ("2026-06-05 10:26:00 +0200", MORNING),
        ("2026-06-05T10:26+02", MORNING),
        ("2026-06-05T08:26Z", MORNING),
        ("2026-06-05 08:26:00 UTC", MORNING),
        ("2026-06-05 08:26:00.000 GMT", MORNING),
        ("2026-06-05 08:26:00,000", MORNING),
        ("20260605", JUNE),
        ("20260605082600", MORNING),
        ("20260605T082600Z", MORNING),
        ("20260605 08:26", MORNING),
        ("202606050826", MORNING),
        ("05.06.2026", JUNE),
        ("5.6.2026 8:26", MORNING),
        ("2026/06/05", JUNE),
        ("2026.06.05 08:26:00", MORNING),
        ("2026-06-05 8:26 AM", MORNING),
        ("1780647960", MORNING),
        ("1780647960000", MORNING),
        ("1780647960000000", MORNING),
        ("1780647960.0", MORNING),
        ("20261301", None),
        ("20260605256000", None),
        ("31.02.2026", None),
        ("06/05/2026", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_one_time(text: str | None, expected: datetime | None) -> None:
    # Beside another form, because a column may hold several.
    assert read_times(["2001-02-03 04:05:06", text]) == [datetime(2001, 2, 3, 4, 5, 6), expected]  # noqa: DTZ001


def test_numbers_that_are_dates() -> None:
    assert read_times([20260605, 20260605082600, 1780647960], pl.Int64) == [JUNE, MORNING, MORNING]
    assert read_times([20260605.0, None, float("nan")], pl.Float64) == [JUNE, None, None]
    assert read_times([20260605], pl.Int64, is_compact=False) == [datetime(1970, 8, 23, 11, 56, 45)]  # noqa: DTZ001
    assert read_times(["1780647960,0"], decimal=",") == [MORNING]


def test_day_and_month_by_the_column() -> None:
    assert read_times(["05/06/2026 08:26", "5-6-2026"], day_first=True) == [MORNING, JUNE]
    assert read_times(["06/05/2026 8:26", "6/5/2026 08:26:00 am"], day_first=False) == [MORNING, MORNING]


def test_a_form_that_is_given() -> None:
    assert read_times(["05/06/26 08:26", "2026-06-05"], date_format="%d/%m/%y %H:%M") == [MORNING, None]
    assert read_times([20260605], pl.Int64, date_format="%Y%d%m") == [datetime(2026, 5, 6)]  # noqa: DTZ001


def events(folder: Path, *times: str) -> Path:
    rows = "".join(f"u,i{number},{one}\n" for number, one in enumerate(times))
    return written(folder / "e.csv", f"user_id,item_id,at\n{rows}")


def test_slashes_are_read_by_the_dates_that_tell(store: DuckDBStore, tmp_path: Path) -> None:
    names = {"event_time": "at"}
    read = events_of(store, events(tmp_path, "05/06/2026", "25/06/2026"), names)
    assert values(read, "event_time")[0] == (JUNE,)
    assert read.remarks == ("dates in column at are read as day, month, year",)
    read = events_of(store, events(tmp_path, "6/5/2026 8:26", "6/25/2026 8:26"), names)
    assert values(read, "event_time")[0] == (MORNING,)
    with pytest.raises(
        InputError, match=r"column at: '05/06/2026' may begin .* give --date-format '%d/%m/%Y' or '%m/%d/%Y'"
    ):
        events_of(store, events(tmp_path, "05/06/2026", "01/02/2026"), names)
    with pytest.raises(InputError, match=r"'1-2-2026 8:26' may begin .* '%d-%m-%Y %H:%M' or"):
        events_of(store, events(tmp_path, "1-2-2026 8:26"), names)
    with pytest.raises(InputError, match="'25/06/2026' begins with the day and '06/25/2026' with the month"):
        events_of(store, events(tmp_path, "25/06/2026", "06/25/2026"), names)
    read = events_of(store, events(tmp_path, "05/06/2026"), names, date_format="%d/%m/%Y")
    assert values(read, "event_time") == [(JUNE,)]


def test_compact_dates_and_odd_times_are_counted(store: DuckDBStore, tmp_path: Path) -> None:
    read = events_of(
        store, events(tmp_path, "20231231", "20240101103000", "45292.5", "4070908800"), {"event_time": "at"}
    )
    assert [str(moment) for (moment,) in values(read, "event_time")] == [
        "2023-12-31 00:00:00", "2024-01-01 10:30:00", "1970-01-01 12:34:52.500000", "2099-01-01 00:00:00",
    ]  # fmt: skip
    assert (read.odd["times before 1980"], read.odd["times in the future"]) == (1, 1)
    assert read.examples["times in the future"] == "2099-01-01 00:00:00"


def test_steps_that_pass_through_numbers_like_dates_are_no_dates(store: DuckDBStore, tmp_path: Path) -> None:
    read = events_of(store, events(tmp_path, "20260605", "20260699", "20260700"), {"event_time": "at"})
    assert [moment.year for (moment,) in values(read, "event_time")] == [1970] * 3
    assert read.odd["times before 1980"] == 3


def test_an_unreadable_time_is_shown_with_the_forms_that_are_read(store: DuckDBStore, tmp_path: Path) -> None:
    read = events_of(store, events(tmp_path, "2026-06-05", "5th of June"), {"event_time": "at"})
    assert (read.rejected, read.examples) == ({"unreadable event_time": 1}, {"unreadable event_time": "5th of June"})
    assert "give any other form with --date-format" in read.remarks[0]
