"""Files of Feast that are damaged: found, and removed so that they are made again.

All of them are derived: the registry from ``feature_repo``, the Parquet files from the generations, the online store
from the Parquet files. Only the default files in ``data/`` are looked at; Redis or PostgreSQL look after themselves.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from semconv.artifacts import machine_errors
from semconv_warehouse.store.layout import ProjectLayout

MARKER = "materialized.json"  # what was materialized last; without it everything is materialized again
_SQLITE = b"SQLite format 3\x00"
_LARGEST_PAGE = 65_536  # written as 1 in the two bytes of the header


def remove_damaged(layout: ProjectLayout, *, thoroughly: bool = False) -> list[Path]:
    """Remove what cannot be read of registry and online store; ``thoroughly`` reads both and the exports to their end.

    Where something was removed, or the registry is gone, everything counts as not materialized.

    Returns:
        What is not there any more: the files that were removed, a registry that is gone.
    """
    online, registry = layout.data / "online_store.db", layout.data / "registry.db"
    damaged = [] if _is_registry(registry) or _is_elsewhere(registry, layout) else [registry]
    if online.is_file() and not (_is_store(online) and (not thoroughly or _is_sound_store(online))):
        damaged.append(online)
    if thoroughly:
        damaged += [path for path in sorted(layout.features.glob("*/*.parquet")) if not _is_parquet(path)]
    for path in (*damaged, *([layout.features / MARKER] if damaged else [])):
        with machine_errors(path):
            path.unlink(missing_ok=True)
    return damaged


def _is_elsewhere(path: Path, layout: ProjectLayout) -> bool:
    yaml = layout.feature_repo / "feature_store.yaml"
    return not path.exists() and (not yaml.is_file() or path.name not in yaml.read_text())


def _is_registry(path: Path) -> bool:
    from feast.protos.feast.core.Registry_pb2 import Registry
    from google.protobuf.message import DecodeError

    try:
        content = path.read_bytes()
        Registry().ParseFromString(content)
    except (DecodeError, FileNotFoundError):
        return False
    return bool(content)


def _is_store(path: Path) -> bool:
    """Whether a file begins as a SQLite database and is as long as it says."""
    with path.open("rb") as stream:
        header = stream.read(32)
    page = int.from_bytes(header[16:18], "big")
    size = (_LARGEST_PAGE if page == 1 else page) * int.from_bytes(header[28:32], "big")
    return header.startswith(_SQLITE) and size <= path.stat().st_size


def _is_sound_store(path: Path) -> bool:
    with contextlib.suppress(sqlite3.DatabaseError), _read_only(path) as connection:
        return bool(connection.execute("PRAGMA quick_check").fetchone() == ("ok",))
    return False


@contextlib.contextmanager
def _read_only(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        yield connection
    finally:
        connection.close()


def _is_parquet(path: Path) -> bool:
    try:
        with pq.ParquetFile(path) as file:
            for _ in file.iter_batches():
                pass
    except (pa.ArrowException, OSError):
        return False
    return True
