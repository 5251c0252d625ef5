"""The gates of a publish that compare a new generation with the served one, and the gate on the age of the events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from semconv.clock import as_timestamp, utc_now
from semconv.errors import InputError, LockedError
from semconv.settings.recommend import RecommendSettings
from semconv_warehouse.gates.gate import Finding, Guard
from semconv_warehouse.store.database import DEFAULT_MEMORY_MB, database_errors, prepare_bulk, raw
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.leftovers import spill_folder

_COMPARED = ("min_users", "min_items", "min_length")
_EVENTS = "max_days_without_events"
_LOST = "all files of the published lists are missing or damaged, so nothing can be compared"


@dataclass(frozen=True)
class PublishGates:
    """The gates that a publish passes.

    Attributes:
        guard: the limits, and whether they are overridden.
        top_k: length K that new lists should have; shorter lists than the served ones are right if K is.
        memory_mb: memory limit of DuckDB, which writes the rest to temporary files beside the new generation.
        quality: what the gates on quality measured.
        compared_with: number of the publication whose lists the quality was compared with; None if there was none.
    """

    guard: Guard = field(default_factory=Guard)
    top_k: int = RecommendSettings().top_k
    memory_mb: int = DEFAULT_MEMORY_MB
    quality: Sequence[Finding] = ()
    compared_with: int | None = None

    def require_current(self, publication: int | None) -> None:
        """Raise LockedError if lists were published after the quality was measured."""
        if self.quality and publication != self.compared_with:
            raise LockedError("other lists were published while these were measured; run the same command again")

    def events(self, store: DuckDBStore) -> list[Finding]:
        """Measure the age of the newest interaction, which needs no new lists."""
        if not self.guard.limit(_EVENTS):
            return []
        with store.read() as connection:
            findings = self.guard.measure(raw(connection), [_EVENTS], {"now": as_timestamp(utc_now())})
        for finding in findings:
            if finding.measured is None:
                self.guard.say(f"{finding.text()}, so the gate could not be measured")
        return findings

    def lists(self, candidate: Path, bases: Sequence[Path], *, needs_base: bool) -> list[Finding]:
        """Compare a new generation file with a published one.

        Args:
            bases: published generation files, the served one first. The first undamaged one is compared.
            needs_base: whether every gate that is on fails without an undamaged file, because nothing else tells whether
                the new lists are complete.
        """
        limits = {gate: float(self.guard.limit(gate)) for gate in _COMPARED if self.guard.limit(gate)}
        for base in (path for path in bases if limits and path.exists()):
            try:
                return self._compared(candidate, base)
            except InputError as error:
                self.guard.say(f"new lists are not compared with {base.name}, because {error}")
        return [Finding(gate, 0.0, limit, _LOST) for gate, limit in limits.items()] if needs_base else []

    def require(self, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """Return the gates that failed and are overridden; raise GateFailedError if gates failed and are not."""
        return self.guard.require(findings, "nothing was published")

    def _compared(self, candidate: Path, served: Path) -> list[Finding]:
        with database_errors(candidate), duckdb.connect() as connection:
            prepare_bulk(connection, self.memory_mb, spill_folder(candidate))
            connection.execute("ATTACH ? AS candidate (READ_ONLY)", [str(candidate)])
            with database_errors(served):
                connection.execute("ATTACH ? AS served (READ_ONLY)", [str(served)])
                return self.guard.measure(connection, _COMPARED, {"top_k": self.top_k})


def write_forced(file: Path, forced: Sequence[dict[str, Any]]) -> None:
    """Record overridden gates in a generation file that is not served yet, beside the runs of the generation."""
    with database_errors(file), duckdb.connect(str(file)) as connection:
        connection.execute(
            "UPDATE generation_info SET run_ids = json_merge_patch(run_ids, $forced::JSON)",
            {"forced": json.dumps({"forced": list(forced)})},
        )
        connection.execute("CHECKPOINT")
