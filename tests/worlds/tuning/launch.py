"""Run commands in several processes by a real torchrun, and read the losses of a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from semconv.tuning.step_log import read_steps
from tests.worlds.paths import ROOT

LAUNCH = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def launched(*program: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a program in two processes, require this exit code, and return the output."""
    done = subprocess.run([*LAUNCH, *program], capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == code, done.stderr
    return done


def finetune(project: Path, *args: str) -> tuple[str, ...]:
    """Return the arguments of Python for `semconv finetune` on a project."""
    return ("-m", "semconv_cli", "--project", str(project), "finetune", *args)


def losses(folder: Path) -> list[float]:
    """Return the loss of every step in a run's folder, each once."""
    lines = read_steps(folder)
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["loss"] for line in lines]
