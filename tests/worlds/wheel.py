"""The built wheel, and a virtual environment with the program installed from it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

from tests.worlds.paths import ROOT

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def build(copy: Path) -> Path:
    """Build wheel and sdist from a copy, so that nothing is written into the checkout; return their folder."""
    anywhere = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis")
    made_here = {str(ROOT): {"demo", "dist", "build"}, str(ROOT / "benchmarks"): {"results"}}
    shutil.copytree(ROOT, copy, ignore=lambda folder, names: anywhere(folder, names) | made_here.get(folder, set()))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", copy / "dist", copy]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return copy / "dist"


def install(built: Path, folder: Path) -> Path:
    """Install the wheel alone; dependencies are those of the running environment. Return its Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    # A plain .pth line adds the folder, not the editable install's own .pth inside it.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = Path(sysconfig.get_path("scripts", "venv", vars=paths)) / "python"
    wheel = next(built.glob("*.whl"))
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return python


def runner(installed: Path, folder: Path) -> Run:
    """Return what runs a program of the installed environment in a folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SEMCONV_", "PYTHON"))}

    def call(program: str, *args: str) -> "subprocess.CompletedProcess[str]":
        command = [installed.with_name(program), *args]
        return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)

    return call
