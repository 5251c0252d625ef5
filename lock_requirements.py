"""Write the files in requirements/: every package that `make` installs, with its version and the hashes of its files.

uv resolves pyproject.toml for all platforms and Python versions at once. Versions stay as they are in the files unless
pyproject.toml excludes them; ``--upgrade`` takes the newest ones instead.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent
FOLDER = ROOT / "requirements"
DEV = ["--extra", "dev"]
ADDED = {  # what the other files need in addition to dev.txt
    "ray": ["--extra", "ray"],
    "online": ["--extra", "redis", "--extra", "postgres"],
    "lock": ["--group", "lock"],
}
ABOUT = {
    "dev": "The program, its development tools and what builds it, without torch.",
    "torch": "torch as the ordinary package index has it. On Linux this is the CUDA build with its libraries.",
    "ray": "Ray, in addition to dev.txt.",
    "online": "Clients of Redis and PostgreSQL, in addition to dev.txt.",
    "lock": "The resolver that writes these files.",
}
TORCH = re.compile(r"torch|triton|nvidia-.*|cuda-.*")  # torch and the packages that only its CUDA build needs
ENTRY = re.compile(r"^([\w.-]+)==(\S+).*\n(?:[ ]+.*\n)*", re.MULTILINE)


def main() -> None:
    """Resolve everything together, then split the result into files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    upgrade = parser.parse_args().upgrade
    known = "" if upgrade else "".join((FOLDER / f"{name}.txt").read_text() for name in ABOUT)
    entries = {match[1]: match[0] for match in ENTRY.finditer(compiled(sum(ADDED.values(), DEV), known))}
    everything = "".join(entries.values())
    files = {"dev": names(DEV, everything)}
    files |= {name: names(choice, everything) - files["dev"] for name, choice in ADDED.items()}
    files["torch"] = {name for name in entries if TORCH.fullmatch(name)}
    for file, content in files.items():
        kept = content if file == "torch" else content - files["torch"]
        lines = [f"# {ABOUT[file]}\n# Written by `make lock`. Do not edit.\n--only-binary :all:\n"]
        (FOLDER / f"{file}.txt").write_text("".join(lines + [entries[name] for name in sorted(kept)]))
    version = re.findall(r"^torch==(\S+)", entries["torch"])[0]
    if f"torch=={version}+cpu " not in (FOLDER / "torch-cpu.txt").read_text():
        sys.exit(f"requirements/torch-cpu.txt: write the hashes of the CPU build of torch {version} into it")


def names(choice: list[str], known: str) -> set[str]:
    """Return the names of all packages that the chosen extras and groups need."""
    return {match[1] for match in ENTRY.finditer(compiled(choice, known))}


def compiled(choice: list[str], known: str) -> str:
    """Return uv's resolution of the chosen extras and groups, which prefers the versions in ``known``."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "requirements.txt")
        output.write_text(known)
        command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "-", *choice]
        options = ["--universal", "--generate-hashes", "--only-binary", ":all:", "--annotation-style", "line"]
        quiet = ["--no-config", "--no-header", "--quiet", "--output-file", str(output)]
        subprocess.run([*command, *options, *quiet], check=True, cwd=ROOT, input="\n".join(build), text=True)
        return output.read_text()


if __name__ == "__main__":
    main()
