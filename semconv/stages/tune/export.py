"""Export the training samples of an epoch, so that people can read them or other programs can train on them."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from semconv import columns
from semconv.artifacts import atomic_path
from semconv.errors import InputError
from semconv.modes import OWNER_FILE
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages.codes.item_codes import ItemCodes
from semconv.stages.tune.inputs import TuningInputs
from semconv.stages.tune.prompts import prepared_backbone, prompt_source
from semconv.tasks.export import Sample, samples
from semconv.tasks.plan import plan_epoch

_SCHEMA = pa.schema([(name, pa.string()) for name in ("task", "prompt", "label", "user_id", "item_id")])
_ROWS_AT_ONCE = 50_000


def export_prompts(workspace: Workspace, output: Path, epoch: int) -> dict[str, Any]:
    """Write every training sample of an epoch as JSON lines or Parquet; return the number of samples by task.

    Raises:
        InputError: the file ends with neither .jsonl nor .parquet.
    """
    if output.suffix not in (".jsonl", ".parquet"):
        raise InputError(f"{output}: unknown kind of file; name a .jsonl or .parquet file")
    codes_of = Lineage.current(workspace.store, workspace.need(columns.CODEBOOK))
    inputs = TuningInputs(workspace.need(columns.BACKBONE), codes_of)
    codes = ItemCodes.read(workspace, codes_of.code_runs)
    source = prompt_source(workspace, inputs, prepared_backbone(workspace, inputs), codes)
    builder = source.builder()
    plan = plan_epoch(source.data, source.tasks, epoch, source.history_length, source.encoder.dates)
    users, catalog = workspace.sequences().user_ids, workspace.store.catalog()
    counts = _write_samples(output, samples(builder, plan), users, catalog.item_ids)
    if builder.too_long:
        workspace.progress.say(
            f"{builder.too_long} prompts are left out, because they are longer than tasks.max_prompt_tokens"
        )
    return counts


def _write_samples(
    path: Path, samples: Iterator[Sample], user_ids: Sequence[str], item_ids: Sequence[str]
) -> dict[str, Any]:
    """Write one row for each sample, completely or not at all; return the number of samples by task."""
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

    with atomic_path(path, OWNER_FILE) as temporary:
        if path.suffix == ".parquet":
            with pq.ParquetWriter(temporary, _SCHEMA) as writer:
                stream = rows()
                while chunk := list(itertools.islice(stream, _ROWS_AT_ONCE)):
                    writer.write_table(pa.Table.from_pylist(chunk, _SCHEMA))
        else:
            with temporary.open("w") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows())
    return dict(counts)
