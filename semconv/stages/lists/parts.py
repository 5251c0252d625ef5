"""Write and read the parts of a recommend run. A part is a Parquet file with the lists of one shard of users.

The metadata of a part holds a label of its run and shard. Parts for evaluation may hold lists of several methods, named
in a column ``method``. Parts for serving hold one list for each user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from semconv import columns
from semconv.artifacts import atomic_path
from semconv.data.list_rows import LIST_SCHEMA
from semconv.errors import InputError
from semconv.lists.recommender import ShardLists
from semconv.ragged import offsets_of
from semconv.runs.files import part_files

_LABEL = b"semconv.part"
_SERVED = b"semconv.served"  # the method whose lists are for serving
_METHOD = pa.field(columns.METHOD, pa.string())
_SORTED = [(columns.USER_ID, "ascending"), (columns.RANK, "ascending")]


def part_table(result: ShardLists, user_ids: pa.Array, item_ids: pa.Array) -> pa.Table:
    """Return the rows of a shard's lists; ``user_ids`` ``(U,)`` and ``item_ids`` ``(I,)`` hold the ids by index."""
    items = result.top_k.items
    rows, ranks = np.nonzero(items >= 0)
    reasons = result.reasons[rows, ranks]
    bits = result.sources[rows, ranks, None] & (1 << np.arange(len(columns.SOURCES_ORDER), dtype=np.uint8))  # (n, 4)
    counts = np.count_nonzero(bits, axis=1)
    names = pa.array(columns.SOURCES_ORDER, pa.string()).take(pa.array(np.nonzero(bits)[1]))
    sources = pa.ListArray.from_arrays(pa.array(offsets_of(counts).astype(np.int32)), names)
    return pa.table(
        {
            columns.USER_ID: user_ids.take(pa.array(result.top_k.users[rows])),
            columns.RANK: pa.array((ranks + 1).astype(np.int32)),
            columns.ITEM_ID: item_ids.take(pa.array(items[rows, ranks])),
            columns.SCORE: pa.array(result.top_k.scores[rows, ranks].astype(np.float64)),
            columns.SOURCES: sources,
            columns.REASON_ITEM_ID: item_ids.take(pa.array(reasons, mask=reasons < 0)),
        },
        schema=LIST_SCHEMA,
    )


def write_part(
    path: Path,
    tables: Sequence[pa.Table],
    label: str,
    served: str = columns.METHOD_MODEL,
    others: Mapping[str, pa.Table] | None = None,
) -> None:
    """Write the rows of some tables as one Parquet part, sorted by user and rank, completely or not at all.

    Args:
        served: the method that made the lists in ``tables``.
        others: lists of other methods by name, for a part that is evaluated and never published.
    """
    rows = pa.concat_tables(tables).sort_by(_SORTED)
    if others:
        named = [
            table.sort_by(_SORTED).append_column(_METHOD, _repeated(name, table)) for name, table in others.items()
        ]
        rows = pa.concat_tables([rows.append_column(_METHOD, _repeated(served, rows)), *named])
    with atomic_path(path) as temporary:
        pq.write_table(rows.replace_schema_metadata({_LABEL: label, _SERVED: served}), temporary)


def _repeated(name: str, table: pa.Table) -> pa.Array:
    return pa.repeat(pa.scalar(name, pa.string()), table.num_rows)


def holds_part(path: Path, label: str) -> bool:
    """Return whether a file is a complete Parquet part with this label; an incomplete file has no footer."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError):
        return False
    return bool(metadata.get(_LABEL, b"").decode() == label)


def read_part(path: Path, names: Sequence[str] | None = None, method: str | None = None) -> pa.Table:
    """Return the rows of one Parquet part, with all or some columns; InputError when it cannot be read.

    Args:
        method: the method that made the lists; None for the lists for serving. A part without the column ``method``
            holds only these.
    """
    names = LIST_SCHEMA.names if names is None else list(names)
    try:
        served = _served(pq.read_schema(path).metadata)
        schema = pa.schema([*(LIST_SCHEMA.field(name) for name in names), _METHOD])
        rows = pq.read_table(path, schema=schema)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}: the part cannot be read ({str(error).splitlines()[0]}); remove the folder of its run and run `semconv recommend` again"
        ) from error
    is_asked = pc.equal(pc.fill_null(rows.column(columns.METHOD), served), method or served)
    return rows.filter(is_asked).select(names)


def part_paths(folder: Path) -> list[Path]:
    """Return the paths of the Parquet parts of a recommend run in order; InputError when there are none."""
    paths = part_files(folder)
    if not paths:
        raise InputError(f"{folder}: contains no lists; run `semconv recommend` again")
    return paths


def part_methods(folder: Path) -> list[str]:
    """Return the names of the methods whose lists a run holds; InputError when its Parquet parts cannot be read."""
    found: set[str] = set()
    for path in part_paths(folder):
        try:
            schema = pq.read_schema(path)
            held = pq.read_table(path, columns=[columns.METHOD]) if columns.METHOD in schema.names else None
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{path}: the part cannot be read ({str(error).splitlines()[0]}); run `semconv recommend` again"
            ) from error
        found |= {_served(schema.metadata)} if held is None else set(held.column(columns.METHOD).unique().to_pylist())
    return sorted(found)


def _served(metadata: Mapping[bytes, bytes] | None) -> str:
    """Return the method whose lists in a Parquet part are for serving."""
    return (metadata or {}).get(_SERVED, columns.METHOD_MODEL.encode()).decode()
