"""Write and read the Parquet file with the figures of an evaluation: one row for each user and method."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import atomic_path
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.evaluation.rows import ListFigures
from semconv.evaluation.segments import EvaluatedUsers
from semconv.runs.files import USER_FIGURES
from semconv.runs.workspace import Workspace
from semconv.stages.evaluate.case import EvaluationCase

TARGET = "target_item_id"
SCHEMA = pa.schema(
    [
        (columns.USER_ID, pa.string()),
        (columns.METHOD, pa.string()),
        (columns.RANK, pa.int32()),  # rank of the target, from 1; 0 if it is not in the list
        ("history_length", pa.int32()),
        (TARGET, pa.string()),
        ("target_popularity", pa.int64()),  # training interactions of the target
        ("target_source", pa.string()),  # where the target's codes come from: a vector_source, or 'no code'
        ("target_is_cold", pa.bool_()),
        ("novelty", pa.float32()),  # bits, null for an empty list
        ("diversity", pa.float32()),  # null where fewer than two items of the list have codes
        ("fallback_share", pa.float32()),  # null for an empty list
    ]
)


@dataclass(frozen=True)
class UserRanks:
    """The ranks of the held-out items in one method's lists, with one row for each user."""

    user_ids: pa.Array  # (U,)
    targets: pa.Array  # (U,) ids of the held-out items
    ranks: NDArray[np.int64]  # (U,) from 1, 0 for a miss


class UserFile:
    """Writes the figures of each user, one method after the other."""

    def __init__(self, writer: pq.ParquetWriter, case: EvaluationCase, users: EvaluatedUsers) -> None:
        """Prepare the columns whose values are the same for all methods."""
        targets = pa.array(case.targets)
        self._writer = writer
        self._shared = {
            columns.USER_ID: pa.array(case.sequences.user_ids, pa.string()).take(pa.array(case.users)),
            "history_length": pa.array(users.history_lengths.astype(np.int32)),
            TARGET: pa.array(case.item_ids, pa.string()).take(targets),
            "target_popularity": pa.array(users.target_popularity),
            "target_source": pa.array(case.sources, pa.string()).take(targets),
            "target_is_cold": pa.array(users.is_cold),
        }

    def write(self, method: str, figures: ListFigures) -> None:
        """Write the rows of one method, one row for each user."""
        own = {
            columns.METHOD: pa.repeat(pa.scalar(method, pa.string()), len(figures.ranks)),
            columns.RANK: pa.array(figures.ranks.astype(np.int32)),
        }
        for name in ("novelty", "diversity", "fallback_share"):
            values = getattr(figures, name).astype(np.float32)
            own[name] = pa.array(values, mask=np.isnan(values))
        self._writer.write_table(pa.table({**self._shared, **own}).select(SCHEMA.names).cast(SCHEMA))


@contextmanager
def user_file(folder: Path, case: EvaluationCase, users: EvaluatedUsers) -> Iterator[UserFile]:
    """Open the file of an evaluation for writing. The file appears under its name only when it is complete."""
    with atomic_path(folder / USER_FIGURES) as temporary, pq.ParquetWriter(temporary, SCHEMA) as writer:
        yield UserFile(writer, case, users)


def read_ranks(workspace: Workspace, run: RunRecord) -> dict[str, UserRanks]:
    """Read the ranks of an evaluate run, as a dictionary by method.

    Raises:
        InputError: the run is of another stage or unfinished, or its ranks cannot be read.
    """
    if run.stage != columns.EVALUATE or run.status != "finished":
        raise InputError(f"{run.run_id} is not a finished evaluate run; choose one of those that `semconv runs` lists")
    folder = workspace.intact(run)
    try:
        table = pq.read_table(folder / USER_FIGURES, columns=[columns.USER_ID, columns.METHOD, columns.RANK, TARGET])
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{run.run_id}: its ranks cannot be read ({str(error).splitlines()[0]}); evaluate again with `semconv evaluate`"
        ) from error
    result = {}
    for method in pc.unique(table.column(columns.METHOD)).to_pylist():
        mine = table.filter(pc.equal(table.column(columns.METHOD), method)).combine_chunks()
        names, targets, ranks = (_whole(mine.column(name)) for name in (columns.USER_ID, TARGET, columns.RANK))
        result[method] = UserRanks(names, targets, ranks.to_numpy().astype(np.int64))
    return result


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """Return a chunked Arrow column as one array."""
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
