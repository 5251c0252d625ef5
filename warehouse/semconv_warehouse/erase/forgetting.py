"""Forgetting people: their rows go from the warehouse, run folders, kept generations, feature files and the online store.

Their place in ``user_account`` stays under a name that says nothing, because other tables and artifacts count users
by ``user_index``. The ids lie in ``data/forgetting.json`` until everything is done, so that the same command goes on
after a kill, when the warehouse does not know them any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from semconv import columns
from semconv.artifacts import is_locked, machine_errors, read_json, run_lock, write_json
from semconv.errors import InputError
from semconv.runs.digests import renew_digest
from semconv_warehouse.erase.files import ARRAY_FILES, arrays_without, compact, generation_without, parquet_without
from semconv_warehouse.publish.generation_files import generation_files, replace_serving, served_generation, sync_folder
from semconv_warehouse.store.database import open_database, raw
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.locks import features_lock, generations_lock

if TYPE_CHECKING:
    from semconv_warehouse.project import Project

_TABLES = ("interaction", "user_embedding")
_SHOWN = 3


@dataclass
class _Forgetting:
    """Who is to be forgotten, by both of their names, and what has been found so far."""

    indices: dict[str, list[int]]  # user_id -> user_index; two where a forgotten one was ingested again
    dry_run: bool
    goes_on: bool  # after a forget that was killed
    rows: dict[str, int] = field(default_factory=dict)  # place -> rows, arrays' values or keys
    remarks: list[str] = field(default_factory=list)

    @property
    def users(self) -> list[str]:
        return sorted(self.indices)

    def count(self, place: str, number: int) -> None:
        self.rows[place] = self.rows.get(place, 0) + number


def forget(project: Project, users: Sequence[str], *, dry_run: bool = False) -> dict[str, Any]:
    """Take people out of everything under ``data/``; what a trained model keeps is said, not changed.

    A kill leaves no file half written, and the same command finishes. Readers that have a published file open keep what
    they see until they close it.

    Returns:
        ``dry_run``, ``users`` (their number), ``unknown`` (ids), ``rows`` (place -> number), ``remarks`` (what is kept
        where, one sentence each).

    Raises:
        InputError: none of the ids is known.
        LockedError: a job is computing, publishing or materializing; nothing was changed, or the same command goes on.
    """
    layout = project.layout
    with ExitStack() as locks:
        locks.enter_context(generations_lock(layout, project.store.wait))
        locks.enter_context(features_lock(layout, project.store.wait))
        pending = _read_pending(layout)
        work = _Forgetting(_known(project, {*users, *pending}, pending), dry_run, bool(pending))
        unknown = sorted(set(users) - set(work.indices))
        if not set(users) & set(work.indices):
            shown = ", ".join(unknown[:_SHOWN]) + (", ..." if len(unknown) > _SHOWN else "")
            raise InputError(f"nobody to forget: {len(unknown)} unknown ids ({shown}); ids are those of user_account")
        _require_idle(project)
        if not dry_run:
            write_json(_pending_file(layout), work.indices)
        _forget_rows(project, work)
        _require_idle(project)  # a job that began meanwhile may have read them before
        _forget_files(layout, work)
        _forget_generations(layout, work)
        _forget_features(project, work)
        if not dry_run:
            _compact(project)
            _pending_file(layout).unlink()
    work.remarks += list(_kept(project))
    return {
        "dry_run": dry_run,
        "users": len(work.users),
        "unknown": unknown,
        "rows": work.rows,
        "remarks": work.remarks,
    }


def was_cut_off(layout: ProjectLayout) -> bool:
    """Whether a forget was killed before its end."""
    return _pending_file(layout).exists()


def _known(project: Project, users: set[str], pending: dict[str, list[int]]) -> dict[str, list[int]]:
    """Index of those that the warehouse knows, or knew when a forget that was killed began."""
    statement = sa.text("SELECT user_id, user_index FROM user_account WHERE user_id IN :users")
    with project.store.read() as connection:
        found = connection.execute(statement.bindparams(sa.bindparam("users", sorted(users), expanding=True))).all()
    indices = {user: list(numbers) for user, numbers in pending.items()}
    for user, index in found:
        indices[user] = sorted({*indices.get(user, []), int(index)})
    return indices


def _require_idle(project: Project) -> None:
    """No run may be at work: it may hold in memory, and write later, what is being forgotten."""
    layout = project.layout
    for lock in layout.data.rglob("lock"):
        if lock.parent not in (layout.generations, layout.features) and is_locked(lock.parent):
            with run_lock(lock.parent, wait=project.store.wait):
                pass


def _warehouses(layout: ProjectLayout) -> list[Path]:
    """The project's own, and that of its experiments, which has a copy of the inputs."""
    return sorted(layout.data.rglob("warehouse.duckdb"))


def _forget_rows(project: Project, work: _Forgetting) -> None:
    for path in _warehouses(project.layout):
        with open_database(path, read_only=work.dry_run, wait=project.store.wait) as connection, connection.begin():
            for table in _TABLES:
                where = f"FROM {table} WHERE user_id IN :users"
                work.count(table, _execute(connection, f"SELECT count(*) {where}", work))
                if not work.dry_run:
                    _execute(connection, f"DELETE {where}", work)
            work.count("user_account", _execute(connection, _ACCOUNTS, work))
            if not work.dry_run:
                _execute(connection, _RENAME, work)


_ACCOUNTS = "SELECT count(*) FROM user_account WHERE user_id IN :users"
# The number makes the name one of its own; the suffix keeps it apart from a user who is called like that.
_RENAME = """
UPDATE user_account SET in_core = false, user_id = 'forgotten-' || user_index || CASE
    WHEN EXISTS (SELECT 1 FROM user_account AS other WHERE other.user_id = 'forgotten-' || user_account.user_index) THEN '-' || uuid()
    ELSE '' END
WHERE user_id IN :users
"""


def _execute(connection: sa.Connection, statement: str, work: _Forgetting) -> int:
    bound = sa.text(statement).bindparams(sa.bindparam("users", work.users, expanding=True))
    return int(connection.execute(bound).scalar_one())


def _forget_files(layout: ProjectLayout, work: _Forgetting) -> None:
    """Parquet and arrays of runs, finished or not; feature files, tombstones too."""
    numbers = np.array(sorted({number for numbers in work.indices.values() for number in numbers}), dtype=np.int64)
    for path in sorted(layout.data.rglob("*.parquet")):
        number = parquet_without(path, work.users, dry_run=work.dry_run)
        work.count("features" if path.is_relative_to(layout.features) else "runs", number)
        _renew(path, work)
    for path in sorted(layout.data.rglob("*.safetensors")):
        if path.name in ARRAY_FILES:
            work.count("arrays", arrays_without(path, numbers, dry_run=work.dry_run))
            _renew(path, work)


def _renew(path: Path, work: _Forgetting) -> None:
    """A kill may have come between a file and what says that it is whole."""
    if work.goes_on and not work.dry_run:
        renew_digest(path)


def _forget_generations(layout: ProjectLayout, work: _Forgetting) -> None:
    served = served_generation(layout)
    for path in generation_files(layout).values():
        work.count("generations", generation_without(path, work.users, dry_run=work.dry_run))
    if work.dry_run or served is None:
        return
    sync_folder(layout.generations)
    own = layout.generation_file(served)
    if not own.exists():  # only the name that readers open is left
        generation_without(layout.serving, work.users, dry_run=False)
    elif not own.samefile(layout.serving):
        replace_serving(layout, served)


def _forget_features(project: Project, work: _Forgetting) -> None:
    from semconv_warehouse.features.erase import erase_online

    number, remark = erase_online(project.layout, work.users, dry_run=work.dry_run)
    work.count("online store", number)
    if remark is not None:
        work.remarks.append(remark)


def _compact(project: Project) -> None:
    """Deleted rows stay in a DuckDB file until their blocks are written over, so the file is written anew."""
    for path in _warehouses(project.layout):
        with open_database(path, read_only=False, wait=project.store.wait) as connection:
            compact(path, raw(connection))
        sync_folder(path.parent)


def _kept(project: Project) -> Iterator[str]:
    """What still knows something of them, in plain words."""
    models = [
        run.run_id
        for run in project.store.runs(status="finished")
        if run.stage == columns.FINETUNE and project.book.folder(run).is_dir()
    ]
    if models:
        yield (
            f"trained models keep what they learned from these people's sequences ({', '.join(models)}), and so do item"
            " vectors and codes; no id is in them, `semconv run --refit` and then `semconv prune --keep 1` replace them"
        )
    yield (
        "outside data/ nothing was touched: input files, files of rejected rows, exported prompts, logs and backups;"
        " an ingest of a file that still has these people brings them back"
    )


def _pending_file(layout: ProjectLayout) -> Path:
    return layout.data / "forgetting.json"


def _read_pending(layout: ProjectLayout) -> dict[str, list[int]]:
    path = _pending_file(layout)
    if not path.exists():
        return {}
    with machine_errors(path):
        pending: dict[str, list[int]] = read_json(path)
    return pending
