"""Samples as a file that people and other trainers read."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from semconv.artifacts import atomic_path
from semconv.tasks.export import Sample

_SCHEMA = pa.schema([(name, pa.string()) for name in ("task", "prompt", "label", "user_id", "item_id")])
_ROWS_AT_ONCE = 50_000


def write_samples(
    path: Path, samples: Iterator[Sample], user_ids: Sequence[str], item_ids: Sequence[str]
) -> dict[str, Any]:
    """Write one row a sample, whole or not at all; returns counts by task."""
    counts: Counter[str] = Counter()

    def rows() -> Iterator[dict[str, str | None]]:
        for sample in samples:
            counts[sample.task] += 1
            user = user_ids[sample.user] if sample.user >= 0 else None
            yield {
                "task": sample.task,
                "prompt": sample.prompt,
                "label": sample.label,
                "user_id": user,
                "item_id": item_ids[sample.item],
            }

    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            with pq.ParquetWriter(temporary, _SCHEMA) as writer:
                stream = rows()
                while chunk := list(itertools.islice(stream, _ROWS_AT_ONCE)):
                    writer.write_table(pa.Table.from_pylist(chunk, _SCHEMA))
        else:
            with temporary.open("w") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows())
    return dict(counts)
