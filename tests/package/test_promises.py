"""Each promise of docs/security.md names its tests, and these tests exist and run."""

import ast
import re
from functools import cache

import pytest

from tests.worlds.paths import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()
TABLE = "## Each promise and its tests"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
SECTIONS = set(re.findall(r"^## (.+)$", PAGE, flags=re.MULTILINE)) - {TABLE.removeprefix("## ")}
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.partition(f"{TABLE}\n")[2].splitlines()
    if line.startswith("| ") and not line.startswith(("| section |", "|---"))
]


@cache
def functions_of(file: str) -> dict[str, list[str]]:
    """Return the decorators of each function in a file."""
    tree = ast.parse((ROOT / file).read_text())
    return {
        node.name: [ast.unparse(decorator) for decorator in node.decorator_list]
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1][:60])
def test_a_promise_names_tests_that_exist(row: list[str]) -> None:
    section, promise, tests = row
    assert section in SECTIONS
    assert promise.endswith(".")
    named = NAMED.findall(tests)
    assert named
    assert NAMED.sub("", tests).replace(",", "").strip() == ""
    for file, name in named:
        assert name.startswith("test_")
        assert name in functions_of(file), f"{file} has no {name}"
        assert not any(re.search(r"mark\.(?:skip|xfail)\b", decorator) for decorator in functions_of(file)[name])


def test_each_section_has_promises_with_tests() -> None:
    assert {row[0] for row in ROWS} == SECTIONS
    assert len({row[1] for row in ROWS}) == len(ROWS)
