"""Ingest of a file that nobody would write: counts add up, the warehouse keeps its rules, and a repeat changes nothing."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from semconv_cli.main import cli
from semconv_warehouse.store.database import open_database
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds.faults import bad_inputs as bad

KINDS = st.sampled_from(["jsonl", "csv", "parquet"])
_numbers = itertools.count()


def bounded(number: int) -> Any:
    """Draw a number of examples, the same in every run."""
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    return settings(max_examples=number, suppress_health_check=checks, derandomize=True)


def fresh(empty: Path) -> ProjectLayout:
    root = empty.with_name(f"p{next(_numbers)}")
    shutil.copytree(empty, root)
    return ProjectLayout(root)


def ingest(layout: ProjectLayout, kind: str, file: Path, *options: str) -> dict[str, Any] | None:
    """Return the report of an ingest, None when it refused the file in one line."""
    result = run(layout, "ingest", kind, str(file), "--json", *options)
    if result.exit_code:
        assert result.exit_code == 4, (result.output, result.exception)
        (line,) = result.stderr.strip().splitlines()
        assert line.startswith(f"error: {file}"), line
        return None
    report: dict[str, Any] = json.loads(result.stdout)
    counted = report["added"] + report["updated"] + report["duplicate"] + sum(report["rejected"].values())
    assert counted == report["read"], report
    return report


def run(layout: ProjectLayout, *words: str) -> Result:
    return CliRunner().invoke(cli, ["--project", str(layout.root), "-q", *words])


def stored(layout: ProjectLayout, columns: str, table: str = "interaction") -> list[tuple[Any, ...]]:
    with open_database(layout.warehouse, read_only=True) as connection:
        return [tuple(row) for row in connection.exec_driver_sql(f"SELECT {columns} FROM {table} ORDER BY ALL")]


def check_ingest(empty: Path, kind: str, file: Path) -> None:
    """Ingest a file twice: counts add up, the checks pass, and the second time changes nothing."""
    layout = fresh(empty)
    file = file.rename(layout.root / file.name)
    report = ingest(layout, kind, file, "--rejected", str(layout.root / "rejected.jsonl"))
    table = "interaction" if kind == "interactions" else "item"
    rows = stored(layout, "*", table)
    assert len(rows) == (report["added"] if report else 0)
    if report is not None:
        again = ingest(layout, kind, file)
        assert again is not None
        assert (again["added"], again["updated"], again["rejected"]) == (0, 0, report["rejected"])
        assert stored(layout, "*", table) == rows
        assert run(layout, "check").exit_code == 0
        rejected = (layout.root / "rejected.jsonl").read_bytes()
        assert rejected.count(b"\n") == sum(report["rejected"].values())
    shutil.rmtree(layout.root)


def check_table(empty: Path, tmp_path: Path, kind: str, table: Any) -> None:
    pq.write_table(table, tmp_path / "x.parquet")
    check_ingest(empty, kind, tmp_path / "x.parquet")


WILD = {
    "interactions": st.tuples(KINDS, st.lists(bad.records, min_size=1, max_size=6)),
    "items": st.tuples(KINDS, st.lists(bad.items, min_size=1, max_size=6)),
}
