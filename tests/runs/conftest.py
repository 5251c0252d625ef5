"""A project with one item."""

from pathlib import Path

import pytest

from semconv_warehouse.project import Project
from tests.worlds.projects import Remarks
from tests.worlds.runs import add_item


@pytest.fixture
def project(tmp_path: Path) -> Project:
    Project.init(tmp_path, "")
    project = Project.open(tmp_path, progress=Remarks())
    add_item(project, 0)
    return project
