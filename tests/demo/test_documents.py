"""README and docs: every command, setting and link that they show exists."""

from __future__ import annotations

import configparser
import itertools
import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from semconv.settings.load import load_settings
from semconv.settings.tree import iter_options, sections
from semconv_cli.main import cli
from semconv_cli.state import State
from semconv_warehouse.demo.demo import next_commands
from semconv_warehouse.experiments.options import ExperimentOptions
from tests.worlds.paths import ROOT
from tests.worlds.projects import make_project

FILES = (".duckdb", ".safetensors")  # a section may be called as a file is
GENERATED = {"cli.md", "settings.md"}  # written from the code itself, with a test of their own
PAGES = [ROOT / "README.md", *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in GENERATED)]


def commands_of(page: Path) -> list[str]:
    """The `semconv ...` commands of a page: lines of shell blocks, and code between backticks."""
    text = page.read_text()
    blocks = re.findall(r"```(\w*)\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for language, block in blocks if language in ("", "bash") for line in whole_lines(block)]
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [line for line in (*lines, *inline) if line.startswith("semconv ")]


def whole_lines(block: str) -> list[str]:
    """The commands of a shell block; a quoted text or a backslash at the end goes on in the next line."""
    lines: list[str] = []
    for line in block.splitlines():
        if lines and not is_closed(lines[-1]):
            lines[-1] = lines[-1].removesuffix("\\") + "\n" + line
        else:
            lines.append(line)
    return lines


def is_closed(line: str) -> bool:
    try:
        shlex.split(line, comments=True)
    except ValueError:
        return False
    return not line.endswith("\\")


def parsed(line: str) -> click.Context:
    """Parse a command line as the entry point does, without running it; raises where it would be refused."""
    words = shlex.split(line, comments=True)[1:]
    args = list(
        itertools.takewhile(lambda word: not re.match(r"(?:2?>>?|<)(?!=)", word), words)
    )  # what the shell takes
    context = cli.make_context("semconv", args)
    while isinstance(context.command, click.Group):
        rest = [*context._protected_args, *context.args]
        if not rest and context.command.invoke_without_command:
            break
        name, command, rest = context.command.resolve_command(context, rest)
        assert command is not None
        context = command.make_context(name, rest, parent=context)
    return context


def is_name(line: str) -> bool:
    """Whether a text is the name of a command alone, such as `semconv ingest`, which a sentence may mention."""
    command: click.Command | None = cli
    for word in line.split()[1:]:
        if not isinstance(command, click.Group):
            return False
        command = command.get_command(click.Context(command), word)
    return command is not None


def scheduled_commands() -> list[str]:
    """The `semconv ...` commands inside crontabs, scripts, units and DAGs of the page about nights."""
    blocks = re.findall(
        r"```(?:sh|crontab|ini|python)\n(.*?)```", (ROOT / "docs" / "nights.md").read_text(), flags=re.DOTALL
    )
    lines = [line for block in blocks for line in block.splitlines() if not line.lstrip().startswith(("#", '"""'))]
    found = [
        match.group() for line in lines if (match := re.search(r"\bsemconv (?:--|ingest|run|prune|check).*", line))
    ]
    return [re.sub(r'",$', "", command.replace("{PROJECT}", "/srv/shop")) for command in found]


COMMANDS = [(page.name, line) for page in PAGES for line in commands_of(page) if not is_name(line)]
COMMANDS += [("nights.md", line) for line in scheduled_commands()]


def test_the_pages_show_commands() -> None:
    shown = {page for page, _ in COMMANDS}
    assert {"README.md", "data.md", "operations.md"} <= shown
    assert len(COMMANDS) > 30


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page}: {line}" for page, line in COMMANDS])
def test_command_parses(page: str, line: str) -> None:
    context = parsed(line)
    state = context.find_object(State) or State()
    load_settings(environment={}, overrides={**state.settings, **state.options})  # values are in range


TABLES = [line for page, line in COMMANDS if page == "experiments.md" and " experiment table" in line]


def test_the_page_on_experiments_shows_tables() -> None:
    assert len(TABLES) >= 5


@pytest.mark.parametrize("line", TABLES)
def test_a_table_that_a_page_shows_passes_all_checks_before_its_first_row(tmp_path: Path, line: str) -> None:
    given = parsed(line).params
    options = ExperimentOptions(given["split"], range(given["seeds"]), given["budget"] or 0, given["backbones"])
    experiment = make_project(tmp_path).experiment(given["table"], options)
    assert len(experiment.planned) >= 2


@pytest.mark.parametrize(
    "line", ["semconv recomend", "semconv run --refti", "semconv sql --query", "semconv publish --rollback now"]
)
def test_a_wrong_command_does_not_parse(line: str) -> None:
    assert not is_name(line)
    with pytest.raises((click.UsageError, click.exceptions.Exit)):
        parsed(line)


def test_the_demo_ends_with_three_commands_that_parse() -> None:
    lines = next_commands(Path("demo with space"), "user-0007")
    assert len(lines) == 3
    for line in lines:
        parsed(line)


def test_the_recipes_use_every_kind_of_scheduler_and_parse_as_python() -> None:
    assert len(scheduled_commands()) >= 13
    names = {parsed(line).command_path for line in scheduled_commands()}
    assert {"semconv run", "semconv check", "semconv prune", "semconv ingest items"} <= names
    text = (ROOT / "docs" / "nights.md").read_text()
    (dag,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    compile(dag, "dag.py", "exec")
    units = re.findall(r"```ini\n(.*?)```", text, flags=re.DOTALL)
    for unit in units:
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        parser.read_string(unit)
        assert "Unit" in parser
    (crontab,) = re.findall(r"```crontab\n(.*?)```", text, flags=re.DOTALL)
    jobs = [line for line in crontab.splitlines() if line and line[0] in "0123456789*"]
    assert all(re.match(r"(?:[\d*,/-]+\s+){5}\S", line) for line in jobs)
    for line in jobs:  # a bare percent sign ends a command of cron
        command = re.sub(r"\\%", "%", re.split(r"(?:\S+\s+){5}", line, maxsplit=1)[1])
        assert subprocess.run(["bash", "-n", "-c", command], capture_output=True).returncode == 0
        assert not re.search(r"(?<!\\)%", line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_named_on_a_page_exist(page: Path) -> None:
    known = {f"{section}.{field.name}" for section, field, _ in iter_options()}
    named = {
        name
        for name in re.findall(r"`(\w+\.\w+)(?:\s*=[^`]*)?`", page.read_text())
        if name.partition(".")[0] in sections() and not name.endswith(FILES)
    }
    assert named <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        assert (page.parent / path).exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", (page.parent / (path or page.name)).read_text(), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings}
