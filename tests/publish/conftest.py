"""Projects with lists, one of them published, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from semconv_warehouse.publish.publishing import publish
from tests.worlds.published import Project, copy_project, make_project


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("template") / "project")[0].root


@pytest.fixture(scope="session")
def published_template(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    layout, store = copy_project(template, tmp_path_factory.mktemp("published") / "project")
    publish(layout, store, "recommend-1")
    return layout.root


@pytest.fixture
def published(published_template: Path, tmp_path: Path) -> Project:
    """Generation 1 of recommend-1 is served."""
    return copy_project(published_template, tmp_path / "project")


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Project:
    return copy_project(template, tmp_path / "project")
