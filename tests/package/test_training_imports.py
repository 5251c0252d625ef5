"""A machine that only trains has torch and transformers, and neither scipy nor a database."""

from __future__ import annotations

import subprocess
import sys

import pytest

ABSENT = ("scipy", "duckdb", "sqlalchemy", "polars", "feast", "click", "jinja2")


@pytest.mark.parametrize("module", ["semconv.train.group", "semconv.train.scoring", "semconv.train.calibration"])
def test_a_training_needs_no_other_packages(module: str) -> None:
    program = f"import sys\nfor name in {ABSENT}:\n    sys.modules[name] = None\nimport {module}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
