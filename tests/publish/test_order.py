"""Lists are copied into a table in order of user and rank; parts that are in this order are not sorted."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from semconv_warehouse.publish.ordered_lists import create_in_order, parts_in_order

Rows = list[tuple[str, int | None]]
SELECT = "SELECT user_id, rank, $label AS label FROM read_parquet($parts)"


def write(folder: Path, *parts: Rows, row_group_size: int = 2) -> list[str]:
    files = []
    for number, rows in enumerate(parts):
        users, ranks = zip(*rows, strict=True)
        files.append(str(folder / f"part-{number}.parquet"))
        pq.write_table(pa.table({"user_id": users, "rank": ranks}), files[-1], row_group_size=row_group_size)
    return files


def lists(*users: str) -> Rows:
    return [(user, rank) for user in users for rank in (1, 2, 3)]


@pytest.mark.parametrize(
    ("parts", "is_in_order"),
    [
        ([lists("a", "b"), lists("c")], True),
        ([lists("c"), lists("a", "b")], True),  # the second file comes first
        ([lists("a", "c"), lists("b")], False),
        ([lists("b", "a")], False),
        ([[("a", 3), ("a", 1), ("b", 1), ("a", 2)]], True),  # in order by their row groups, but not by their rows
        ([lists("a"), [(None, 1)]], False),
    ],
)
def test_rows_of_the_table_are_in_order(tmp_path: Path, parts: list[Rows], is_in_order: bool) -> None:
    files = write(tmp_path, *parts)
    with duckdb.connect() as connection:
        assert (parts_in_order(connection, files) is not None) == is_in_order
        is_proved = create_in_order(connection, "a table", SELECT, files, {"label": 7})
        found = connection.execute('FROM "a table"').fetchall()
    expected = sorted((row for part in parts for row in part), key=lambda row: (row[0] is None, row))
    assert found == [(user, rank, 7) for user, rank in expected]
    assert is_proved == (is_in_order and parts[0][0] != ("a", 3))


@pytest.mark.parametrize("ranks", [(1, 2, 4), (1, 2, 2), (2, 3, 4), (1, 2, None)])
def test_ranks_with_a_gap_or_a_duplicate_are_not_reported_as_proved(
    tmp_path: Path, ranks: tuple[int | None, ...]
) -> None:
    files = write(tmp_path, [*lists("a"), *(("b", rank) for rank in ranks)])
    with duckdb.connect() as connection:
        assert not create_in_order(connection, "rows", SELECT, files, {"label": 7})


def test_parts_in_order_are_copied_without_a_sort(tmp_path: Path) -> None:
    """Rows with equal user and rank keep their order, which a sort may change."""
    files = write(tmp_path, [("a", 1)] * 5000 + [("b", 1)] * 5000, row_group_size=1000)
    with duckdb.connect() as connection:
        create_in_order(
            connection,
            "rows",
            "SELECT *, file_row_number AS number FROM read_parquet($parts, file_row_number = true)",
            files,
        )
        assert connection.execute("SELECT list(number) FROM rows").fetchall()[0][0] == list(range(10_000))
