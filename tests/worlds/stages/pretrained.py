"""The small shop with a pretrained backbone in a folder of the project."""

from __future__ import annotations

from pathlib import Path

from semconv_warehouse.project import Project
from tests.worlds import projects as case
from tests.worlds import prompts


def make_ingested(root: Path) -> Path:
    """Make a project with everything ingested, and a tiny model in its folder models/tiny."""
    project = case.make_project(root)
    prompts.saved_model(project.layout.root / "models" / "tiny", tied=True)
    return project.layout.root


def opened(root: Path, **overrides: object) -> Project:
    dotted = {name.replace("__", ".", 1): value for name, value in overrides.items()}
    return Project.open(root, overrides=dotted, progress=case.Remarks())


def night(project: Project, *, refit: bool = False) -> dict[str, str]:
    return {row["stage"]: row["state"] for row in project.publish_due(refit=refit).stages}
