"""Run benchmarks, each in its own process, print a table of all figures, and keep them as JSON."""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.rows import table

BENCHMARKS = {
    name: f"benchmarks.{folder}.{name}"
    for folder, names in {
        "ingest": ("events",),
        "codes": ("codebook", "codebook_ablation", "literal"),
        "training": ("behavior", "forms", "training"),
        "search": ("beam_search", "blended", "compiled", "item_search", "trie", "recommend", "recommend_job"),
        "serving": ("lookup", "nights", "publish"),
        "peers": ("quality", "query"),
    }.items()
    for name in names
}


def main() -> int:
    """Run the named benchmarks; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog="benchmarks:\n" + "\n".join(f"  {name:<18} {title_of(module)}" for name, module in BENCHMARKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run; default: all")
    parser.add_argument("--size", choices=("small", "full"), default="small", help="amount of data; default: small")
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results"), metavar="DIR", help="folder of the JSON files"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; choose from {', '.join(BENCHMARKS)}")
    rows, failed = [], []
    for name in arguments.names or BENCHMARKS:
        file = arguments.output / f"{name}.json"
        print(f"{name} ...", file=sys.stderr, flush=True)
        call = [sys.executable, "-m", BENCHMARKS[name], "--size", arguments.size, "--json", str(file)]
        if subprocess.run(call, check=False, stdout=subprocess.DEVNULL).returncode == 0:
            rows += json.loads(file.read_text())
        else:
            failed.append(name)
    print(table(rows))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def title_of(module: str) -> str:
    """Return the first line of a module's docstring. The module is not imported, since imports take seconds."""
    file = Path(__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py")
    return (ast.get_docstring(ast.parse(file.read_text())) or "").splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
