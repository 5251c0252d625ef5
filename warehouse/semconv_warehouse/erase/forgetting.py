"""Erasing users from all data under ``data/``: warehouse, run folders, generations, feature files, online store.

Tables and files count users by ``user_index``. An erased user keeps this index and gets a new ``user_id`` that
says nothing about the user. The ids to erase are kept in ``data/forgetting.json`` until everything is erased. After a
kill, the same command reads the ids from this file and finishes, even if the warehouse no longer contains them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from semconv import columns
from semconv.artifacts import machine_errors, read_json, sync_folder, write_json
from semconv.errors import InputError
from semconv.locks import LOCK, is_locked, run_lock
from semconv.runs.digests import settle_checksums
from semconv.runs.files import PACK_USERS, run_files, user_data_of
from semconv.runs.user_data import ParquetRows, UserArrays, UserData
from semconv.runs.workspace import Workspace, is_without_model
from semconv_warehouse.erase.databases import compact, erase_from_generation
from semconv_warehouse.erase.files import erase_from_file
from semconv_warehouse.publish.generation_files import (
    generation_files,
    replace_serving,
    served_generation,
)
from semconv_warehouse.store.database import open_database, raw
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.leftovers import remove_all_leftovers
from semconv_warehouse.store.locks import features_lock, generations_lock

_TABLES = ("interaction", "user_embedding", "user_profile")
_SHOWN = 3  # number of unknown ids in a message


@dataclass
class _Erasure:
    """The users to erase, and how many of their rows were found so far."""

    indices: dict[str, list[int]]  # user_index of each user_id; two for an erased user who was ingested again
    dry_run: bool
    rows: dict[str, int] = field(default_factory=dict)  # by kind of data: number of rows, array values, files or keys
    remarks: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)  # messages about damaged files
    packs: list[str] = field(default_factory=list)  # ids of the runs that record packs with these users

    @property
    def users(self) -> list[str]:
        return sorted(self.indices)

    def count(self, where: str, number: int) -> None:
        self.rows[where] = self.rows.get(where, 0) + number

    @contextmanager
    def noting_damage(self) -> Iterator[None]:
        """Note the message of an InputError in the block, so that everything else is still erased."""
        try:
            yield
        except InputError as error:
            self.unreadable.append(str(error))


def forget(workspace: Workspace, store: DuckDBStore, users: Sequence[str], *, dry_run: bool = False) -> dict[str, Any]:
    """Erase users from all data under ``data/``, except from trained models, which a remark names.

    A kill leaves no file half written; afterwards the same command finishes the work. A process that has a published
    file open reads the old rows until it closes the file.

    Args:
        users: ``user_id`` of the users; unknown ids are reported.
        dry_run: only count the rows to erase.

    Returns:
        ``dry_run``, ``users`` (number of erased users), ``unknown`` (ids), ``rows`` (numbers by kind of data), and
        ``remarks`` (a sentence for each kind of data that is not erased).

    Raises:
        InputError: none of the ids is known, or a damaged file cannot be read; the users are erased from everything else.
        LockedError: a job is computing, publishing or materializing. The same command finishes the work later.
    """
    layout = store.layout
    with ExitStack() as locks:
        locks.enter_context(generations_lock(layout, store.wait))
        locks.enter_context(features_lock(layout, store.wait))
        pending = _read_pending(layout)
        work = _Erasure(_known_indices(store, {*users, *pending}, pending), dry_run)
        unknown = sorted(set(users) - set(work.indices))
        if not set(users) & set(work.indices):
            if not dry_run:  # a killed ingest may have left rows of a user who was never stored
                remove_all_leftovers(layout, (layout.generations, layout.features), store.wait)
            shown = ", ".join(unknown[:_SHOWN]) + (", ..." if len(unknown) > _SHOWN else "")
            raise InputError(f"nobody to forget: {len(unknown)} unknown ids ({shown}); use ids of table user_account")
        _require_idle(store)
        if not dry_run:
            write_json(layout.forgetting, work.indices)
        _erase_from_warehouses(store, work)
        _require_idle(store)  # a job that started meanwhile may have read the rows before they were deleted
        if not dry_run:
            remove_all_leftovers(layout, (layout.generations, layout.features), store.wait)
            for folder in _run_folders(layout):
                settle_checksums(folder)
        _erase_from_files(layout, work)
        _erase_from_generations(layout, work)
        _erase_from_online_store(layout, work)
        if not dry_run:
            _compact_warehouses(store)
            _require_readable(work)
            _sync_folders(layout)
            layout.forgetting.unlink()
            sync_folder(layout.data)
    return {
        "dry_run": dry_run,
        "users": len(work.users),
        "unknown": unknown,
        "rows": work.rows,
        "remarks": [*work.remarks, *work.unreadable, *_remarks_on_packs(work), *_remaining_traces(workspace)],
    }


def is_unfinished(layout: ProjectLayout) -> bool:
    """Tell whether a ``semconv forget`` was killed before it had finished."""
    return layout.forgetting.exists()


def _known_indices(store: DuckDBStore, users: set[str], pending: dict[str, list[int]]) -> dict[str, list[int]]:
    """Return the ``user_index`` of users in the warehouse, and of those that a killed forget had found in it."""
    statement = sa.text("SELECT user_id, user_index FROM user_account WHERE user_id IN :users")
    with store.read() as connection:
        found = connection.execute(statement.bindparams(sa.bindparam("users", sorted(users), expanding=True))).all()
    indices = {user: list(numbers) for user, numbers in pending.items()}
    for user, index in found:
        indices[user] = sorted({*indices.get(user, []), int(index)})
    return indices


def _require_idle(store: DuckDBStore) -> None:
    """Wait until no run is being computed, because a job that has read the users' rows would write them to files."""
    layout = store.layout
    for lock in layout.data.rglob(LOCK):
        if lock.parent not in (layout.generations, layout.features) and is_locked(lock.parent):
            with run_lock(lock.parent, wait=store.wait):
                pass


def _warehouses(layout: ProjectLayout) -> list[Path]:
    """Return the files of the project's warehouse and of its experiments' warehouses, which contain copies of rows."""
    return sorted(layout.data.rglob(layout.warehouse.name))


def _erase_from_warehouses(store: DuckDBStore, work: _Erasure) -> None:
    for path in _warehouses(store.layout):
        with open_database(path, read_only=work.dry_run, wait=store.wait) as connection, connection.begin():
            for table in _TABLES:
                where = f"FROM {table} WHERE user_id IN :users"
                work.count(table, _execute(connection, f"SELECT count(*) {where}", work))
                if not work.dry_run:
                    _execute(connection, f"DELETE {where}", work)
            work.count("user_account", _execute(connection, _ACCOUNTS, work))
            if not work.dry_run:
                _execute(connection, _RENAME, work)
                connection.execute(sa.text(_CLEAR_ERRORS))
                _erase_literals(connection, work.users)


_ACCOUNTS = "SELECT count(*) FROM user_account WHERE user_id IN :users"
# The index makes the new id unique. The suffix is added if another user really has this id.
_RENAME = """
UPDATE user_account SET in_core = false, user_id = 'forgotten-' || user_index || CASE
    WHEN EXISTS (SELECT 1 FROM user_account AS other WHERE other.user_id = 'forgotten-' || user_account.user_index) THEN '-' || uuid()
    ELSE '' END
WHERE user_id IN :users
"""
# Earlier versions stored the whole message of an error, which may quote user ids.
_CLEAR_ERRORS = "UPDATE run SET error = 'removed by `semconv forget`' WHERE error IS NOT NULL"


# Records that hold an SQL condition of `recommend --where` as a user wrote it: (table, JSON column).
_CONDITIONS = (("run", "settings"), ("metric", "protocol"))


def _erase_literals(connection: sa.Connection, users: Sequence[str]) -> None:
    """Replace the ids of users by an empty text where an SQL condition in a record quotes them."""
    for user in users:
        literal = "'" + user.replace("'", "''") + "'"
        for written in {json.dumps(literal)[1:-1], json.dumps(literal, ensure_ascii=False)[1:-1]}:
            for table, column in _CONDITIONS:
                statement = (
                    f"UPDATE {table} SET {column} = replace({column}::VARCHAR, :written, '''''')::JSON"  # noqa: S608
                    f" WHERE contains({column}::VARCHAR, :written)"
                )
                connection.execute(sa.text(statement), {"written": written})


def _execute(connection: sa.Connection, statement: str, work: _Erasure) -> int:
    bound = sa.text(statement).bindparams(sa.bindparam("users", work.users, expanding=True))
    return int(connection.execute(bound).scalar_one())


def _erase_from_files(layout: ProjectLayout, work: _Erasure) -> None:
    """Erase users from feature files and from the files of all runs, finished or not."""
    indices = np.array(sorted({index for numbers in work.indices.values() for index in numbers}), dtype=np.int64)
    for path, user_data in _files_with_users(layout):
        with work.noting_damage():
            count = erase_from_file(path, user_data, work.users, indices, dry_run=work.dry_run)
            work.count(_label(layout, path, user_data), count)
            if count and path.name == PACK_USERS:
                work.packs.append(path.parent.name)


def _require_readable(work: _Erasure) -> None:
    """Raise InputError if a damaged file may still contain the users. Everything else is erased by then."""
    if work.unreadable:
        more = f" (and {len(work.unreadable) - 1} more damaged files)" if len(work.unreadable) > 1 else ""
        raise InputError(f"the users are erased from everything but this file: {work.unreadable[0]}{more}")


def _files_with_users(layout: ProjectLayout) -> Iterator[tuple[Path, UserData]]:
    """Yield each file that may contain data of users, except databases, and how a user is erased from it."""
    runs = _run_folders(layout)
    for path in sorted(layout.data.rglob("*.parquet")):
        if not runs.intersection(path.parents):
            yield path, ParquetRows()
    for folder in sorted(runs):
        for name, path in run_files(folder).items():
            user_data = user_data_of(name)
            if user_data is not None:
                yield path, user_data


def _run_folders(layout: ProjectLayout) -> set[Path]:
    """Return the folders of the project's runs and of its experiments' runs."""
    folders = (folder for path in _warehouses(layout) for folder in (path.parent / layout.runs.name).glob("*"))
    return {folder for folder in folders if folder.is_dir()}


def _label(layout: ProjectLayout, path: Path, user_data: UserData) -> str:
    if isinstance(user_data, ParquetRows):
        return "features" if path.is_relative_to(layout.features) else "runs"
    return "arrays" if isinstance(user_data, UserArrays) else "training states"


def _erase_from_generations(layout: ProjectLayout, work: _Erasure) -> None:
    served = served_generation(layout)
    for path in generation_files(layout).values():
        with work.noting_damage():
            work.count("generations", erase_from_generation(path, work.users, dry_run=work.dry_run))
    if work.dry_run or served is None:
        return
    sync_folder(layout.generations)
    own = layout.generation_file(served)
    if not own.exists():  # serving.duckdb is the only file of the served generation
        with work.noting_damage():
            erase_from_generation(layout.serving, work.users, dry_run=False)
    elif not own.samefile(layout.serving):
        replace_serving(layout, served)


def _erase_from_online_store(layout: ProjectLayout, work: _Erasure) -> None:
    from semconv_warehouse.features.erase import erase_online

    number, remark = erase_online(layout, work.users, dry_run=work.dry_run)
    work.count("online store", number)
    if remark is not None:
        work.remarks.append(remark)


def _compact_warehouses(store: DuckDBStore) -> None:
    """Replace each warehouse file by a copy without the bytes of deleted rows."""
    for path in _warehouses(store.layout):
        with open_database(path, read_only=False, wait=store.wait) as connection:
            compact(path, raw(connection))


def _sync_folders(layout: ProjectLayout) -> None:
    """Sync every folder of the data, so that no deleted file is back after a power cut, also none that a prune deleted."""
    for folder, _, _ in os.walk(layout.data):
        sync_folder(Path(folder))


def _remarks_on_packs(work: _Erasure) -> Iterator[str]:
    """Yield a sentence that names the packs for a training elsewhere that hold these users."""
    if work.packs:
        yield (
            f"packs for a training elsewhere ({', '.join(work.packs)}) hold these users' interactions, outside data/:"
            " delete these folders and all their copies; `semconv finetune load` refuses their results, and"
            " `semconv finetune pack DIR` makes a new pack"
        )


def _remaining_traces(workspace: Workspace) -> Iterator[str]:
    """Yield sentences that name the models and files that may still contain data of the erased users."""
    finished = workspace.store.runs(stage=columns.FINETUNE, status="finished")
    models = [run.run_id for run in finished if workspace.book.folder(run).is_dir()]
    blends = [run for run in workspace.store.runs(stage=columns.BLEND, status="finished") if is_without_model(run)]
    if not models and blends:
        yield (
            f"item vectors and the counts of blends ({', '.join(run.run_id for run in blends)}) stay: these users'"
            " interactions were used to compute them; they contain no user ids;"
            " `semconv run --refit` and then `semconv prune --keep 1` replace them"
        )
    if models:
        yield (
            f"trained models ({', '.join(models)}), item vectors and codes stay: these users' interactions were used to"
            " compute them; they contain no user ids;"
            " `semconv run --refit` and then `semconv prune --keep 1` replace them"
        )
    yield (
        "files outside data/ were not changed: input files, files of rejected rows, exported prompts, logs and backups;"
        " if you ingest a file that contains these users, they come back"
    )


def _read_pending(layout: ProjectLayout) -> dict[str, list[int]]:
    path = layout.forgetting
    if not path.exists():
        return {}
    with machine_errors(path):
        pending: dict[str, list[int]] = read_json(path)
    return pending
