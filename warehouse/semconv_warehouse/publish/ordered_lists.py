"""Copy lists from Parquet files into one table that is sorted by user and rank.

If the files seem to be sorted, they are copied, and a scan of the table verifies the order. Otherwise DuckDB sorts the
rows, on the disk if memory is short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import duckdb

from semconv_warehouse.store.database import one_file, quote_identifier

# The first and last user of each row group, from the statistics in the file.
_BOUNDS = """
SELECT file_name, stats_min_value AS first_user, stats_max_value AS last_user
FROM parquet_metadata($parts) WHERE path_in_schema = 'user_id' ORDER BY file_name, row_group_id
"""
# Whether rows are out of order, and whether ranks do not run from 1. One scan: OVER () is the order of the table.
_FAULTS = """
SELECT
    coalesce(bool_or(user_before > user_id OR (user_before = user_id AND rank_before > rank)), false),
    coalesce(bool_or(rank IS DISTINCT FROM CASE WHEN user_before = user_id THEN rank_before + 1 ELSE 1 END), false)
FROM (SELECT user_id, rank, lag(user_id) OVER () AS user_before, lag(rank) OVER () AS rank_before FROM {table})
"""


def create_in_order(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    select: str,
    parts: Sequence[str],
    values: Mapping[str, Any] | None = None,
) -> bool:
    """Create a table from a query, with its rows sorted by user_id and rank.

    Args:
        select: a query that reads the files ``$parts``; ``values`` has its other parameters.
        parts: the files, whose names may have any characters.

    Returns:
        True if a scan has shown that every user's ranks run from 1 without gaps or duplicates, else False (unknown).
    """
    ordered, name = parts_in_order(connection, parts), quote_identifier(table)
    bound = {**(values or {}), "parts": [one_file(part) for part in ordered or parts]}
    if ordered:
        connection.execute(f"CREATE TABLE {name} AS {select}", bound)
        is_out_of_order, has_gap = connection.execute(_FAULTS.format(table=name)).fetchall()[0]
        if not is_out_of_order:
            return not has_gap
    connection.execute(f"CREATE OR REPLACE TABLE {name} AS {select} ORDER BY user_id, rank", bound)
    return False


def parts_in_order(connection: duckdb.DuckDBPyConnection, parts: Sequence[str]) -> list[str] | None:
    """Return the files sorted by their first user, or None if the user ranges of two row groups then overlap.

    Only the statistics of the row groups are read: the rows within a row group may be in any order.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for file, first, last in connection.execute(_BOUNDS, {"parts": [one_file(part) for part in parts]}).fetchall():
        if first is None or last is None:
            return None
        groups.setdefault(file, []).append((first, last))
    ordered = sorted(groups, key=lambda file: groups[file][0])
    bounds = [bound for file in ordered for bound in groups[file]]
    return ordered if all(before[1] <= after[0] for before, after in pairwise(bounds)) else None
