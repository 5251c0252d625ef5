"""The small shop after its first run, a night on it, and what it serves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from semconv_warehouse.project import Project
from semconv_warehouse.publish.publications import Publication
from tests.worlds import projects as case
from tests.worlds.once import made_once
from tests.worlds.reading import reading

FITTED = ["backbone", "embed_behavior", "embed_text", "codebook", "finetune"]


def make_finished(root: Path) -> Path:
    """Copy the small shop after its first run."""
    return Path(shutil.copytree(made_once("first-run", _do_first_run), root))


def _do_first_run(folder: Path) -> None:
    project = case.make_project(folder)
    summary = project.run()
    assert [(row["stage"], row["state"]) for row in summary["stages"]] == [
        (stage, "done") for stage in (*FITTED, "recommend", "evaluate")
    ]
    assert summary["publication"]["generation"] == 1
    assert summary["features"]["is_current"]


def served(project: Project) -> dict[str, list[tuple[Any, ...]]]:
    """Lists by user as SQL users see them."""
    with reading(project.layout.serving) as connection:
        rows = connection.execute(
            "SELECT user_id, rank, item_id, score, sources, reason_item_id FROM recommendation ORDER BY user_id, rank"
        ).fetchall()
    lists: dict[str, list[tuple[Any, ...]]] = {}
    for user, *rest in rows:
        lists.setdefault(user, []).append(tuple(map(str, rest)))
    return lists


def codes(project: Project) -> dict[str, str]:
    return dict(case.rows(project, "SELECT item_id, semantic_id FROM item_code"))


def night(project: Project, *, refit: bool = False) -> tuple[dict[str, str], Publication]:
    """What is due, without the features: state of each stage, and the publication."""
    done = project.publish_due(refit=refit)
    return {row["stage"]: row["state"] for row in done.stages}, done.publication


def add_events(project: Project, events: list[dict[str, Any]], name: str = "more") -> None:
    file = case.write_lines(project.layout.root / "inputs" / f"{name}.jsonl", events)
    project.ingest_interactions([file], {})
