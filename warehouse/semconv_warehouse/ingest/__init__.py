"""Ingest of interactions, items and users: polars reads and cleans the files, DuckDB merges the rows into the warehouse.

Files are read and cleaned before the warehouse is opened for writing. All rows are written in one short transaction.
"""

from __future__ import annotations

from semconv_warehouse.ingest.interactions import ingest_interactions
from semconv_warehouse.ingest.items import ingest_items
from semconv_warehouse.ingest.published_sets import ingest_amazon, ingest_lcrec, ingest_movielens
from semconv_warehouse.ingest.report import IngestReport
from semconv_warehouse.ingest.users import ingest_users

__all__ = [
    "IngestReport",
    "ingest_amazon",
    "ingest_interactions",
    "ingest_items",
    "ingest_lcrec",
    "ingest_movielens",
    "ingest_users",
]
