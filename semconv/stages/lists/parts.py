"""Lists as Parquet: the parts of a recommend run, each with the fingerprint of what it belongs to.

Parts to be scored may hold the lists of several methods side by side, told apart by a column ``method``; parts
for serving hold one list a user.
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
_SERVED = b"semconv.served"  # the method whose lists the run serves
_METHOD = pa.field(columns.METHOD, pa.string())
_SORTED = [(columns.USER_ID, "ascending"), (columns.RANK, "ascending")]


def part_table(result: ShardLists, user_ids: pa.Array, item_ids: pa.Array) -> pa.Table:
    """Rows of a shard's lists; ``user_ids`` ``(U,)`` and ``item_ids`` ``(I,)`` are looked up by index."""
    items = result.top_k.items
    rows, places = np.nonzero(items >= 0)
    reasons = result.reasons[rows, places]
    bits = result.sources[rows, places, None] & (1 << np.arange(len(columns.SOURCES_ORDER), dtype=np.uint8))  # (n, 4)
    counts = np.count_nonzero(bits, axis=1)
    names = pa.array(columns.SOURCES_ORDER, pa.string()).take(pa.array(np.nonzero(bits)[1]))
    sources = pa.ListArray.from_arrays(pa.array(offsets_of(counts).astype(np.int32)), names)
    return pa.table(
        {
            columns.USER_ID: user_ids.take(pa.array(result.top_k.users[rows])),
            columns.RANK: pa.array((places + 1).astype(np.int32)),
            columns.ITEM_ID: item_ids.take(pa.array(items[rows, places])),
            columns.SCORE: pa.array(result.top_k.scores[rows, places].astype(np.float64)),
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
    """Write the rows of some tables as one part, sorted by user and rank, whole or not at all.

    Args:
        served: the method that made these lists.
        others: lists of other methods by name, for a part that is to be scored and never published.
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
    """Whether a file is a whole part with this label; a file cut short has no footer."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError):
        return False
    return bool(metadata.get(_LABEL, b"").decode() == label)


def read_part(path: Path, names: Sequence[str] | None = None, method: str | None = None) -> pa.Table:
    """Rows of one part, some columns alone if asked; InputError when it cannot be read.

    Args:
        method: whose lists; None for those that the run serves. A part without the column ``method`` holds these
            alone, and counts as the model's.
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
    """The parts of a recommend run in their order; InputError when there are none."""
    paths = part_files(folder)
    if not paths:
        raise InputError(f"{folder}: holds no parts; run `semconv recommend` again")
    return paths


def part_methods(folder: Path) -> list[str]:
    """The methods whose lists the parts of a run hold, by name; InputError when there are none, or they cannot be read."""
    found: set[str] = set()
    for path in part_paths(folder):
        try:
            schema = pq.read_schema(path)
            held = pq.read_table(path, columns=[columns.METHOD]) if columns.METHOD in schema.names else None
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path}: the part cannot be read ({str(error).splitlines()[0]})") from error
        found |= {_served(schema.metadata)} if held is None else set(held.column(columns.METHOD).unique().to_pylist())
    return sorted(found)


def _served(metadata: Mapping[bytes, bytes] | None) -> str:
    """Whose lists of a part are the ones that its run serves."""
    return (metadata or {}).get(_SERVED, columns.METHOD_MODEL.encode()).decode()
