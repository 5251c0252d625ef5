"""The function calls from `semconv recommend` to the model stay few, and docs/architecture.md lists them."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from transformers import LlamaModel

import semconv
import semconv_cli
import semconv_warehouse
from semconv_cli.main import cli
from semconv_warehouse.project import Project
from tests.worlds import listed
from tests.worlds.paths import ROOT

MOST_FRAMES, MOST_FILES = 15, 9
CODE = tuple(f"{package.__path__[0]}/" for package in (semconv, semconv_cli, semconv_warehouse))
Chain = tuple[tuple[str, str], ...]  # the file and the function of each call, the command first


@pytest.fixture(scope="module")
def blended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = listed.make_tuned(tmp_path_factory.mktemp("chain") / "tuned")
    (root / "semconv.toml").write_text(listed.ALWAYS)
    Project.open(root).blend()
    return root


def chains(root: Path, monkeypatch: pytest.MonkeyPatch) -> set[Chain]:
    """All ways on which `semconv recommend` reaches the forward pass of the model."""
    found: set[Chain] = set()
    forward = LlamaModel.forward

    def noted(*args: Any, **kwargs: Any) -> Any:
        calls = [(frame.filename, frame.name) for frame in traceback.extract_stack()]
        start = next(at for at, (_, name) in enumerate(calls) if name == "recommend_command")
        found.add(tuple(call for call in calls[start:] if call[0].startswith(CODE)))
        return forward(*args, **kwargs)

    monkeypatch.setattr(LlamaModel, "forward", noted)
    result = CliRunner().invoke(cli, ["--project", str(root), "recommend"])
    assert result.exit_code == 0, result.stderr
    return found


@pytest.mark.parametrize(
    ("use", "last"),
    [
        ("never", {"check_branches", "read", "best_leaves"}),
        ("always", {"check_branches", "read", "best_leaves", "score_given"}),
    ],
)
def test_few_calls_lead_from_the_command_to_the_model(
    blended: Path, use: str, last: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = listed.SETTINGS.replace('use = "never"', f'use = "{use}"')
    root = listed.copied(blended, tmp_path / "project", settings).layout.root
    found = chains(root, monkeypatch)
    assert last <= {name for chain in found for _, name in chain}
    for chain in found:
        assert len(chain) <= MOST_FRAMES, chain
        assert len({file for file, _ in chain}) <= MOST_FILES, chain
    # Loading the model has calls of its own.
    searches = [chain for chain in found if "check_branches" not in {name for _, name in chain}]
    assert len({file for chain in searches for file, _ in chain}) <= MOST_FILES, searches
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = page.split("## From `semconv recommend` to the model")[1].split("\n## ")[0].splitlines()
    for file, name in {call for chain in searches for call in chain}:
        path = Path(file).relative_to(ROOT)
        assert [row for row in rows if row.startswith(f"| `{path}`") and re.search(rf"\b{name}`", row)], (path, name)
