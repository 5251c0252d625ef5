"""``semconv.data.store.Store`` over the project's ``warehouse.duckdb``. Each call opens, reads or writes, and closes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


class DuckDBStore:
    """Storage of one project.

    Args:
        wait: seconds that a call goes on trying while another process holds the warehouse.
    Every method raises LockedError, InputError or MachineError of :func:`open_database`.
    """

    def __init__(self, layout: ProjectLayout, wait: float = 0.0) -> None:
        self.layout = layout
        self.wait = wait
        self.refusal: SemconvError | None = None  # why the warehouse cannot be used at all, raised by every use
        self._held: sa.Connection | None = None  # by a snapshot

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Reads inside the block share one connection, which shuts writers out for as long as it lasts."""
        outer = self._held
        with self.read() as connection:
            self._held = connection
            try:
                yield
            finally:
                self._held = outer

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """The warehouse, read-only, for as long as the block lasts."""
        if self._held is not None:
            yield self._held
            return
        self._require_usable()
        with open_database(self.layout.warehouse, read_only=True, wait=self.wait) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """The warehouse inside one transaction, committed when the block ends well."""
        self._require_usable()
        if not self.layout.warehouse.exists():
            raise InputError(f"{self.layout.warehouse}: no such database; `semconv init` makes a project")
        with open_database(self.layout.warehouse, read_only=False, wait=self.wait) as connection, connection.begin():
            yield connection

    def _require_usable(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    def catalog(self) -> Catalog:
        """All items in item_index order."""
        with self.read() as connection:
            return reading.read_catalog(connection)

    def item_facets(self) -> ItemFacets:
        """Brand and categories of all items in item_index order."""
        with self.read() as connection:
            return reading.read_facets(connection)

    def sequences(self, *, queries: bool = False) -> InteractionSequences:
        """All users in user_index order with their interactions in position order."""
        with self.read() as connection:
            return reading.read_sequences(connection, queries=queries)

    def known_ids(self) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
        """The ids of all items, and of all users."""
        with self.read() as connection:
            items = reading.read_arrow(connection, "SELECT item_id FROM item")
            return items["item_id"], reading.read_arrow(connection, "SELECT user_id FROM user_account")["user_id"]

    def allowed_items(self, where: str) -> NDArray[np.bool_]:
        """``(I,)`` items for which a SQL condition on ``item`` is true; SettingsError if it is no condition."""
        with self.read() as connection:
            return reading.allowed_items(connection, where)

    def content_hash(self, table: str) -> str:
        """A hash of the content of ``item`` or ``interaction``, independent of storage order."""
        with self.read() as connection:
            return reading.content_hash(connection, table)

    def runs(self, *, stage: str | None = None, status: str | None = None) -> list[RunRecord]:
        """Runs, newest first."""
        with self.read() as connection:
            return run_table.select_runs(
                connection,
                "(:stage IS NULL OR stage = :stage) AND (:status IS NULL OR status = :status)",
                {"stage": stage, "status": status},
            )

    def load_run(self, run_id: str) -> RunRecord:
        """One run; InputError when there is none of this id."""
        with self.read() as connection:
            found = run_table.select_runs(connection, "run_id = :run_id", {"run_id": run_id})
        if not found:
            raise InputError(f"no run {run_id} in the warehouse; `semconv runs` lists them")
        return found[0]

    def start_run(self, record: RunRecord) -> None:
        """Insert a row with status running, or put a dead one with this run_id back to running."""
        with self.write() as connection:
            run_table.insert_running(connection, record)

    def finish_run(self, run_id: str, tables: Mapping[str, pa.Table]) -> None:
        """In one transaction: replace this run's rows of ``tables`` and mark the run finished.

        Raises:
            InputError: no such run; rows of another run; vectors of more than one width or not finite.
        """
        with self.write() as connection:
            for table, rows in tables.items():
                run_table.replace_rows(connection, run_id, table, rows)
            run_table.set_status(connection, run_id, "finished")

    def fail_run(self, run_id: str, error: str) -> None:
        """Mark a run failed with one line of why."""
        with self.write() as connection:
            run_table.set_status(connection, run_id, "failed", error.partition("\n")[0])

    def mark_core(self, items: NDArray[np.bool_], users: NDArray[np.bool_]) -> None:
        """Record ``in_core`` of items ``(I,)`` and users ``(U,)`` as last computed."""
        with self.write() as connection:
            for table, index, mask in (("item", "item_index", items), ("user_account", "user_index", users)):
                rows = pa.table(
                    {"place": np.arange(len(mask), dtype=np.int32), "in_core": np.asarray(mask, dtype=bool)}
                )
                with registered(connection, rows) as name:
                    connection.exec_driver_sql(
                        f"UPDATE {table} SET in_core = mask.in_core FROM {name} AS mask"  # noqa: S608
                        f" WHERE {table}.{index} = mask.place AND {table}.in_core IS DISTINCT FROM mask.in_core"
                    )

    def baseline_top_k(self, request: BaselineRequest) -> TopK:
        """Run one file of ``sql/baselines``; SettingsError for an unknown name or parameter."""
        with self.read() as connection:
            return baselines.baseline_top_k(connection, request)

    def metric_rows(self, run_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Rows of ``metric`` of these runs."""
        with self.read() as connection:
            return run_table.metric_rows(connection, run_ids)

    def user_ids_file(self, path: Path) -> NDArray[np.int32]:
        """``user_index`` of the users that a csv, parquet or text file names, sorted; InputError counts unknown ids."""
        ids = user_files.read_user_ids(path)
        with self.read() as connection:
            return user_files.user_indices(connection, ids, path)
