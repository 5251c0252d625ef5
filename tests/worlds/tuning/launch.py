"""Run programs in two processes, by a real torchrun or in its environment alone, and read the losses of a run."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from semconv.tuning.step_log import read_steps
from tests.worlds.command import Commands
from tests.worlds.paths import ROOT

LAUNCH = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def launched(*program: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a program in two processes, require this exit code, and return the output."""
    done = subprocess.run([*LAUNCH, *program], capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == code, done.stderr
    return done


_TRAININGS = """
import signal, sys
from pathlib import Path
from tests.worlds.tuning.group import main

signal.alarm(300)  # one process waits for days for the other one
main(Path(sys.argv[1]), sys.argv[2:])
"""


def forked(commands: Commands, root: Path, *names: str) -> None:
    """Run trainings of ``tests.worlds.tuning.group`` in two forks of the server, with the variables that torchrun sets.

    The forks have imported torch, and the three processes of torchrun would import it again.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    for begun in [commands.start_program(_TRAININGS, root, *names, environment=rank) for rank in ranks]:
        done = commands.wait(begun)
        assert done.status == 0, done.stderr


def finetune(project: Path, *args: str) -> tuple[str, ...]:
    """Return the arguments of Python for `semconv finetune` on a project."""
    return ("-m", "semconv_cli", "--project", str(project), "finetune", *args)


def losses(folder: Path) -> list[float]:
    """Return the loss of every step in a run's folder, each once."""
    lines = read_steps(folder)
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["loss"] for line in lines]
