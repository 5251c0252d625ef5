"""The gate of a snapshot of the items, and the record of snapshots that were stored although the gate failed.

The record waits in the table ``project_setting`` for the next new generation, whose lists the removed items leave.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from semconv.clock import utc_now
from semconv_warehouse.gates.gate import Guard
from semconv_warehouse.store.database import raw, registered

_GATE = "max_removed"
_WAITING = "forced_snapshots"


def require_snapshot(connection: sa.Connection, rows: pa.Table, guard: Guard) -> None:
    """Measure the share of available items that a snapshot removes, in the transaction that would store it.

    Args:
        rows: the items of the snapshot, with the column ``item_id``.

    Raises:
        GateFailedError: the share is above the limit, and nothing overrides the gate.
    """
    if not guard.limit(_GATE):
        return
    with registered(connection, rows.select(["item_id"])) as incoming:
        inner = raw(connection)
        inner.execute(f"CREATE OR REPLACE TEMP VIEW snapshot_item AS SELECT item_id FROM {incoming}")  # noqa: S608
        findings = guard.measure(inner, [_GATE])
        inner.execute("DROP VIEW snapshot_item")
    overridden = guard.require(findings, "no item was changed")
    if overridden:
        now = utc_now().isoformat(timespec="seconds")
        waiting = [*waiting_snapshots(connection), *({**finding.record(), "at": now} for finding in overridden)]
        connection.execute(
            sa.text("INSERT OR REPLACE INTO project_setting VALUES (:name, :value)"),
            {"name": _WAITING, "value": json.dumps(waiting)},
        )


def waiting_snapshots(connection: sa.Connection) -> list[dict[str, Any]]:
    """Return the forced snapshots that no generation has recorded yet."""
    value = connection.execute(
        sa.text("SELECT value FROM project_setting WHERE name = :name"), {"name": _WAITING}
    ).scalar_one_or_none()
    return [] if value is None else list(json.loads(value))


def forget_recorded(connection: sa.Connection, recorded: list[dict[str, Any]]) -> None:
    """Delete the waiting snapshots that a published generation has recorded, in the caller's transaction."""
    waiting = waiting_snapshots(connection)
    left = [entry for entry in waiting if entry not in recorded]
    if left != waiting:
        connection.execute(
            sa.text("UPDATE project_setting SET value = :value WHERE name = :name"),
            {"name": _WAITING, "value": json.dumps(left)},
        )
