"""The small shop with some cold items after its first night, and customers who come later."""

from __future__ import annotations

from pathlib import Path

from semconv_warehouse.project import Project
from tests.worlds import projects as case

COLD = 8  # items that nobody has at the fit, coded from their text


def make_published(root: Path) -> Path:
    """Make a shop with some cold items and do its first night."""
    night = case.make_project(root, items=case.NUM_ITEMS + COLD).publish_due(refit=False)
    assert night.refit == {"is_due": False, "reasons": [], "is_done": True}
    assert night.publication.generation == 1
    return root


def opened(root: Path, **limits: float) -> Project:
    return Project.open(
        root,
        overrides={name.replace("__", ".", 1): value for name, value in limits.items()},
        progress=case.Remarks(),
    )


def buy(root: Path, numbers: list[int], users: int, start: int = 100) -> None:
    """New customers with the same items."""
    of = {f"new{user}": numbers for user in range(start, start + users)}
    file = case.write_lines(root / "inputs" / f"events{start}.jsonl", case.events(of))
    opened(root).ingest_interactions([file], {})
