"""The project that the tests of features start from."""

from pathlib import Path

import pytest

from tests.worlds.features.two_publications import make_template
from tests.worlds.once import made_once


@pytest.fixture(scope="session")
def template() -> Path:
    return made_once("two-publications", make_template)
