"""An empty project, and `semconv ingest` in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from semconv_cli.main import cli
from semconv_warehouse.project import Project


def make_project(root: Path) -> Path:
    """Make an empty project with the command."""
    assert CliRunner().invoke(cli, ["init", str(root)]).exit_code == 0
    return root


def ingest(project: Path, *args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["--project", str(project), "ingest", *args])
    assert result.exit_code == code, result.stderr
    return result


def read(project: Path, sql: str) -> list[tuple[Any, ...]]:
    with Project.open(project).store.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]
