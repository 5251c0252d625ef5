"""Write and read the table ``run`` and the tables whose rows belong to a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from semconv.clock import as_timestamp, utc_now
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv_warehouse.store.database import insert_arrow, quote_identifier
from semconv_warehouse.store.reading import read_arrow

# Tables whose rows belong to a run -> list columns, in which all lists of a run have the same length.
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


def select_runs(connection: sa.Connection) -> list[RunRecord]:
    """Return all runs, newest first."""
    rows = connection.execute(sa.text(f"SELECT {_COLUMNS} FROM run ORDER BY started_at DESC, run_id DESC"))  # noqa: S608
    return [_record(row) for row in rows.mappings()]


def insert_running(connection: sa.Connection, record: RunRecord) -> None:
    """Insert a run with status running; if the run_id exists, set its status back to running."""
    values = {
        "run_id": record.run_id,
        "stage": record.stage,
        "settings": json.dumps(dict(record.settings), sort_keys=True, default=str),
        "inputs": json.dumps(list(record.inputs)),
        "fingerprint": record.fingerprint,
        "artifact_path": record.artifact_path,
        "version": record.version,
        "started_at": _next_moment(connection, record.started_at or utc_now()),
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
    """Mark a run as finished or failed now; InputError if there is no such run."""
    updated = connection.execute(
        sa.text(
            "UPDATE run SET status = :status, finished_at = :now, error = :error WHERE run_id = :run_id RETURNING run_id"
        ),
        {"status": status, "now": _next_moment(connection, utc_now()), "error": error, "run_id": run_id},
    ).all()
    if not updated:
        raise InputError(f"no run {run_id} in the warehouse; list the runs with `semconv runs`")


def replace_rows(connection: sa.Connection, run_id: str, table: str, rows: pa.Table) -> None:
    """Replace a run's rows in ``table``.

    Raises:
        InputError: a row is of another run, vectors or codes differ in length, or a vector has NaN or infinity.
    """
    checked = _checked(run_id, table, rows)
    connection.execute(sa.text(f"DELETE FROM {quote_identifier(table)} WHERE run_id = :run_id"), {"run_id": run_id})  # noqa: S608
    insert_arrow(connection, table, checked)


def _checked(run_id: str, table: str, rows: pa.Table) -> pa.Table:
    """Check that ``rows`` fit ``table``, and return them with the column ``run_id``."""
    if table not in RUN_TABLES:
        raise AssertionError(f"{table} holds no rows of runs")
    if "run_id" not in rows.column_names:
        rows = rows.append_column("run_id", pa.repeat(pa.scalar(run_id), rows.num_rows))
    elif rows.num_rows and pc.unique(rows["run_id"]).to_pylist() != [run_id]:
        raise InputError(f"{table}: some rows for run {run_id} name another run; run the stage again")
    for column in RUN_TABLES[table]:
        _check_vectors(table, column, rows[column])
    return rows


def metric_rows(connection: sa.Connection, run_id: str) -> list[dict[str, Any]]:
    """Return the rows of ``metric`` of one run, with ``protocol`` as a dictionary."""
    sql = "SELECT * FROM metric WHERE run_id = $run_id ORDER BY split, method, segment, seen, name, k"
    rows: list[dict[str, Any]] = read_arrow(connection, sql, {"run_id": run_id}).to_pylist()
    return [{**row, "protocol": json.loads(row["protocol"])} for row in rows]


def _next_moment(connection: sa.Connection, moment: datetime) -> datetime:
    """Return ``moment``, or a time just after the last recorded one if the clock was set back, to keep runs in order."""
    moment = as_timestamp(moment)
    last = connection.execute(sa.text("SELECT max(greatest(started_at, finished_at)) FROM run")).scalar_one()
    return moment if last is None else max(moment, last + _TICK)


def _record(row: sa.RowMapping) -> RunRecord:
    values = dict(row)
    values["settings"] = _parsed(values["settings"])
    values["inputs"] = tuple(_parsed(values["inputs"]))
    return RunRecord(**values)


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _check_vectors(table: str, column: str, vectors: pa.ChunkedArray) -> None:
    if vectors.null_count:
        raise InputError(f"{table}.{column}: {vectors.null_count} rows have no vector; run the stage again")
    widths = pc.unique(pc.list_value_length(vectors)).to_pylist()
    if len(widths) > 1:
        raise InputError(
            f"{table}.{column}: rows of one run have lists of different lengths ({', '.join(map(str, sorted(widths)))}); run the stage again"
        )
    numbers = pc.list_flatten(vectors)
    if numbers.null_count or (pa.types.is_floating(numbers.type) and not np.isfinite(numbers.to_numpy()).all()):
        raise InputError(f"{table}.{column}: a vector holds NaN, infinity or null; run the stage again")
