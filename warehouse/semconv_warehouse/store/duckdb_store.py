"""The project's ``warehouse.duckdb`` as a ``semconv.data.store.Store``. Each call opens and closes the file.

An open takes about 15 ms, whatever is read. A nightly run asks for runs, publications and hashes of tables dozens of
times, so these are kept until the file changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from numpy.typing import NDArray

from semconv.data.store import BaselineRequest, Catalog, ItemFacets, RunRecord, TopK
from semconv.data.store import Sequences as InteractionSequences
from semconv.errors import InputError, SemconvError
from semconv_warehouse.store import baselines, reading, run_table, user_files
from semconv_warehouse.store.database import open_database, registered
from semconv_warehouse.store.layout import ProjectLayout

_Result = TypeVar("_Result")


class DuckDBStore:
    """The storage of one project.

    Every method may raise the errors of :func:`open_database`.

    Args:
        wait: seconds that a call retries while another process holds the warehouse.

    Attributes:
        refusal: the error that every call raises if the warehouse cannot be used; None if it can.
    """

    def __init__(self, layout: ProjectLayout, wait: float = 0.0) -> None:
        self.layout = layout
        self.wait = wait
        self.refusal: SemconvError | None = None
        self._held: sa.Connection | None = None  # the connection of an open snapshot
        self._kept_state: list[tuple[int, ...]] = []  # of the file when the results below were read
        self._kept: dict[str, Any] = {}

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all reads in the block see the same data: they share one connection, which locks out writers."""
        outer = self._held
        with self.read() as connection:
            self._held = connection
            try:
                yield
            finally:
                self._held = outer

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open the warehouse read-only for the length of the block."""
        if self._held is not None:
            yield self._held
            return
        self._require_usable()
        with open_database(self.layout.warehouse, read_only=True, wait=self.wait) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open the warehouse in one transaction, which is committed unless the block raises an error."""
        self._require_usable()
        if not self.layout.warehouse.exists():
            raise InputError(f"{self.layout.warehouse}: no such database; create a project with `semconv init`")
        self._kept = {}
        with open_database(self.layout.warehouse, read_only=False, wait=self.wait) as connection, connection.begin():
            yield connection

    def read_once(self, name: str, read: Callable[[sa.Connection], _Result]) -> _Result:
        """Return what ``read`` returns; if the file has not changed since the last call, without opening it."""
        self._require_usable()
        if name not in self._kept or self._kept_state != _file_state(self.layout.warehouse):
            with self.read() as connection:
                state = _file_state(self.layout.warehouse)  # no other process writes while this one reads
                if state != self._kept_state:
                    self._kept_state, self._kept = state, {}
                self._kept[name] = read(connection)
        result: _Result = self._kept[name]
        return result

    def _require_usable(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    def catalog(self) -> Catalog:
        """Return all items in item_index order."""
        with self.read() as connection:
            return reading.read_catalog(connection)

    def item_facets(self) -> ItemFacets:
        """Return brand and categories of all items in item_index order."""
        with self.read() as connection:
            return reading.read_facets(connection)

    def sequences(self, *, queries: bool = False) -> InteractionSequences:
        """Return all users in user_index order with their interactions in position order."""
        with self.read() as connection:
            return reading.read_sequences(connection, queries=queries)

    def has_queries(self) -> bool:
        """Return whether any interaction has a query."""
        with self.read() as connection:
            return reading.has_queries(connection)

    def known_ids(self) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
        """Return the ids of all items, and the ids of all users."""
        with self.read() as connection:
            items = reading.read_arrow(connection, "SELECT item_id FROM item")
            return items["item_id"], reading.read_arrow(connection, "SELECT user_id FROM user_account")["user_id"]

    def allowed_items(self, where: str) -> NDArray[np.bool_]:
        """Return whether each item meets a SQL condition on the table ``item``, ``(I,)``; SettingsError if invalid."""
        with self.read() as connection:
            return reading.allowed_items(connection, where)

    def content_hash(self, table: str) -> str:
        """Return a hash of the content of ``item`` or ``interaction``, independent of storage order."""

        def read(connection: sa.Connection) -> str:
            self._kept.setdefault("runs", run_table.select_runs(connection))  # the next thing that a stage asks for
            return reading.content_hash(connection, table)

        return self.read_once(f"hash of {table}", read)

    def runs(self, *, stage: str | None = None, status: str | None = None) -> list[RunRecord]:
        """Return the runs of a stage and status, newest first; None stands for any stage or status."""
        every = self.read_once("runs", run_table.select_runs)
        return [run for run in every if stage in (None, run.stage) and status in (None, run.status)]

    def start_run(self, record: RunRecord) -> None:
        """Insert a run with status running; if the run_id exists, set its status back to running."""
        with self.write() as connection:
            run_table.insert_running(connection, record)

    def finish_run(self, run_id: str, tables: Mapping[str, pa.Table]) -> None:
        """Replace this run's rows of ``tables`` and mark the run as finished, in one transaction.

        Raises:
            InputError: the run does not exist, a row is of another run, or vectors differ in length or are not finite.
        """
        with self.write() as connection:
            for table, rows in tables.items():
                run_table.replace_rows(connection, run_id, table, rows)
            run_table.set_status(connection, run_id, "finished")

    def fail_run(self, run_id: str, error: str) -> None:
        """Mark a run as failed; ``error`` gives the reason in one line."""
        with self.write() as connection:
            run_table.set_status(connection, run_id, "failed", error.partition("\n")[0])

    def mark_core(self, items: NDArray[np.bool_], users: NDArray[np.bool_]) -> None:
        """Record in the column ``in_core`` which items ``(I,)`` and users ``(U,)`` are in the k-core."""
        with self.write() as connection:
            for table, index, mask in (("item", "item_index", items), ("user_account", "user_index", users)):
                rows = pa.table(
                    {"row_index": np.arange(len(mask), dtype=np.int32), "in_core": np.asarray(mask, dtype=bool)}
                )
                with registered(connection, rows) as name:
                    connection.exec_driver_sql(
                        f"UPDATE {table} SET in_core = mask.in_core FROM {name} AS mask"  # noqa: S608
                        f" WHERE {table}.{index} = mask.row_index AND {table}.in_core IS DISTINCT FROM mask.in_core"
                    )

    def baseline_top_k(self, request: BaselineRequest) -> TopK:
        """Compute lists with a file of ``sql/baselines``; SettingsError for an unknown method or parameter."""
        with self.read() as connection:
            return baselines.baseline_top_k(connection, request)

    def metric_rows(self, run_id: str) -> list[dict[str, Any]]:
        """Return the rows of ``metric`` of one run, with ``protocol`` as a dictionary."""
        with self.read() as connection:
            return run_table.metric_rows(connection, run_id)

    def user_ids_file(self, path: Path) -> NDArray[np.int32]:
        """Return the sorted ``user_index`` of the users in a CSV, Parquet or text file; InputError for unknown ids."""
        ids = user_files.read_user_ids(path)
        with self.read() as connection:
            return user_files.user_indices(connection, ids, path)


def _file_state(database: Path) -> list[tuple[int, ...]]:
    """Return what changes with every commit: numbers of the database file and of its write-ahead log."""
    states: list[tuple[int, ...]] = []
    for path in (database, database.with_name(f"{database.name}.wal")):
        try:
            found = path.stat()
        except OSError:
            states.append(())
        else:
            states.append((found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    return states
