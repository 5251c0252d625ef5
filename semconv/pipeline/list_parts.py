"""Lists as Parquet: the parts of a recommend run, each with the fingerprint of what it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from semconv import columns
from semconv.artifacts import atomic_path
from semconv.errors import InputError
from semconv.inference.jobs import ShardResult

PART_SCHEMA = pa.schema(
    [
        (columns.USER_ID, pa.string()),
        (columns.RANK, pa.int32()),
        (columns.ITEM_ID, pa.string()),
        (columns.SCORE, pa.float64()),
        (columns.SOURCES, pa.list_(pa.string())),
        (columns.REASON_ITEM_ID, pa.string()),
    ]
)
_LABEL = b"semconv.part"
_SORTED = [(columns.USER_ID, "ascending"), (columns.RANK, "ascending")]


def part_name(place: int) -> str:
    """File name of the part of a run's shard."""
    return f"part-{place:05d}.parquet"


def part_table(result: ShardResult, user_ids: pa.Array, item_ids: pa.Array) -> pa.Table:
    """Rows of a shard's lists; ``user_ids`` ``(U,)`` and ``item_ids`` ``(I,)`` are looked up by index."""
    items = result.top_k.items
    rows, places = np.nonzero(items >= 0)
    reasons = result.reasons[rows, places]
    proposed = np.where(result.is_fallback[rows, places], columns.SOURCE_FALLBACK, columns.SOURCE_MODEL)
    sources = pa.ListArray.from_arrays(
        pa.array(np.arange(len(rows) + 1, dtype=np.int32)), pa.array(proposed.tolist(), pa.string())
    )
    return pa.table(
        {
            columns.USER_ID: user_ids.take(pa.array(result.top_k.users[rows])),
            columns.RANK: pa.array((places + 1).astype(np.int32)),
            columns.ITEM_ID: item_ids.take(pa.array(items[rows, places])),
            columns.SCORE: pa.array(result.top_k.scores[rows, places].astype(np.float64)),
            columns.SOURCES: sources,
            columns.REASON_ITEM_ID: item_ids.take(pa.array(reasons, mask=reasons < 0)),
        },
        schema=PART_SCHEMA,
    )


def write_part(path: Path, tables: Sequence[pa.Table], label: str) -> None:
    """Write the rows of some tables as one part, sorted by user and rank, whole or not at all."""
    rows = pa.concat_tables(tables).sort_by(_SORTED)
    with atomic_path(path) as temporary:
        pq.write_table(rows.replace_schema_metadata({_LABEL: label}), temporary)


def holds_part(path: Path, label: str) -> bool:
    """Whether a file is a whole part with this label; a file cut short has no footer."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError):
        return False
    return bool(metadata.get(_LABEL, b"").decode() == label)


def read_part(path: Path, names: Sequence[str] | None = None) -> pa.Table:
    """Rows of one part, some columns alone if asked; InputError when it cannot be read."""
    schema = PART_SCHEMA if names is None else pa.schema([PART_SCHEMA.field(name) for name in names])
    try:
        return pq.read_table(path, schema=schema, columns=None if names is None else list(names))
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}: the part cannot be read ({str(error).splitlines()[0]}); remove the folder of its run and run `semconv recommend` again"
        ) from error


def read_parts(folder: Path) -> pa.Table:
    """All rows of a recommend run; InputError when there are none, or a part cannot be read."""
    paths = sorted(folder.glob("part-*.parquet"))
    if not paths:
        raise InputError(f"{folder}: holds no parts; run `semconv recommend` again")
    return pa.concat_tables([read_part(path) for path in paths])
