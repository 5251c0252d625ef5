"""Find and remove damaged files of Feast, so that the next command writes them again.

All of these files are derived: the registry from ``feature_repo``, the Parquet files from the generations, and the
online store from the Parquet files. Only the default files in ``data/`` are checked, because Redis and PostgreSQL check
their own data.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from semconv.artifacts import machine_errors
from semconv_warehouse.features.files import feature_store_yaml, marker_file, online_store_file, registry_file
from semconv_warehouse.store.layout import ProjectLayout

_SQLITE = b"SQLite format 3\x00"
_LARGEST_PAGE = 65_536  # the header has two bytes for the size of a page, so 1 stands for this size


def remove_damaged(layout: ProjectLayout, *, thoroughly: bool = False) -> list[Path]:
    """Remove the registry and the online store if they are damaged.

    If one of them is removed or the registry is missing, the next materialize loads all rows.

    Args:
        thoroughly: read all of the online store and of the exported Parquet files, and remove damaged exports too.

    Returns:
        The files that are missing now: the removed files, and a registry that was missing before.
    """
    online, registry = online_store_file(layout), registry_file(layout)
    damaged = [] if _is_registry(registry) or _has_other_registry(layout) else [registry]
    if online.is_file() and not (_is_complete_sqlite(online) and (not thoroughly or _passes_quick_check(online))):
        damaged.append(online)
    if thoroughly:
        damaged += [path for path in sorted(layout.features.glob("*/*.parquet")) if not _is_parquet(path)]
    for path in (*damaged, *([marker_file(layout)] if damaged else [])):
        with machine_errors(path):
            path.unlink(missing_ok=True)
    return damaged


def _has_other_registry(layout: ProjectLayout) -> bool:
    """Return whether the default registry is rightly missing: the yaml file names another one or does not exist."""
    yaml, registry = feature_store_yaml(layout), registry_file(layout)
    return not registry.exists() and (not yaml.is_file() or registry.name not in yaml.read_text())


def _is_registry(path: Path) -> bool:
    from feast.protos.feast.core.Registry_pb2 import Registry
    from google.protobuf.message import DecodeError

    try:
        content = path.read_bytes()
        Registry().ParseFromString(content)
    except (DecodeError, FileNotFoundError):
        return False
    return bool(content)


def _is_complete_sqlite(path: Path) -> bool:
    """Return whether a file is a SQLite database and at least as long as its header says."""
    with path.open("rb") as stream:
        header = stream.read(32)
    page = int.from_bytes(header[16:18], "big")
    size = (_LARGEST_PAGE if page == 1 else page) * int.from_bytes(header[28:32], "big")
    return header.startswith(_SQLITE) and size <= path.stat().st_size


def _passes_quick_check(path: Path) -> bool:
    with (
        contextlib.suppress(sqlite3.DatabaseError),
        contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection,
    ):
        return bool(connection.execute("PRAGMA quick_check").fetchone() == ("ok",))
    return False


def _is_parquet(path: Path) -> bool:
    try:
        with pq.ParquetFile(path) as file:
            for _ in file.iter_batches():
                pass
    except (pa.ArrowException, OSError):
        return False
    return True
