"""How one run is printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from semconv_cli import output
from semconv_cli.state import State

if TYPE_CHECKING:
    from semconv.data.store import RunRecord


def write_run(state: State, record: RunRecord, as_json: bool, more: Mapping[str, str] | None = None) -> None:
    """Print what a stage's command gave: the run, where its artifacts lie, and ``more`` for people."""
    state.note(runs=[record.run_id])
    if as_json:
        output.write_json(record)
        return
    fields = {"run": record.run_id, "status": record.status, "artifacts": record.artifact_path}
    output.write_fields({**fields, **(more or {})})
