"""Runs a project again and again in processes that die the hard way in the middle of a stage.

``python kill_case.py PROJECT SEED STAGE...`` kills one process soon after each of the stages began, then lets
a last one end. The processes are forks of this one, which computes nothing itself: imports are paid once.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import traceback
from pathlib import Path

from semconv.progress import Silent


class KillingProgress(Silent):
    """Kills the process some time after a line was said."""

    def __init__(self, line: str, seconds: float) -> None:
        self.line, self.seconds = line, seconds

    def say(self, message: str) -> None:
        if self.line and message.startswith(self.line):
            threading.Timer(self.seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()


def in_a_child(root: Path, progress: Silent) -> int:
    """Run everything that is due; the exit status, -9 for a killed one."""
    from semconv_warehouse.project import Project

    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        Project.open(root, wait=20, progress=progress).run()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main(root: Path, seed: int, stages: list[str]) -> int:
    import feast  # noqa: F401
    import peft  # noqa: F401
    import transformers.models.llama.modeling_llama  # noqa: F401

    import semconv.pipeline.recommending  # noqa: F401
    import semconv_warehouse.features  # noqa: F401

    draw = random.Random(seed)
    for stage in stages:
        status = in_a_child(root, KillingProgress(stage, draw.random() ** 2))
        sys.stdout.write(f"{stage}: {status}\n")
        sys.stdout.flush()
    return in_a_child(root, Silent())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
