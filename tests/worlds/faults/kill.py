"""Runs a project again and again in processes that die the hard way in the middle of a stage.

The server of commands runs :func:`main` as a program. With the arguments PROJECT SEED STAGE..., it kills one process soon
after each of the stages began, then lets a last one end. With PROJECT SEED --lists COUNT, it kills COUNT processes that
make and publish lists, each at a random shard and moment, and prints which parts lay there after each. The processes are
forks of the program, which computes nothing itself.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from semconv.progress import Silent, Task

if TYPE_CHECKING:
    from semconv_warehouse.project import Project


def kill_after(seconds: float) -> None:
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()


class KillingProgress(Silent):
    """Kills the process some time after a line was said."""

    def __init__(self, line: str, seconds: float) -> None:
        self.line, self.seconds = line, seconds

    def say(self, message: str) -> None:
        if self.line and message.startswith(self.line):
            kill_after(self.seconds)


class KillingBar(Silent):
    """Kills the process some time after a number of shards, counted from 0, was written."""

    def __init__(self, shards: int, seconds: float) -> None:
        self.left, self.seconds = shards, seconds

    def task(self, label: str, total: float, unit: str, done: float = 0.0) -> AbstractContextManager[Task]:
        self.advance(0)
        return nullcontext(self)

    def advance(self, amount: float, note: str = "") -> None:
        if self.left == 0:
            kill_after(self.seconds)
        self.left -= 1


def make_lists(project: Project) -> None:
    project.recommend()
    project.publish()


def in_a_child(root: Path, progress: Silent, work: Callable[[Project], object]) -> int:
    """Do some work; the exit status, -9 for a killed process."""
    from semconv_warehouse.project import Project

    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        work(Project.open(root, wait=20, progress=progress))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def write_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def kill_stages(root: Path, seed: int, stages: list[str]) -> int:
    draw = random.Random(seed)
    for stage in stages:
        status = in_a_child(root, KillingProgress(stage, draw.random() ** 2), lambda project: project.run())
        write_line(f"{stage}: {status}")
    return in_a_child(root, Silent(), lambda project: project.run())


def kill_lists(root: Path, seed: int, count: int) -> int:
    draw = random.Random(seed)
    for _ in range(count):
        status = in_a_child(root, KillingBar(draw.randrange(3), draw.random() * 0.03), make_lists)
        parts = {path.name: path.stat().st_mtime_ns for path in root.glob("data/runs/recommend-*/part-*")}
        write_line(json.dumps({"status": status, "parts": parts}))
    return in_a_child(root, Silent(), make_lists)


def main(root: Path, seed: int, rest: list[str]) -> int:
    if rest[:1] == ["--lists"]:
        return kill_lists(root, seed, int(rest[1]))
    return kill_stages(root, seed, rest)
