"""Putting a generation in place of the one before it, and the record of which was in place when.

The rename over ``serving.duckdb`` is the commit point: before it the old generation is served and
nothing is lost but time, after it the new one is served and :func:`reconcile` can write the record
from what lies on the disk. A lock in ``data/generations`` lets one process at a time do any of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from semconv.artifacts import is_locked
from semconv.clock import utc_now as utc_now
from semconv.errors import InputError, LockedError, SemconvError
from semconv_warehouse.publish.generation import Build, build_generation, read_info, require_whole, seal
from semconv_warehouse.publish.generation_files import (
    generation_files,
    generation_path,
    is_whole,
    previous_generation,
    remove_leftovers,
    replace_serving,
    sync_folder,
    temporary_path,
)
from semconv_warehouse.publish.generation_files import served_generation as served_generation
from semconv_warehouse.publish.plan import plan_generation
from semconv_warehouse.store.database import DEFAULT_MEMORY_MB
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.locks import generations_lock

Clock = Callable[[], datetime]
# Feast's online stores compare whole seconds, so two publications are at least one apart.
_TICK = timedelta(seconds=1)
_RECORD_WAIT_SECONDS = 10.0  # for the row after the commit point, whatever the user asked


@dataclass(frozen=True)
class Publication:
    """One act of putting a generation in place."""

    publication: int
    generation: int
    published_at: datetime  # UTC, whole seconds, later than that of the publication before
    is_new: bool = True  # False: the same inputs were in place already and nothing was done


@dataclass(frozen=True)
class _Record:
    """The tables ``generation`` and ``publication``."""

    generations: dict[int, dict[str, object]]  # with their run ids
    publications: list[Publication]  # oldest first

    @property
    def last(self) -> Publication | None:
        return self.publications[-1] if self.publications else None

    def generation_of(self, fingerprint: str) -> int | None:
        """The latest generation made of these inputs."""
        return max((n for n, ids in self.generations.items() if ids.get("fingerprint") == fingerprint), default=None)


def publish(
    layout: ProjectLayout,
    store: DuckDBStore,
    recommend_run_id: str,
    *,
    evaluate_run_ids: Sequence[str] = (),
    memory_mb: int = DEFAULT_MEMORY_MB,
    clock: Clock = utc_now,
) -> Publication:
    """Make a generation of a recommend run and its lineage, check it, and put it in place.

    The same inputs make no second generation: they are left in place, or put in place again after a rollback. If the
    file of that generation is damaged, a new one takes its place, and the damaged file goes.

    Args:
        memory_mb: what DuckDB may take; the rest goes to files beside the generation.

    Raises:
        InputError: a run or its parts are missing.
        SettingsError: lists made for an evaluation or with an ad-hoc condition.
        CheckFailedError: offending rows; the file is removed and what was served stays.
        LockedError: another publish is at work, or the warehouse is being written to.
    """
    plan = plan_generation(store, recommend_run_id, evaluate_run_ids)
    with generations_lock(layout, store.wait):
        record, _ = _reconcile(layout, store, clock)
        same, last, served = record.generation_of(plan.fingerprint), record.last, served_generation(layout)
        if same and is_whole(layout.serving if same == served else layout.generation_file(same)):
            if last is not None and same == served:
                return Publication(last.publication, last.generation, last.published_at, is_new=False)
            return _put_in_place(layout, store, same, _next_time(last, clock))
        generation, published_at = max(record.generations, default=0) + 1, _next_time(last, clock)
        served_file = generation_path(layout, served) if served else None
        target = layout.generation_file(generation)
        with temporary_path(target) as temporary:
            build_generation(layout, store, Build(plan, generation, published_at, served_file, memory_mb), temporary)
            seal(temporary)
            temporary.replace(target)
        sync_folder(layout.generations)
        publication = _put_in_place(layout, store, generation, published_at)
        if same:
            layout.generation_file(same).unlink(missing_ok=True)
        return publication


def rollback(layout: ProjectLayout, store: DuckDBStore, *, clock: Clock = utc_now) -> Publication:
    """Put the generation before the served one in place again, as a new publication; no file is edited.

    Raises:
        InputError: nothing is served, no earlier generation is left, or its file is damaged.
    """
    with generations_lock(layout, store.wait):
        record, _ = _reconcile(layout, store, clock)
        served = served_generation(layout)
        if served is None:
            raise InputError("nothing is published yet; `semconv publish` puts the first generation in place")
        earlier = previous_generation(layout, served)
        if earlier is None:
            raise InputError(f"no generation before {served} is left to go back to; `semconv generations` lists them")
        require_whole(layout.generation_file(earlier))
        return _put_in_place(layout, store, earlier, _next_time(record.last, clock))


def reconcile(layout: ProjectLayout, store: DuckDBStore, *, clock: Clock = utc_now) -> Publication | None:
    """Make the record follow what is served, after a publish that was killed between the rename and its row.

    Reads alone unless something is amiss. A publish at work is left to finish its own record.

    Returns:
        The publication that was recorded late, None when the record was right.
    """
    if not layout.warehouse.exists() or not (layout.serving.exists() or generation_files(layout)):
        return None
    try:
        if _is_recorded(layout, _read_record(store)):
            return None
    except LockedError:
        if is_locked(layout.generations):
            return None
        raise
    with ExitStack() as stack:
        try:
            stack.enter_context(generations_lock(layout, 0.0))
        except LockedError:
            return None
        return _reconcile(layout, store, clock)[1]


def publications(store: DuckDBStore) -> list[Publication]:
    """Every publication, oldest first."""
    return _read_record(store).publications


def _put_in_place(layout: ProjectLayout, store: DuckDBStore, generation: int, published_at: datetime) -> Publication:
    replace_serving(layout, generation)
    store = DuckDBStore(layout, max(store.wait, _RECORD_WAIT_SECONDS))
    try:
        return _write_record(layout, store, generation, published_at)
    except SemconvError as error:
        message = f"generation {generation} is in place, but not yet recorded; the next command records it ({error})"
        raise (LockedError(message, error.pid) if isinstance(error, LockedError) else type(error)(message)) from error


def _write_record(layout: ProjectLayout, store: DuckDBStore, generation: int, published_at: datetime) -> Publication:
    """The rows of a publication, in one short transaction."""
    info = read_info(generation_path(layout, generation))
    with store.write() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO generation VALUES (:generation, :run_ids, 'published', :created_at)"
                " ON CONFLICT (generation) DO UPDATE SET status = 'published'"
            ),
            {"generation": generation, "run_ids": json.dumps(info.run_ids), "created_at": info.published_at},
        )
        number = connection.execute(
            sa.text(
                "INSERT INTO publication SELECT coalesce(max(publication), 0) + 1, :generation, :published_at FROM publication"
                " RETURNING publication"
            ),
            {"generation": generation, "published_at": published_at.replace(tzinfo=None)},
        ).scalar_one()
    return Publication(int(number), generation, published_at)


def _reconcile(layout: ProjectLayout, store: DuckDBStore, clock: Clock) -> tuple[_Record, Publication | None]:
    """Inside the lock: clean up after a killed publish, bring a lost link back, write a lost row.

    Returns:
        The record as it is now, and the publication that was written, if one was.
    """
    record = _read_record(store)
    remove_leftovers(layout, known=set(record.generations))
    last, served = record.last, served_generation(layout)
    if served is None and last is not None and layout.generation_file(last.generation).exists():
        replace_serving(layout, last.generation)
    if served is None or _is_recorded(layout, record):
        return record, None
    first_published = read_info(generation_path(layout, served)).published_at.replace(tzinfo=UTC)
    is_first = last is None or first_published > last.published_at
    late = _write_record(layout, store, served, first_published if is_first else _next_time(last, clock))
    return _read_record(store), late


def _is_recorded(layout: ProjectLayout, record: _Record) -> bool:
    return (record.last.generation if record.last else None) == served_generation(layout)


def _read_record(store: DuckDBStore) -> _Record:
    with store.read() as connection:
        generations = connection.execute(sa.text("SELECT generation, CAST(run_ids AS VARCHAR) FROM generation")).all()
        rows = connection.execute(
            sa.text("SELECT publication, generation, published_at FROM publication ORDER BY publication")
        ).all()
    return _Record(
        {int(row[0]): json.loads(row[1]) for row in generations},
        [Publication(int(row[0]), int(row[1]), row[2].replace(tzinfo=UTC)) for row in rows],
    )


def _next_time(last: Publication | None, clock: Clock) -> datetime:
    """Now in whole seconds, later than the last publication even when the clock was set back."""
    now = clock().astimezone(UTC).replace(microsecond=0)
    return now if last is None else max(now, last.published_at + _TICK)
