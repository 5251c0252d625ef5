"""The columns of a recommendation row, defined in one place.

:data:`LIST_COLUMNS` defines these columns for the Parquet parts of a run, the table ``recommendation`` of a published
generation and its view, the check of external lists, the Feast view of a user's list, and the table in ``docs/sql.md``.
To add a column, add an entry here and fill it in ``semconv.stages.lists.parts.part_table``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from semconv.columns import ITEM_ID, RANK, REASON_ITEM_ID, SCORE, SOURCE_EXTERNAL, SOURCES, USER_ID


@dataclass(frozen=True)
class ListColumn:
    """One column of a recommendation row.

    Attributes:
        arrow_type: type in a Parquet part.
        sql_type: the same type in DuckDB.
        meaning: a phrase for the documentation; empty where the name is clear.
        is_required: whether external lists must have the column and a value in every row.
        default: value for external lists that lack the column.
        feature: name of the Feast feature that holds the values of this column for a user's whole list, in order of
            rank; empty if there is no such feature.
    """

    name: str
    arrow_type: pa.DataType
    sql_type: str
    meaning: str = ""
    is_required: bool = False
    default: Sequence[str] | str | float | None = None
    feature: str = ""


LIST_COLUMNS = (
    ListColumn(USER_ID, pa.string(), "VARCHAR", is_required=True),
    ListColumn(RANK, pa.int32(), "INTEGER", "from 1", is_required=True),
    ListColumn(ITEM_ID, pa.string(), "VARCHAR", is_required=True, feature="item_ids"),
    ListColumn(SCORE, pa.float64(), "DOUBLE", is_required=True, feature="scores"),
    ListColumn(
        SOURCES,
        pa.list_(pa.string()),
        "VARCHAR[]",
        "which methods proposed the item: one or more of model, transition and neighbor, or fallback, or external",
        default=[SOURCE_EXTERNAL],
    ),
    ListColumn(REASON_ITEM_ID, pa.string(), "VARCHAR", "the history item that best explains the recommendation"),
)
LIST_SCHEMA = pa.schema([(column.name, column.arrow_type) for column in LIST_COLUMNS])
