"""Tests of help, start-up time and generated pages."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import semconv
from semconv.settings.tree import iter_options
from semconv_cli.main import COMMANDS, cli
from semconv_cli.reference import command_contexts, pages
from tests.worlds.paths import ROOT

HEAVY = {
    "torch",
    "transformers",
    "peft",
    "feast",
    "polars",
    "pyarrow",
    "duckdb",
    "sqlalchemy",
    "numpy",
    "pandas",
    "rich",
    "jinja2",
}
CONTEXTS = list(command_contexts())


def test_help_loads_nothing_heavy() -> None:
    program = "import json, sys\nfrom semconv_cli.main import main\ntry:\n    main()\nfinally:\n    print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "semconv_cli.commands.sql" in loaded  # the list of commands was built
    assert loaded & HEAVY == set()


def test_project_loads_no_model_library() -> None:
    program = "import json, sys\nimport semconv_warehouse.project\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) & {"torch", "transformers", "peft", "feast"} == set()


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda context: context.command_path)
def test_command_and_options_are_documented(context: click.Context) -> None:
    assert context.command.help
    assert not context.command.get_short_help_str(63).endswith("..."), "the list of commands would cut this help"
    for parameter in context.command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda context: context.command_path)
def test_help_of_every_command(context: click.Context) -> None:
    result = CliRunner().invoke(cli, [*context.command_path.split()[1:], "--help"])
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: {context.command_path.replace('semconv', 'semconv', 1)}")
    assert result.stderr == ""


def test_commands_are_those_of_the_contract() -> None:
    paths = {context.command_path.removeprefix("semconv ") for context in CONTEXTS}
    assert set(COMMANDS) <= paths
    assert {
        "ingest interactions", "ingest items", "ingest amazon", "ingest movielens", "ingest lcrec", "backbone create", "backbone use",
        "embed behavior", "embed text", "codebook fit", "codebook assign", "codebook report", "prompts export",
        "recommend load", "features apply", "features materialize", "features status", "features get",
        "show user", "show item",
    } <= paths  # fmt: skip


@pytest.mark.parametrize("name", sorted(pages()))
def test_generated_pages_are_up_to_date(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == pages()[name], "`make docs` writes it"


def test_every_setting_is_on_the_page() -> None:
    page = pages()["settings.md"]
    for section, field, _ in iter_options():
        assert f"| `{field.name}` |" in page.split(f"## [{section}]")[1].split("\n## ")[0]


def test_module_is_the_same_program() -> None:
    module = subprocess.run([sys.executable, "-m", "semconv_cli", "--version"], capture_output=True, text=True)
    assert (module.returncode, module.stdout) == (0, f"semconv {semconv.__version__}\n")
    script = subprocess.run([Path(sys.executable).with_name("semconv"), "--version"], capture_output=True, text=True)
    assert (script.returncode, script.stdout) == (module.returncode, module.stdout)
