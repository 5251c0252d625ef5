"""The table of docs/method.md from the paper to the code: it is complete, and its functions and commands exist."""

import importlib
import re
from typing import Any

import click
import pytest

from semconv_cli.main import cli
from semconv_warehouse.experiments.plan import shipped
from tests.worlds.paths import ROOT

PART = (ROOT / "docs" / "method.md").read_text().partition("## From the paper to the code\n")[2].partition("\n## ")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PART.splitlines()
    if line.startswith("| ") and not line.startswith("| paper |")
]
NAMES = re.compile(r"`([\w.]+)`")
NUMBERED = [
    *(f"Equation {n}" for n in range(1, 5)),
    *(f"Figure {n}" for n in range(1, 4)),
    *(f"Table {n}" for n in range(1, 9)),
]


def found(name: str) -> Any:
    """Import the object with this dotted name."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            value = getattr(value, attribute)
        return value
    raise ModuleNotFoundError(name)


def test_every_numbered_part_of_the_paper_has_a_row() -> None:
    assert set(NUMBERED) <= {row[0] for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}: {row[1][:40]}")
def test_functions_and_command_of_a_row_exist(row: list[str]) -> None:
    part, _, functions, command = row
    names = NAMES.findall(functions)
    assert names
    assert NAMES.sub("", functions).replace(",", "").strip() == ""
    for name in names:
        doc = found(name).__doc__
        assert doc, f"{name} has no docstring"
        if number := re.fullmatch(r"Equation (\d)", part):
            assert re.search(rf"eq\. {number[1]}\b", doc), f"the docstring of {name} does not name eq. {number[1]}"
    words = command.strip("`").split()
    assert words[0] == "semconv"
    node: click.Command = cli
    for word in words[1:]:
        if not isinstance(node, click.Group):
            assert node.name == "experiment"
            assert word in shipped()
            break
        context = click.Context(node)
        child = node.get_command(context, word)
        assert child is not None, command
        node = child


@pytest.mark.parametrize("row", [row for row in ROWS if row[0].startswith("Table")], ids=lambda row: row[0])
def test_a_table_names_its_own_experiment(row: list[str]) -> None:
    number = row[0].split()[1]
    statistics = "`semconv show data`"  # Table 2 tunes no model
    assert row[3] == (statistics if number == "2" else f"`semconv experiment table{number}`")
