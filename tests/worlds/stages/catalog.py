"""Items that come and go in the small shop after its first run."""

from __future__ import annotations

import pytest

from semconv.errors import SettingsError
from semconv_warehouse.project import Project
from tests.worlds import projects as case
from tests.worlds.parts import read_parts


def night(project: Project) -> dict[str, str]:
    return {row["stage"]: row["state"] for row in project.publish_due(refit=False).stages}


def listed(project: Project) -> set[str]:
    return set(project.sql("SELECT DISTINCT item_id FROM recommendation").column("item_id").to_pylist())


def codes_of(project: Project, run_id: str) -> dict[str, str]:
    return dict(case.rows(project, f"SELECT item_id, semantic_id FROM item_code WHERE code_set_run_id = '{run_id}'"))


def require_item_leaves_and_returns(project: Project, how: str) -> None:
    """Take an item out in one way or the other: it leaves lists and queries, and comes back with its codes."""
    before = codes_of(project, project.workspace.code_lineage().codebook.run_id)
    gone = sorted(listed(project))[0]
    stock = [case.item(number) for number in range(case.NUM_ITEMS)]
    rest = case.write_lines(project.layout.root / "rest.jsonl", [row for row in stock if row["item_id"] != gone])
    if how == "marked unavailable":
        with project.store.write() as connection:
            connection.exec_driver_sql("UPDATE item SET is_available = false WHERE item_id = ?", (gone,))
    else:
        project.ingest_items([rest], {}, snapshot=True)
    project = case.reopened(project)
    assert night(project)["recommend"] == "done"
    assert gone not in listed(project)
    assert gone not in {row["item_id"] for row in project.recommend_query(f"a {case.KINDS[0]}")}
    with pytest.raises(
        SettingsError, match="allows no available item"
    ):  # no list can hold it, asked for by name or not
        project.recommend(where=f"item_id = '{gone}'")
    project.ingest_items([case.write_lines(project.layout.root / "all.jsonl", stock)], {})
    project = case.reopened(project)
    assert project.codebook_assign() is None
    alone = project.recommend(where=f"item_id = '{gone}'")
    assert gone in read_parts(project.book.folder(alone)).column("item_id").to_pylist()
    assert codes_of(project, project.workspace.code_lineage().codebook.run_id) == before
