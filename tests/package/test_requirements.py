"""The files in requirements/: the version and the hashes of every package, and that `make` installs from nothing else."""

import itertools
import re
import subprocess
import tomllib
from collections import deque
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.worlds.paths import ROOT

FILES = sorted((ROOT / "requirements").glob("*.txt"))
PINNED = re.compile(r"([a-z0-9-]+)==([\w.+]+)(?: ; ([^;]+?))?((?: --hash=sha256:[0-9a-f]{64})+)")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
PIP = ".venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps "
HASHED = re.compile(re.escape(PIP) + r"--require-hashes --only-binary :all: -r requirements/([\w-]+\.txt)")
PROJECT_ALONE = PIP + "--no-build-isolation -e ."


def logical_lines(file: Path) -> list[str]:
    """Return the lines that pip sees: continued lines joined, without comments and empty lines."""
    text = re.sub(r"\s*\\\n\s*", " ", file.read_text())
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def pins(*names: str) -> dict[str, str]:
    """Return the version of every package in these files."""
    lines = itertools.chain.from_iterable(logical_lines(ROOT / "requirements" / name) for name in names)
    return {match[1]: match[2] for match in map(PINNED.fullmatch, lines) if match is not None}


def needed(requirement: Requirement, seen: set[str]) -> Iterator[Requirement]:
    """Yield the requirement and all that its installed package needs on this machine, each package and extra once."""
    queue = deque([requirement])
    while queue:
        current = queue.popleft()
        yield current
        for extra in current.extras | {""}:
            key = f"{canonicalize_name(current.name)}[{extra}]"
            if key in seen:
                continue
            seen.add(key)
            try:
                found = requires(current.name) or []
            except PackageNotFoundError:
                continue
            children = map(Requirement, found)
            queue.extend(child for child in children if not child.marker or child.marker.evaluate({"extra": extra}))


def dry_run(*targets: str) -> list[str]:
    """Return the commands of these targets as make would run them, the installation included."""
    command = ["make", "--dry-run", "--always-make", *targets]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_line_is_an_exact_version_with_hashes(file: Path) -> None:
    option, *lines = logical_lines(file)
    assert option == "--only-binary :all:"
    assert lines
    for line in lines:
        match = PINNED.fullmatch(line)
        assert match is not None, f"{line[:80]}: not an exact version with hashes"
        if match[3]:
            Marker(match[3])  # raises for a marker that pip would refuse
    assert "://" not in file.read_text()


def test_no_package_has_two_versions() -> None:
    for one, other in itertools.combinations([file.name for file in FILES], 2):
        both = pins(one).keys() & pins(other).keys()
        assert both == ({"torch"} if {one, other} == {"torch.txt", "torch-cpu.txt"} else set()), (one, other)
    assert pins("torch-cpu.txt")["torch"] == pins("torch.txt")["torch"] + "+cpu"


@pytest.mark.parametrize(
    ("requirements", "files"),
    [
        (PROJECT["project"]["dependencies"], ["dev.txt", "torch.txt"]),
        (PROJECT["project"]["dependencies"], ["dev.txt", "torch-cpu.txt"]),
        (PROJECT["build-system"]["requires"], ["dev.txt"]),
        (EXTRAS["dev"], ["dev.txt"]),
        (EXTRAS["ray"], ["dev.txt", "ray.txt"]),
        (EXTRAS["redis"] + EXTRAS["postgres"], ["dev.txt", "online.txt"]),
        (EXTRAS["gguf"], ["dev.txt", "pretrained/smollm2.txt"]),
        (PROJECT["dependency-groups"]["lock"], ["lock.txt"]),
    ],
    ids=["torch", "torch-cpu", "build", "dev", "ray", "online", "gguf", "lock"],
)
def test_every_requirement_and_what_it_needs_is_pinned(requirements: list[str], files: list[str]) -> None:
    pinned, seen = pins(*files), set[str]()
    for line in requirements:
        for requirement in needed(Requirement(line), seen):
            name = canonicalize_name(requirement.name)
            assert name in pinned, f"{line} needs {requirement}: not in {files}; run `make lock`"
            assert requirement.specifier.contains(pinned[name]), f"{requirement}: {pinned[name]} in {files}"


def test_every_extra_and_group_is_covered() -> None:
    assert EXTRAS.keys() == {"dev", "ray", "gguf", "redis", "postgres"}
    assert PROJECT["dependency-groups"].keys() == {"lock"}


def test_make_installs_from_these_files_alone() -> None:
    lines = dry_run("test", "test-slow", "test-services", "lock", "bench", "demo", "docs", "format")
    text = "\n".join(lines).replace(PROJECT_ALONE, "")
    used = HASHED.findall(text)
    assert set(used) == {file.name for file in FILES}
    assert len(re.findall(r"\bpip install\b|\buv (?:pip|sync|run)\b|\bpipx?\b (?!install|check)", text)) == len(used)
    assert PROJECT_ALONE in lines
    first = [match[1] for match in map(HASHED.match, lines) if match is not None][:2]
    assert first == ["dev.txt", "torch-cpu.txt"]


def test_a_changed_file_is_installed_again() -> None:
    rules = subprocess.run(["make", "-pn", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = re.search(r"^\.venv/\.installed: (.*)$", rules, flags=re.MULTILINE)
    assert found is not None
    assert {"pyproject.toml", *(f"requirements/{name}.txt" for name in ("dev", "torch", "torch-cpu"))} <= set(
        found[1].split()
    )
