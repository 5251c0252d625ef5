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
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent
FOLDER = ROOT / "requirements"
LAYERS = {  # what each file adds to dev.txt
    "ray": ["--extra", "ray"],
    "online": ["--extra", "redis", "--extra", "postgres"],
    "lock": ["--group", "lock"],
}
DEV = ["--extra", "dev"]
CUDA = re.compile(r"nvidia-.*|cuda-.*|triton")  # packages that torch's CUDA build needs and its CPU build does not
ENTRY = re.compile(r"^([\w.-]+)==(\S+).*\n(?:[ ]+.*\n)*", re.MULTILINE)
HEADER = "# {about}\n# Written by `make lock`. Do not edit.\n--only-binary :all:\n"
ABOUT = {
    "dev": "The program, its development tools and what builds it.",
    "ray": "Ray, in addition to dev.txt.",
    "online": "Clients of Redis and PostgreSQL, in addition to dev.txt.",
    "lock": "The resolver that writes these files, in addition to dev.txt.",
    "cuda": "What torch needs in addition to dev.txt if it is not the CPU build.",
}


def main() -> None:
    """Resolve everything together, then split the result into files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    upgrade = parser.parse_args().upgrade
    known = "" if upgrade else "".join(path.read_text() for path in sorted(FOLDER.glob("*.txt")))
    both = sum(LAYERS.values(), DEV)
    entries = {match[1]: match[0] for match in ENTRY.finditer(compiled(both, known))}
    everything = "".join(entries.values())
    entries["torch"] = with_cpu_wheels(entries["torch"])
    cuda = {name for name in entries if CUDA.fullmatch(name)}
    dev = names(DEV, everything) - cuda
    write("dev", (entries[name] for name in sorted(dev)))
    write("cuda", (entries[name] for name in sorted(cuda)))
    for layer, choice in LAYERS.items():
        write(layer, (entries[name] for name in sorted(names(choice, everything) - cuda - dev)))


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


def names(choice: list[str], known: str) -> set[str]:
    """Return the names of all packages that the chosen extras and groups need."""
    return {match[1] for match in ENTRY.finditer(compiled(choice, known))}


def with_cpu_wheels(entry: str) -> str:
    """Add the hashes of torch's CPU build to the entry of torch."""
    version = re.match(r"torch==(\S+)", entry)[1]  # type: ignore[index]
    listed = (FOLDER / "torch-cpu.sha256").read_text()
    hashes = re.findall(rf"^(\w{{64}})  torch-{re.escape(version)}\+cpu-", listed, flags=re.MULTILINE)
    if not hashes:
        sys.exit(f"requirements/torch-cpu.sha256 lists no wheel of torch {version}: add the lines of its CPU build")
    first, _, rest = entry.partition("\n")
    return "\n".join([first, *(f"    --hash=sha256:{each} \\" for each in hashes), rest])


def write(name: str, entries: Iterable[str]) -> None:
    """Write one file of requirements."""
    (FOLDER / f"{name}.txt").write_text(HEADER.format(about=ABOUT[name]) + "".join(entries))


if __name__ == "__main__":
    main()
