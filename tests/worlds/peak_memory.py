"""A command in a process of its own, and its peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Runs a command and prints its peak memory. It is a process of its own, because a peak is of a whole process.
PEAK = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "semconv_cli", *sys.argv[1:]])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024, file=sys.stderr)
sys.exit(done.returncode)
"""


def semconv(root: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run a command; return its result and its peak memory in bytes."""
    command = [sys.executable, "-c", PEAK, "--project", str(root), "-q", *words]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    *lines, peak = done.stderr.splitlines()
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout, "\n".join(lines)), int(peak)
