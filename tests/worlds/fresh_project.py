"""A project that has only just been made, and two files to ingest."""

from __future__ import annotations

from pathlib import Path

from semconv_warehouse.project import Project
from tests.worlds.reading import reading


def make_fresh(folder: Path) -> Path:
    """Make a project, and two files to ingest beside it."""
    Project.init(folder / "project")
    for name in ("a", "b"):
        lines = [f"{name}{user},i{user + number},{number}" for user in range(50) for number in range(3)]
        (folder / f"{name}.csv").write_text("user_id,item_id,source_position\n" + "\n".join(lines))
    return folder / "project"


def ingest(root: Path, name: str) -> tuple[str, ...]:
    return ("ingest", "interactions", str(root.parent / f"{name}.csv"))


def users(root: Path) -> list[tuple[str, int]]:
    """Return the number of interactions by the first letter of the users."""
    with reading(root / "data" / "warehouse.duckdb") as connection:
        return connection.execute("SELECT user_id[1], count(*) FROM interaction GROUP BY 1 ORDER BY 1").fetchall()
