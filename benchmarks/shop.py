"""A project with the interactions of a demo shop, for benchmarks of the size `small`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semconv.progress import Silent
from semconv_warehouse.demo import demo
from semconv_warehouse.demo.catalog import DemoShape, generate
from semconv_warehouse.project import Project

# A model that trains in seconds, for projects of the size `small`.
SMALL_MODEL: Mapping[str, Any] = {
    "backbone.width": 32,
    "backbone.layers": 1,
    "backbone.mlp_width": 96,
    "codebook.levels": 3,
    "codebook.codes": 64,
    "tuning.validation_users": 0,
}


def demo_project(folder: Path, shape: DemoShape, settings: Mapping[str, Any]) -> Project:
    """Open a project with the data of a demo shop, and ingest the data first if the folder has no project yet.

    Nothing is trained.
    """
    is_known = (folder / "semconv.toml").is_file()
    if not is_known:
        Project.init(folder, "# a demo shop\n")
    project = Project.open(folder, overrides=settings, progress=Silent())
    if not is_known:
        shop = generate(shape)
        demo.write_items(shop, folder / "items.jsonl")
        demo.write_interactions(shop, folder / "interactions.parquet")
        project.ingest_items([folder / "items.jsonl"], {})
        project.ingest_interactions([folder / "interactions.parquet"], demo.INTERACTION_COLUMNS)
    return project
