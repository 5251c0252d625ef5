"""Tests of rules that no linter checks: SQL headers, sizes of files and functions, reasons for dependencies."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from semconv.errors import SettingsError
from semconv.settings.load import load_settings
from semconv.settings.text import settings_template
from semconv.settings.tree import Settings
from tests.worlds.paths import ROOT

SQL = sorted((ROOT / "sql").rglob("*.sql"))
PYTHON = sorted(
    path
    for folder in ("semconv", "cli", "warehouse", "feature_repo", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)
MOST_LINES, MOST_LINES_OF_FUNCTION = 400, 60  # aim for 300 and 40


@pytest.mark.parametrize("path", SQL, ids=lambda path: str(path.relative_to(ROOT)))
def test_sql_file_names_its_database(path: Path) -> None:
    assert re.match(r"-- database: (warehouse|generation|serving|publish|memory)\b", path.read_text())


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= MOST_LINES_OF_FUNCTION, f"{node.name} has {length} lines"


def test_every_dependency_says_why() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for line in re.findall(r'^    "[\w-]+(?:\[\w+\])?>=.*$', text, flags=re.MULTILINE):
        assert re.search(r"# \w", line), line


@pytest.mark.slow
def test_stages_run_without_storage_libraries() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    packages = next(c["source_modules"] for c in contracts if c.get("forbidden_modules") == ["polars", "pyarrow"])
    assert "semconv.tuning" in packages
    program = (
        "import sys\n"
        "for name in ('polars', 'pyarrow', 'duckdb', 'sqlalchemy', 'feast', 'click', 'rich'):\n    sys.modules[name] = None\n"
        "import importlib, pkgutil\n"
        f"for name in {packages!r}:\n"
        "    package = importlib.import_module(name)\n"
        "    for module in pkgutil.iter_modules(package.__path__):\n"
        "        importlib.import_module(f'{name}.{module.name}')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_settings_template_is_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "semconv.toml"
    file.write_text(settings_template())
    assert load_settings(file, environment={}) == Settings()
    tomllib.loads(settings_template())


def test_settings_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "semconv.toml"
    file.write_text("\ufeff[tuning]\nepochs = 3\n", encoding="utf-8")
    assert load_settings(file, environment={}).tuning.epochs == 3
    file.write_bytes(b"[tuning]\n# caf\xe9\n")
    with pytest.raises(SettingsError, match="not valid TOML"):
        load_settings(file, environment={})


def test_settings_template_uncommented_is_the_defaults_too(tmp_path: Path) -> None:
    text = re.sub(r"^# (?=\w+ = )", "", settings_template(), flags=re.MULTILINE)
    values = tomllib.loads(text)
    assert values["tuning"]["warmup"] == Settings().tuning.warmup
    assert sum(map(len, values.values())) == settings_template().count("\n# ") - text.count("\n# ")
    file = tmp_path / "semconv.toml"
    file.write_text(text)
    assert load_settings(file, environment={}) == Settings()
