"""Input files with absurd content: ingest stores or rejects every row, counts both, and changes no id."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semconv_warehouse.opened import OpenedProject
from tests.worlds.faults import bad_inputs as bad
from tests.worlds.faults.ingest_checks import WILD, bounded, check_ingest, check_table, fresh, ingest, stored


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    layout = OpenedProject.init(tmp_path_factory.mktemp("bad") / "empty", "")
    yield layout.root
    for path in layout.root.parent.glob("p*"):
        shutil.rmtree(path)


@pytest.mark.parametrize("kind", WILD)
@bounded(5)
@given(data=st.data())
def test_wild_rows(empty: Path, tmp_path: Path, kind: str, data: st.DataObject) -> None:
    suffix, rows = data.draw(WILD[kind])
    check_ingest(empty, kind, bad.write(tmp_path / f"x.{suffix}", rows))


@bounded(8)
@given(table=bad.tables(["user_id", "item_id", "event_time", "rating", "query"]))
def test_columns_of_every_type(empty: Path, tmp_path: Path, table: Any) -> None:
    check_table(empty, tmp_path, "interactions", table)


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_nasty_ids_are_stored_as_they_are(empty: Path, suffix: str) -> None:
    layout = fresh(empty)
    rows = [
        {"user_id": user, "item_id": item, "event_time": str(number)}
        for number, (user, item) in enumerate(zip(bad.NASTY, reversed(bad.NASTY), strict=True))
    ]
    report = ingest(layout, "interactions", bad.write(layout.root / f"x.{suffix}", rows))
    assert report is not None
    expected = {
        (row["user_id"].strip(bad.BLANKS), row["item_id"].strip(bad.BLANKS))
        for row in rows
        if row["user_id"].strip(bad.BLANKS) and row["item_id"].strip(bad.BLANKS)
    }
    assert set(stored(layout, "user_id, item_id")) == expected


TIMES = {
    datetime(1, 1, 1): ["0001-01-01", "0001-01-01T00:00:00"],  # noqa: DTZ001
    datetime(1969, 12, 31, 23, 59, 59): [-1, "-1", "1969-12-31T23:59:59Z"],  # noqa: DTZ001
    datetime(1970, 1, 1): [0, "0", "1970-01-01"],  # noqa: DTZ001
    datetime(2020, 9, 13, 12, 26, 40): [1_600_000_000, 1_600_000_000_000, 1_600_000_000_000_000, 1_600_000_000_000_000_000],  # noqa: DTZ001
    datetime(2262, 4, 12): ["2262-04-12", 9_223_372_800, 9_223_372_800_000],  # noqa: DTZ001
    datetime(9999, 12, 31): ["9999-12-31", "9999-12-31 00:00"],  # noqa: DTZ001
    None: ["NaT", "NaN", "inf", "-inf", "0000-01-01", "2020-02-30", "10000-01-01", 1e300, "1e400", True],
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_times_are_read_or_rejected(empty: Path, suffix: str) -> None:
    layout = fresh(empty)
    rows = [
        {"user_id": f"u{row}-{number}", "item_id": "i", "event_time": value}
        for row, values in enumerate(TIMES.values())
        for number, value in enumerate(values)
    ]
    report = ingest(layout, "interactions", bad.write(layout.root / f"x.{suffix}", rows))
    assert report is not None
    assert report["rejected"] == {"unreadable event_time": len(TIMES[None])}
    found = dict(stored(layout, "user_id, event_time"))
    for row, (moment, values) in enumerate(TIMES.items()):
        for number, value in enumerate(values):
            assert found.get(f"u{row}-{number}") == moment, (value, suffix)


LARGEST = 2**63 - 1
TICKS = {
    "s": {-62_135_596_800: datetime(1, 1, 1), 253_402_300_799: datetime(9999, 12, 31, 23, 59, 59), 253_402_300_800: None},  # noqa: DTZ001
    "ms": {-62_135_596_800_000: datetime(1, 1, 1), -62_135_596_800_001: None, LARGEST: None, 2**62: None},  # noqa: DTZ001
    "us": {253_402_300_799_999_999: datetime(9999, 12, 31, 23, 59, 59, 999_999), LARGEST: None, -LARGEST: None},  # noqa: DTZ001
    "ns": {LARGEST: datetime(2262, 4, 11, 23, 47, 16, 854_775), -LARGEST: datetime(1677, 9, 21, 0, 12, 43, 145_224)},  # noqa: DTZ001
    "day": {-719_162: datetime(1, 1, 1), 2_932_896: datetime(9999, 12, 31), 2_932_897: None, 2**31 - 1: None},  # noqa: DTZ001
}  # fmt: skip


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
@pytest.mark.parametrize("unit", TICKS)
def test_the_earliest_and_latest_times_of_each_column_type(empty: Path, unit: str, zone: str | None) -> None:
    layout, ticks = fresh(empty), TICKS[unit]
    kind = pa.date32() if unit == "day" else pa.timestamp(unit, zone)
    values = pa.array(list(ticks), pa.int32() if unit == "day" else pa.int64()).cast(kind)
    names = [f"u{number}" for number in range(len(ticks))]
    pq.write_table(
        pa.table({"user_id": names, "item_id": names, "event_time": values}), layout.root / "x.parquet", version="2.6"
    )
    report = ingest(layout, "interactions", layout.root / "x.parquet")
    assert report is not None
    found = dict(stored(layout, "user_id, event_time"))
    assert [found.get(name) for name in names] == list(ticks.values())
    assert sum(report["rejected"].values()) == list(ticks.values()).count(None)
