"""An item that a snapshot leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

from semconv_warehouse.project import Project
from tests.worlds import projects as case
from tests.worlds.stages.catalog import require_item_leaves_and_returns
from tests.worlds.stages.night import make_finished


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return case.reopened(Project.open(make_finished(tmp_path / "project")))


@pytest.mark.parametrize("how", ["a snapshot without it"])
def test_an_item_that_goes_leaves_the_trie_and_comes_back_with_its_codes(project: Project, how: str) -> None:
    require_item_leaves_and_returns(project, how)
