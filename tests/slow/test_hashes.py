"""The real Makefile with small packages of its own: it refuses a file whose hash is another, and builds no source."""

import hashlib
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.worlds.paths import ROOT

pytestmark = pytest.mark.slow
FILES = {
    "tiny.py": "",
    "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
    "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "tiny-1.0.dist-info/RECORD": "",
}


def wheel(file: Path, code: str) -> str:
    """Write a wheel with one module; return its hash."""
    with zipfile.ZipFile(file, "w") as packed:
        for name, text in (FILES | {"tiny.py": code}).items():
            packed.writestr(name, text)
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout that has a Makefile and no installed packages."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("requirements", "wheels"):
        (folder / name).mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("torch", "torch-cpu"):
        (folder / "requirements" / f"{name}.txt").write_text("")
    return folder


@pytest.fixture(autouse=True)
def no_wheels(folder: Path) -> None:
    shutil.rmtree(folder / "wheels")
    (folder / "wheels").mkdir()


def make(folder: Path, digest: str) -> "subprocess.CompletedProcess[str]":
    """Let make install tiny 1.0 with this hash from the folder of wheels, without a network."""
    (folder / "requirements/dev.txt").write_text(f"tiny==1.0 --hash=sha256:{digest}\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON", "MAKE"))}
    environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder / "wheels"), "PIP_CONFIG_FILE": os.devnull}
    command = ["make", ".venv/.installed"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def installed(folder: Path) -> list[Path]:
    return list(folder.glob(".venv/lib/python*/site-packages/tiny*"))


def test_a_changed_package_is_refused(folder: Path) -> None:
    digest = wheel(folder / "wheels/tiny-1.0-py3-none-any.whl", "one = 1\n")
    wheel(folder / "wheels/tiny-1.0-py3-none-any.whl", "one = 2\n")
    done = make(folder, digest)
    assert done.returncode == 2
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not installed(folder)


def test_a_source_archive_is_not_built(folder: Path) -> None:
    run = folder / "ran"
    (folder / "setup.py").write_text(f"open({str(run)!r}, 'w')\nfrom setuptools import setup\nsetup(name='tiny')\n")
    archive = folder / "wheels/tiny-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder / "setup.py", "tiny-1.0/setup.py")
    done = make(folder, hashlib.sha256(archive.read_bytes()).hexdigest())
    assert done.returncode == 2
    assert "No matching distribution found for tiny==1.0" in done.stderr
    assert not run.exists()


def test_a_package_with_its_hash_is_installed(folder: Path) -> None:
    done = make(folder, wheel(folder / "wheels/tiny-1.0-py3-none-any.whl", "one = 1\n"))
    assert len(installed(folder)) == 2, done.stderr
