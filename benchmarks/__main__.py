"""Run every benchmark in a process of its own, and keep the JSON."""

from __future__ import annotations

import argparse
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import benchmarks
from benchmarks.rows import table

NOT_BENCHMARKS = {
    "__main__", "bm25", "codebook_data", "data", "office", "online_stores", "publish_readers", "query_data", "query_report",
    "rows", "sasrec", "sasrec_training", "search_case", "serving_case", "training_sides",
}  # fmt: skip


def main() -> int:
    """``python -m benchmarks [--size small|full] [--output DIR] [NAME...]``; 1 when one of them failed."""
    known = sorted(
        module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in NOT_BENCHMARKS
    )
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; all by default")
    parser.add_argument("--size", choices=("small", "full"), default="small")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"), metavar="DIR")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(known):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    rows, failed = [], []
    for name in arguments.names or known:
        file = arguments.output / f"{name}.json"
        print(f"{name} ...", file=sys.stderr, flush=True)
        call = [sys.executable, "-m", f"benchmarks.{name}", "--size", arguments.size, "--json", str(file)]
        if subprocess.run(call, check=False, stdout=subprocess.DEVNULL).returncode == 0:
            rows += json.loads(file.read_text())
        else:
            failed.append(name)
    print(table(rows))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
