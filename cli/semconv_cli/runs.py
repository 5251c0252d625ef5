"""Print the run that a command computed or reused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from semconv_cli import output
from semconv_cli.state import State

if TYPE_CHECKING:
    from semconv.data.store import RunRecord


def write_run(state: State, record: RunRecord, as_json: bool, more: Mapping[str, str] | None = None) -> None:
    """Print a run: as JSON, or else its id, status and folder, and the fields in ``more``."""
    state.note(runs=[record.run_id])
    fields = {"run": record.run_id, "status": record.status, "artifacts": record.artifact_path, **(more or {})}
    output.write_result(record if as_json else fields, as_json)
