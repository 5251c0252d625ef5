"""One gate: an SQL file of ``sql/gates`` that measures a number, and the setting of the same name with its limit.

The statement returns one row with two columns: ``measured``, and ``found``, which says in words what was measured.
``measured`` is NULL if there is nothing to measure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from semconv.errors import GateFailedError
from semconv.settings.gates import GateSettings
from semconv_warehouse.publish.sql_files import sql_file
from semconv_warehouse.store.layout import package_folder

Say = Callable[[str], None]
_MEASURED_AS = {"max_quality_drop": "a fall of at least "}  # words before the measured number


@dataclass(frozen=True)
class Finding:
    """What a gate measured.

    Attributes:
        gate: name of the gate, of its SQL file and of its setting in the section ``gates``.
        measured: the measured number; None if there was nothing to measure.
        limit: the value of the setting.
        found: what was measured, in words.
        advice: what to do instead; may be empty.
    """

    gate: str
    measured: float | None
    limit: float
    found: str
    advice: str = ""

    @property
    def is_failed(self) -> bool:
        """Whether the measured number is on the wrong side of the limit."""
        if self.measured is None:
            return False
        if self.gate == "above_popularity":
            return self.measured < 0
        return self.measured < self.limit if self.gate.startswith("min_") else self.measured > self.limit

    def text(self) -> str:
        """Return one line: the gate, what was measured, the limit and its setting."""
        advice = f"; {self.advice}" if self.advice else ""
        if self.measured is None:
            return f"gate {self.gate}: {self.found}"
        if self.gate == "above_popularity":
            return f"gate {self.gate}: {self.found} (gates.{self.gate} = true){advice}"
        side = "at least" if self.gate.startswith("min_") else "at most"
        shown, limit = (_in_words(self.gate, number) for number in (self.measured, self.limit))
        return f"gate {self.gate}: {self.found}, that is {_MEASURED_AS.get(self.gate, '')}{shown}; gates.{self.gate} allows {side} {limit}{advice}"

    def record(self) -> dict[str, Any]:
        """Return the values that are stored when the gate is overridden."""
        return {"gate": self.gate, "measured": self.measured, "limit": self.limit, "found": self.found}


@dataclass(frozen=True)
class Guard:
    """Decides what happens when a gate fails: raise an error, or with ``--force`` say what is overridden.

    Attributes:
        settings: the limits.
        is_forced: whether the user gave ``--force``.
        say: called with one line for each overridden gate.
    """

    settings: GateSettings = field(default_factory=GateSettings)
    is_forced: bool = False
    say: Say = lambda _: None

    def limit(self, gate: str) -> float:
        """Return the limit of a gate; 0 if the gate is off."""
        return float(getattr(self.settings, gate))

    def measure(
        self, connection: duckdb.DuckDBPyConnection, gates: Sequence[str], values: Mapping[str, Any] | None = None
    ) -> list[Finding]:
        """Run the SQL files of those gates that are on; ``values`` has the parameters of their statements."""
        found = []
        for gate in gates:
            if limit := self.limit(gate):
                statement = sql_file(package_folder("sql") / "gates" / f"{gate}.sql").statement
                names = duckdb.extract_statements(statement)[0].named_parameters
                row = connection.execute(statement, {name: (values or {})[name] for name in names}).fetchall()[0]
                found.append(Finding(gate, row[0], limit, row[1]))
        return found

    def require(self, findings: Iterable[Finding], unchanged: str) -> tuple[Finding, ...]:
        """Return the failed gates if ``--force`` overrides them.

        Args:
            unchanged: what stays as it is if a gate fails, such as "nothing was published".

        Raises:
            GateFailedError: a gate failed; the error has one line for each failed gate.
        """
        failed = tuple(finding for finding in findings if finding.is_failed)
        if failed and not self.is_forced:
            raise GateFailedError([f"{finding.text()}; {unchanged}; --force overrides this gate" for finding in failed])
        for finding in failed:
            self.say(f"overridden by --force: {finding.text()}")
        return failed


def _in_words(gate: str, number: float) -> str:
    if "days" in gate:
        return f"{number:.1f} days" if number % 1 else f"{number:.0f} {'day' if number == 1 else 'days'}"
    return f"{number:.1%}"
