"""Publish a generation, roll back to the one before it, and complete the record of publications after a kill.

The commit point is the rename that replaces ``serving.duckdb``. If a process dies before it, the old generation stays
served. If a process dies after it, the new generation is served without a record; :func:`reconcile` then writes the
record from the served file. A lock in ``data/generations`` lets one process at a time publish, roll back or reconcile.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from semconv.artifacts import private_path
from semconv.errors import InputError, LockedError, SemconvError
from semconv.locks import is_locked
from semconv.runs.workspace import is_loaded
from semconv_warehouse.gates.gate import Finding
from semconv_warehouse.gates.lists import PublishGates, write_forced
from semconv_warehouse.gates.snapshot import waiting_snapshots
from semconv_warehouse.publish.build import Build, build_generation, lost_lists
from semconv_warehouse.publish.generation_files import (
    generation_files,
    generation_path,
    is_undamaged,
    read_info,
    remove_killed_publish,
    replace_serving,
    require_undamaged,
    seal,
    served_generation,
)
from semconv_warehouse.publish.plan import plan_generation
from semconv_warehouse.publish.publications import Publication, Record, read_record, write_publication
from semconv_warehouse.store.database import DEFAULT_MEMORY_MB
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.locks import generations_lock

_RECORD_WAIT_SECONDS = 10.0  # how long to wait for the warehouse after the commit point, at least


def publish(
    layout: ProjectLayout,
    store: DuckDBStore,
    recommend_run_id: str,
    *,
    evaluate_run_ids: Sequence[str] = (),
    memory_mb: int = DEFAULT_MEMORY_MB,
    gates: PublishGates | None = None,
) -> Publication:
    """Build a generation from a recommend run and the runs that it depends on, check it, and serve it.

    If a generation of the same inputs exists, no second one is built. That generation stays served, or is served again
    after a rollback. If its file is damaged, a new generation replaces it.

    Args:
        memory_mb: memory limit of DuckDB, which writes the rest to temporary files beside the generation.
        gates: limits that the new lists must keep; None for no limits.

    Raises:
        InputError: a run or its part files are missing.
        GateFailedError: a gate failed and is not overridden; nothing changes.
        SettingsError: the lists are for an evaluation, or were computed with the option --where.
        CheckFailedError: rows break a rule; the new file is removed and the served generation stays.
        LockedError: another process publishes or writes to the warehouse.
    """
    plan = plan_generation(store, recommend_run_id, evaluate_run_ids)
    events = [] if gates is None else gates.events(store)
    with generations_lock(layout, store.wait):
        record, _ = _reconcile(layout, store)
        same, last, served = record.generation_of(plan.fingerprint), record.last, served_generation(layout)
        is_usable = same is not None and is_undamaged(
            layout.serving if same == served else layout.generation_file(same)
        )
        is_same = last is not None and same == last.generation  # what was served last may be built and served again
        bases = [] if is_same else _comparable(layout, served, last)
        gated = _Gated(gates, events, bases, last is not None and not is_same and is_loaded(plan.recommend))
        if is_usable and last is not None and same == served:
            gated.require(None)
            return replace(last, is_new=False)
        if gates is not None:
            gates.require_current(None if last is None else last.publication)
        if plan.carries_over and last is not None and served is None:
            raise lost_lists(layout.serving)
        # The lists that a run carries over come from the served generation, which the fingerprint does not contain.
        if is_usable and same is not None and not plan.carries_over:
            forced = {finding.gate for finding in gated.require(layout.generation_file(same))}
            if forced <= {str(entry["gate"]) for entry in record.forced(same)}:
                return _serve(layout, store, same, record.next_time())
        base = None if served is None else generation_path(layout, served)
        publication = _serve_new(
            layout,
            store,
            Build(plan, max(record.generations, default=0) + 1, record.next_time(), base, memory_mb),
            gated,
        )
        if same is not None and not is_usable:
            layout.generation_file(same).unlink(missing_ok=True)
        return publication


@dataclass(frozen=True)
class _Gated:
    """The gates of one publish.

    Attributes:
        gates: None if there are no limits.
        events: what the gate on the age of the events measured.
        bases: generation files to compare new lists with, the served one first; the first undamaged one is used.
        needs_base: whether lists need such a file: external lists, if others were published before. Lists of semconv are
            for all users, or need the served lists of the others.
    """

    gates: PublishGates | None
    events: list[Finding]
    bases: Sequence[Path]
    needs_base: bool

    def require(self, candidate: Path | None) -> tuple[Finding, ...]:
        """Return the gates that fail for a generation file and are overridden.

        Args:
            candidate: the file; None if its lists are served already, so that nothing has to be compared.

        Raises:
            GateFailedError: gates failed and are not overridden.
        """
        if self.gates is None:
            return ()
        if candidate is None:
            return self.gates.require(self.events)
        bases = [base for base in self.bases if base != candidate]
        lists = self.gates.lists(candidate, bases, needs_base=self.needs_base)
        return self.gates.require([*self.events, *self.gates.quality, *lists])


def _comparable(layout: ProjectLayout, served: int | None, last: Publication | None) -> list[Path]:
    """Return the generation files with which new lists can be compared: what is served, then the others from the newest.

    If ``serving.duckdb`` is lost, the file of the last publication takes its place, which may be lost too.
    """
    first = last.generation if served is None and last is not None else served
    others = [path for number, path in sorted(generation_files(layout).items(), reverse=True) if number != first]
    return [*([] if first is None else [generation_path(layout, first)]), *others]


def _serve_new(layout: ProjectLayout, store: DuckDBStore, build: Build, gated: _Gated) -> Publication:
    """Build a generation, check it and its gates, and serve it."""
    target = layout.generation_file(build.generation)
    with private_path(target) as temporary:
        build_generation(layout, store, build, temporary)
        forced = [finding.record() for finding in gated.require(temporary)]
        with store.read() as connection:
            forced += waiting_snapshots(connection)
        if forced:
            write_forced(temporary, forced)
        seal(temporary, target)
    return _serve(layout, store, build.generation, build.published_at)


def rollback(layout: ProjectLayout, store: DuckDBStore) -> Publication:
    """Serve the generation again that was served before the served one, as a new publication.

    Raises:
        InputError: nothing is served, no earlier generation is left, or its file is damaged.
    """
    with generations_lock(layout, store.wait):
        record, _ = _reconcile(layout, store)
        served = served_generation(layout)
        if served is None:
            raise InputError("nothing is published yet; `semconv publish` creates the first generation")
        earlier = record.before_served(generation_files(layout))
        if earlier is None:
            raise InputError(
                f"there is no generation before {served} to roll back to; `semconv generations` lists the generations"
            )
        require_undamaged(layout.generation_file(earlier))
        return _serve(layout, store, earlier, record.next_time())


def reconcile(layout: ProjectLayout, store: DuckDBStore) -> Publication | None:
    """Write the missing record of a publish that was killed after its commit point.

    A complete record is only read. If another process is publishing, that process writes its own record.

    Returns:
        The publication that was recorded late; None if the record was complete.
    """
    if not layout.warehouse.exists() or not (layout.serving.exists() or generation_files(layout)):
        return None
    try:
        if _is_recorded(layout, read_record(store)):
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
        return _reconcile(layout, store)[1]


def _serve(layout: ProjectLayout, store: DuckDBStore, generation: int, published_at: datetime) -> Publication:
    """Serve a generation (the commit point), then record the publication."""
    replace_serving(layout, generation)
    store = DuckDBStore(layout, max(store.wait, _RECORD_WAIT_SECONDS))
    try:
        return write_publication(layout, store, generation, published_at)
    except SemconvError as error:
        message = (
            f"generation {generation} is served, but this is not recorded yet; the next command records it ({error})"
        )
        raise (LockedError(message, error.pid) if isinstance(error, LockedError) else type(error)(message)) from error


def _reconcile(layout: ProjectLayout, store: DuckDBStore) -> tuple[Record, Publication | None]:
    """Remove files that a killed publish left, restore a lost ``serving.duckdb``, and write a missing record.

    The caller holds the lock.

    Returns:
        The current record, and the publication that was recorded late, if any.
    """
    record = read_record(store)
    remove_killed_publish(layout, known=set(record.generations))
    last, served = record.last, served_generation(layout)
    if served is None and last is not None and layout.generation_file(last.generation).exists():
        replace_serving(layout, last.generation)
    if served is None or _is_recorded(layout, record):
        return record, None
    first_published = read_info(generation_path(layout, served)).published_at.replace(tzinfo=UTC)
    is_first = last is None or first_published > last.published_at
    late = write_publication(layout, store, served, first_published if is_first else record.next_time())
    return read_record(store), late


def _is_recorded(layout: ProjectLayout, record: Record) -> bool:
    return (record.last.generation if record.last else None) == served_generation(layout)
