"""A tuning that goes on from an adapter and is killed: the next one ends with the same adapter."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from semconv_warehouse.project import Project
from tests.worlds.tuning.from_run import adapter, make_tuned_adapter, same, tuned_by

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
KILLED = """
import os, signal, sys
from pathlib import Path
from semconv.progress import Silent
from semconv_warehouse.project import Project
class Killing(Silent):
    def say(self, message):
        if message.startswith("epoch 2:"):
            os.kill(os.getpid(), signal.SIGKILL)
Project.open(Path(sys.argv[1]), progress=Killing()).finetune(from_run="current")
"""


@pytest.fixture
def gone_on(root: Path, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A copy of the project in which the command went on, undisturbed, and its run."""
    copy = shutil.copytree(root, tmp_path / "undisturbed")
    return copy, tuned_by(copy, "--from", "current")[0]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_tuned_adapter(tmp_path / "project")


def test_a_killed_run_ends_with_the_same_adapter(root: Path, gone_on: tuple[Path, dict[str, Any]]) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(root)], check=False).returncode == -9
    resumed, _ = tuned_by(root, "--from", "current")
    assert len(Project.open(root).store.runs(stage="finetune")) == 2
    assert same(adapter(root, resumed), adapter(*gone_on))
