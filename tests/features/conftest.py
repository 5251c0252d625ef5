"""The project that the tests of features start from."""

from pathlib import Path

import pytest

from tests.worlds.features.two_publications import make_template


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template") / "project")
