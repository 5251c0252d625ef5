"""Read and write the record of generations and publications, two tables of the warehouse."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from semconv.clock import utc_now
from semconv_warehouse.gates.snapshot import forget_recorded
from semconv_warehouse.publish.generation_files import generation_path, read_info
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout

# Feast's online stores compare whole seconds, so two publications are at least one second apart.
_TICK = timedelta(seconds=1)


@dataclass(frozen=True)
class Publication:
    """One event at which a generation began to be served: a publish or a rollback."""

    publication: int
    generation: int
    published_at: datetime  # UTC, whole seconds, later than the publication before
    is_new: bool = True  # False if a generation of the same inputs was already served
    forced: tuple[str, ...] = ()  # the gates that `--force` overrode when the generation was made


@dataclass(frozen=True)
class Record:
    """The content of the tables ``generation`` and ``publication``."""

    generations: dict[int, dict[str, Any]]  # generation -> its run ids, its fingerprint and the gates it overrode
    publications: list[Publication]  # oldest first

    @property
    def last(self) -> Publication | None:
        """The latest publication, or None."""
        return self.publications[-1] if self.publications else None

    def generation_of(self, fingerprint: str) -> int | None:
        """Return the latest generation whose inputs have this fingerprint, or None."""
        return max((n for n, ids in self.generations.items() if ids.get("fingerprint") == fingerprint), default=None)

    def before_served(self, existing: Collection[int]) -> int | None:
        """Return the generation that was served before the served one, among ``existing``; None if there is none.

        A generation that a rollback left is not returned: after the publications 1, 2, 1, 3 it is 1 that was served
        before 3.
        """
        order: list[int] = []
        for entry in self.publications:
            if entry.generation in order:  # served again: those after it were left
                del order[order.index(entry.generation) :]
            order.append(entry.generation)
        return next((generation for generation in reversed(order[:-1]) if generation in existing), None)

    def forced(self, generation: int) -> list[dict[str, Any]]:
        """Return the gates that `--force` overrode when a generation was made, with what they measured."""
        return list(self.generations.get(generation, {}).get("forced", []))

    def next_time(self) -> datetime:
        """Return a time for the next publication: now in whole seconds, but always later than the last publication."""
        now = utc_now().replace(microsecond=0)
        return now if self.last is None else max(now, self.last.published_at + _TICK)


def publications(store: DuckDBStore) -> list[Publication]:
    """Return every publication, oldest first."""
    return read_record(store).publications


def read_record(store: DuckDBStore) -> Record:
    """Read the tables ``generation`` and ``publication``."""
    return store.read_once("publications", _read_tables)


def _read_tables(connection: sa.Connection) -> Record:
    generations = connection.execute(sa.text("SELECT generation, CAST(run_ids AS VARCHAR) FROM generation")).all()
    rows = connection.execute(
        sa.text("SELECT publication, generation, published_at FROM publication ORDER BY publication")
    ).all()
    record = Record(
        {int(row[0]): json.loads(row[1]) for row in generations},
        [Publication(int(row[0]), int(row[1]), row[2].replace(tzinfo=UTC)) for row in rows],
    )
    shown = [replace(row, forced=_gates(record.forced(row.generation))) for row in record.publications]
    return replace(record, publications=shown)


def _gates(forced: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(entry["gate"]) for entry in forced))


def write_publication(
    layout: ProjectLayout, store: DuckDBStore, generation: int, published_at: datetime
) -> Publication:
    """Record, in one transaction, that a generation is now served."""
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
        forced = list(info.run_ids.get("forced", []))
        forget_recorded(connection, forced)
    return Publication(int(number), generation, published_at, forced=_gates(forced))
