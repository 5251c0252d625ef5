"""Ingest: files of interactions and items, read with polars, merged into the warehouse through Arrow.

Reading and cleaning happen without the warehouse; all writes of one ingest are one short transaction.
"""

from __future__ import annotations

from semconv_warehouse.ingest.interactions import ingest_interactions
from semconv_warehouse.ingest.items import ingest_items
from semconv_warehouse.ingest.published_sets import ingest_amazon, ingest_movielens
from semconv_warehouse.ingest.report import IngestReport

__all__ = ["IngestReport", "ingest_amazon", "ingest_interactions", "ingest_items", "ingest_movielens"]
