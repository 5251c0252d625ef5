"""The gates of a publish that compare a new generation with the served one, and the gate on the age of the events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from semconv.clock import as_timestamp, utc_now
from semconv.errors import InputError
from semconv_warehouse.gates.gate import Finding, Guard
from semconv_warehouse.store.database import DEFAULT_MEMORY_MB, database_errors, prepare_bulk, raw
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.leftovers import spill_folder

_COMPARED = ("min_users", "min_items")
_EVENTS = "max_days_without_events"
_UNCHANGED = "nothing was published"


@dataclass(frozen=True)
class PublishGates:
    """The gates that a publish passes.

    Attributes:
        guard: the limits, and whether they are overridden.
        memory_mb: memory limit of DuckDB, which writes the rest to temporary files beside the new generation.
    """

    guard: Guard = field(default_factory=Guard)
    memory_mb: int = DEFAULT_MEMORY_MB

    def require_before(self, store: DuckDBStore) -> tuple[Finding, ...]:
        """Check the gates that need no new lists: the age of the newest interaction. Return those that are overridden.

        Raises:
            GateFailedError: the newest interaction is too old.
        """
        if not self.guard.limit(_EVENTS):
            return ()
        with store.read() as connection:
            findings = self.guard.measure(raw(connection), [_EVENTS], {"now": as_timestamp(utc_now())})
        self._say_unmeasured(findings)
        return self.guard.require(findings, _UNCHANGED)

    def require_lists(self, candidate: Path, served: Path | None) -> tuple[Finding, ...]:
        """Compare a new generation file with the served one; return the gates that failed and are overridden.

        Args:
            served: the served generation file; None if nothing is served, so that there is nothing to compare with.

        Raises:
            GateFailedError: a gate failed.
        """
        if served is None or not any(self.guard.limit(gate) for gate in _COMPARED):
            return ()
        try:
            findings = self._compared(candidate, served)
        except InputError as error:
            self.guard.say(f"gates {', '.join(_COMPARED)}: not compared with the served lists, because {error}")
            return ()
        return self.guard.require(findings, _UNCHANGED)

    def _compared(self, candidate: Path, served: Path) -> list[Finding]:
        with database_errors(candidate), duckdb.connect() as connection:
            prepare_bulk(connection, self.memory_mb, spill_folder(candidate))
            connection.execute("ATTACH ? AS candidate (READ_ONLY)", [str(candidate)])
            with database_errors(served):
                connection.execute("ATTACH ? AS served (READ_ONLY)", [str(served)])
                return self.guard.measure(connection, _COMPARED)

    def _say_unmeasured(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            if finding.measured is None:
                self.guard.say(f"{finding.text()}, so the gate could not be measured")


def write_forced(file: Path, forced: Sequence[dict[str, Any]]) -> None:
    """Record overridden gates in a generation file that is not served yet, beside the runs of the generation."""
    with database_errors(file), duckdb.connect(str(file)) as connection:
        connection.execute(
            "UPDATE generation_info SET run_ids = json_merge_patch(run_ids, $forced::JSON)",
            {"forced": json.dumps({"forced": list(forced)})},
        )
        connection.execute("CHECKPOINT")
