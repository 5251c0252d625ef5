"""What `semconv run` says of a refit that is due; it fills the online store, too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from semconv_cli.main import cli
from tests.worlds.stages.refit import buy, make_published


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_published(tmp_path / "project")


def test_semconv_run_prints_the_line_and_gives_it_as_json(root: Path) -> None:
    buy(root, [1, 2, 3, 4, 5], users=40)
    result = CliRunner().invoke(cli, ["--project", str(root), "run", "--json"])
    assert result.exit_code == 0, result.stderr
    assert "a refit is due: " in result.stderr
    refit = json.loads(result.stdout)["refit"]
    assert (refit["is_due"], refit["is_done"]) == (True, False)
    assert "refit.interactions_growth" in refit["reasons"][0]
