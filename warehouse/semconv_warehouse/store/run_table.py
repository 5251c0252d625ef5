"""Rows of ``run`` and of the tables that a run writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from semconv import clock
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv_warehouse.store.database import insert_arrow, quote_identifier
from semconv_warehouse.store.reading import read_arrow

# Tables whose rows belong to a run, with the list columns that have one width a run.
RUN_TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "item_embedding": ("vector",),
    "user_embedding": ("vector",),
    "codebook_vector": ("vector",),
    "item_code": ("codes",),
    "metric": (),
}
_TICK = timedelta(microseconds=1)
_COLUMNS = (
    "run_id, stage, status, settings, inputs, fingerprint, artifact_path, version, started_at, finished_at, error"
)


def select_runs(connection: sa.Connection, condition: str, values: Mapping[str, Any]) -> list[RunRecord]:
    """Runs under a condition of ours with bound values, newest first."""
    rows = connection.execute(
        sa.text(f"SELECT {_COLUMNS} FROM run WHERE {condition} ORDER BY started_at DESC, run_id DESC"),  # noqa: S608
        values,
    )
    return [_record(row) for row in rows.mappings()]


def insert_running(connection: sa.Connection, record: RunRecord) -> None:
    """Insert a run with status running, or put the one with this id back to running."""
    values = {
        "run_id": record.run_id,
        "stage": record.stage,
        "settings": json.dumps(dict(record.settings), sort_keys=True, default=str),
        "inputs": json.dumps(list(record.inputs)),
        "fingerprint": record.fingerprint,
        "artifact_path": record.artifact_path,
        "version": record.version,
        "started_at": _next_moment(connection, _utc(record.started_at) or utc_now()),
    }
    updated = connection.execute(
        sa.text(
            "UPDATE run SET status = 'running', stage = :stage, settings = :settings, inputs = :inputs, fingerprint = :fingerprint,"
            " artifact_path = :artifact_path, version = :version, finished_at = NULL, error = NULL WHERE run_id = :run_id RETURNING run_id"
        ),
        {name: value for name, value in values.items() if name != "started_at"},
    ).all()
    if not updated:
        connection.execute(
            sa.text(
                "INSERT INTO run (run_id, stage, status, settings, inputs, fingerprint, started_at, artifact_path, version)"
                " VALUES (:run_id, :stage, 'running', :settings, :inputs, :fingerprint, :started_at, :artifact_path, :version)"
            ),
            values,
        )


def set_status(connection: sa.Connection, run_id: str, status: str, error: str | None = None) -> None:
    """Mark a run finished or failed, now; InputError when there is no such run."""
    updated = connection.execute(
        sa.text(
            "UPDATE run SET status = :status, finished_at = :now, error = :error WHERE run_id = :run_id RETURNING run_id"
        ),
        {"status": status, "now": _next_moment(connection, utc_now()), "error": error, "run_id": run_id},
    ).all()
    if not updated:
        raise InputError(f"no run {run_id} in the warehouse; `semconv runs` lists them")


def replace_rows(connection: sa.Connection, run_id: str, table: str, rows: pa.Table) -> None:
    """Put ``rows`` in the place of what a run has in ``table``.

    Raises:
        InputError: a row of another run, vectors of more than one width, a vector with NaN or infinity.
    """
    checked = run_rows(run_id, table, rows)
    connection.execute(sa.text(f"DELETE FROM {quote_identifier(table)} WHERE run_id = :run_id"), {"run_id": run_id})  # noqa: S608
    insert_arrow(connection, table, checked)


def run_rows(run_id: str, table: str, rows: pa.Table) -> pa.Table:
    """``rows`` with the column ``run_id``, checked to be one run's rows of ``table``."""
    if table not in RUN_TABLES:
        raise AssertionError(f"{table} holds no rows of runs")
    if "run_id" not in rows.column_names:
        rows = rows.append_column("run_id", pa.repeat(pa.scalar(run_id), rows.num_rows))
    elif rows.num_rows and pc.unique(rows["run_id"]).to_pylist() != [run_id]:
        raise InputError(f"rows of {table} for run {run_id} name another run")
    for column in RUN_TABLES[table]:
        _check_vectors(table, column, rows[column])
    return rows


def metric_rows(connection: sa.Connection, run_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of ``metric`` of these runs, in the order given; ``protocol`` as a dict."""
    rows: list[dict[str, Any]] = read_arrow(
        connection,
        "SELECT m.* FROM metric m JOIN (SELECT unnest($ids) AS run_id, generate_subscripts($ids, 1) AS place) USING (run_id)"
        " ORDER BY place, split, method, segment, seen, name, k",
        {"ids": list(run_ids)},
    ).to_pylist()
    return [{**row, "protocol": json.loads(row["protocol"])} for row in rows]


def utc_now() -> datetime:
    """The moment in UTC without a zone, as the warehouse's TIMESTAMP columns hold it."""
    return clock.utc_now().replace(tzinfo=None)


def _next_moment(connection: sa.Connection, moment: datetime) -> datetime:
    """``moment``, or just after the last one recorded where the clock was set back: times order the runs."""
    last = connection.execute(sa.text("SELECT max(greatest(started_at, finished_at)) FROM run")).scalar_one()
    return moment if last is None else max(moment, last + _TICK)


def _utc(moment: datetime | None) -> datetime | None:
    return moment if moment is None or moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _record(row: sa.RowMapping) -> RunRecord:
    values = dict(row)
    values["settings"] = _parsed(values["settings"])
    values["inputs"] = tuple(_parsed(values["inputs"]))
    return RunRecord(**values)


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _check_vectors(table: str, column: str, vectors: pa.ChunkedArray) -> None:
    if vectors.null_count:
        raise InputError(f"{table}.{column}: {vectors.null_count} rows have no vector")
    widths = pc.unique(pc.list_value_length(vectors)).to_pylist()
    if len(widths) > 1:
        raise InputError(
            f"{table}.{column}: vectors of different widths ({', '.join(map(str, sorted(widths)))}) in one run"
        )
    numbers = pc.list_flatten(vectors)
    if numbers.null_count or (pa.types.is_floating(numbers.type) and not np.isfinite(numbers.to_numpy()).all()):
        raise InputError(f"{table}.{column}: a vector holds NaN, infinity or nothing")
