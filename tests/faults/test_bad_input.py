"""Input files with absurd content: ingest stores or rejects every row, counts both, and changes no id."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semconv_cli.main import cli
from semconv_warehouse.opened import OpenedProject
from semconv_warehouse.store.database import open_database
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds import bad_inputs as bad

KINDS = st.sampled_from(["jsonl", "csv", "parquet"])
_numbers = itertools.count()


def bounded(number: int) -> Any:
    """Draw a number of examples, the same in every run, without a deadline: the machine may be busy."""
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    return settings(max_examples=number, deadline=None, suppress_health_check=checks, derandomize=True)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    layout = OpenedProject.init(tmp_path_factory.mktemp("bad") / "empty", "")
    yield layout.root
    for path in layout.root.parent.glob("p*"):
        shutil.rmtree(path)


def fresh(empty: Path) -> ProjectLayout:
    root = empty.with_name(f"p{next(_numbers)}")
    shutil.copytree(empty, root)
    return ProjectLayout(root)


def ingest(layout: ProjectLayout, kind: str, file: Path, *options: str) -> dict[str, Any] | None:
    """Return the report of an ingest, None when it refused the file in one line."""
    result = run(layout, "ingest", kind, str(file), "--json", *options)
    if result.exit_code:
        assert result.exit_code == 4, (result.output, result.exception)
        (line,) = result.stderr.strip().splitlines()
        assert line.startswith(f"error: {file}"), line
        return None
    report: dict[str, Any] = json.loads(result.stdout)
    counted = report["added"] + report["updated"] + report["duplicate"] + sum(report["rejected"].values())
    assert counted == report["read"], report
    return report


def run(layout: ProjectLayout, *words: str) -> Result:
    return CliRunner().invoke(cli, ["--project", str(layout.root), "-q", *words])


def stored(layout: ProjectLayout, columns: str, table: str = "interaction") -> list[tuple[Any, ...]]:
    with open_database(layout.warehouse, read_only=True) as connection:
        return [tuple(row) for row in connection.exec_driver_sql(f"SELECT {columns} FROM {table} ORDER BY ALL")]


def check_ingest(empty: Path, kind: str, file: Path) -> None:
    """Ingest a file twice: counts add up, the checks pass, and the second time changes nothing."""
    layout = fresh(empty)
    file = file.rename(layout.root / file.name)
    report = ingest(layout, kind, file, "--rejected", str(layout.root / "rejected.jsonl"))
    table = "interaction" if kind == "interactions" else "item"
    rows = stored(layout, "*", table)
    assert len(rows) == (report["added"] if report else 0)
    if report is not None:
        again = ingest(layout, kind, file)
        assert again is not None
        assert (again["added"], again["updated"], again["rejected"]) == (0, 0, report["rejected"])
        assert stored(layout, "*", table) == rows
        assert run(layout, "check").exit_code == 0
        rejected = (layout.root / "rejected.jsonl").read_bytes()
        assert rejected.count(b"\n") == sum(report["rejected"].values())
    shutil.rmtree(layout.root)


def check_table(empty: Path, tmp_path: Path, kind: str, table: Any) -> None:
    pq.write_table(table, tmp_path / "x.parquet")
    check_ingest(empty, kind, tmp_path / "x.parquet")


WILD = {
    "interactions": st.tuples(KINDS, st.lists(bad.records, min_size=1, max_size=6)),
    "items": st.tuples(KINDS, st.lists(bad.items, min_size=1, max_size=6)),
}


@pytest.mark.parametrize("kind", WILD)
@bounded(15)
@given(data=st.data())
def test_wild_rows(empty: Path, tmp_path: Path, kind: str, data: st.DataObject) -> None:
    suffix, rows = data.draw(WILD[kind])
    check_ingest(empty, kind, bad.write(tmp_path / f"x.{suffix}", rows))


@pytest.mark.slow
@pytest.mark.parametrize("kind", WILD)
@bounded(300)
@given(data=st.data())
def test_many_wild_rows(empty: Path, tmp_path: Path, kind: str, data: st.DataObject) -> None:
    suffix, rows = data.draw(WILD[kind])
    check_ingest(empty, kind, bad.write(tmp_path / f"x.{suffix}", rows))


@bounded(15)
@given(table=bad.tables(["user_id", "item_id", "event_time", "rating", "query"]))
def test_columns_of_every_type(empty: Path, tmp_path: Path, table: Any) -> None:
    check_table(empty, tmp_path, "interactions", table)


@pytest.mark.slow
@bounded(300)
@given(table=bad.tables(["user_id", "item_id", "event_time", "rating", "query"]))
def test_many_columns_of_every_type(empty: Path, tmp_path: Path, table: Any) -> None:
    check_table(empty, tmp_path, "interactions", table)


@pytest.mark.slow
@bounded(200)
@given(table=bad.tables(["item_id", "title", "categories", "size's \" name"]))
def test_many_item_columns_of_every_type(empty: Path, tmp_path: Path, table: Any) -> None:
    check_table(empty, tmp_path, "items", table)


@pytest.mark.slow
@bounded(200)
@given(
    content=st.binary(min_size=1, max_size=400),
    suffix=st.sampled_from(["jsonl", "csv", "parquet", "csv.gz", "jsonl.gz"]),
)
def test_files_that_are_not_what_their_name_says(empty: Path, tmp_path: Path, content: bytes, suffix: str) -> None:
    file = tmp_path / f"x.{suffix}"
    file.write_bytes(content)
    check_ingest(empty, "interactions", file)


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
