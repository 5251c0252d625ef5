"""The check of import cycles sees imports of every kind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.package.import_cycles import PACKAGES, cycles, import_graph, levels, main

AT_THE_TOP = "from {package} import {other}\n"
FOR_TYPES = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from {package} import {other}\n"
INSIDE = "def work():\n    from {package} import {other}\n    return {other}\n"


def plant(folder: Path, package: str, first: str, second: str) -> None:
    root = folder / package
    root.mkdir()
    (root / "__init__.py").write_text("")
    (root / "one.py").write_text(first.format(package=package, other="two"))
    (root / "two.py").write_text(second.format(package=package, other="one"))


@pytest.mark.parametrize("back", [AT_THE_TOP, FOR_TYPES, INSIDE], ids=["top", "types", "function"])
def test_a_planted_cycle_is_found(
    back: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = f"planted_{[AT_THE_TOP, FOR_TYPES, INSIDE].index(back)}"
    plant(tmp_path, package, AT_THE_TOP, back)
    monkeypatch.syspath_prepend(tmp_path)
    assert cycles(import_graph(package)) == [[f"{package}.one", f"{package}.two"]]
    assert main([package]) == 1
    assert f"import cycle: {package}.one, {package}.two" in capsys.readouterr().out


def test_a_chain_is_no_cycle_and_its_levels_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, "chained", AT_THE_TOP, "")
    monkeypatch.syspath_prepend(tmp_path)
    graph = import_graph("chained")
    assert cycles(graph) == []
    assert levels(graph) == 2
    assert "chained" not in sys.modules  # the modules are read, not run


def test_the_product_has_no_cycle() -> None:
    assert cycles(import_graph(*PACKAGES)) == []
