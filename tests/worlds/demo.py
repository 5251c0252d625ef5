"""The demo at a small size, as several tests need it."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from semconv.progress import Silent
from semconv_warehouse.demo.catalog import DemoShape
from semconv_warehouse.demo.demo import DemoResult, run_demo
from semconv_warehouse.project import Project

SHAPE = DemoShape(users=150, longest=12, cold_items=5)
_QUICK = {
    "TUNING_EPOCHS": "1",
    "TUNING_VALIDATION_USERS": "0",
    "BACKBONE_WIDTH": "32",
    "BACKBONE_LAYERS": "1",
    "BACKBONE_VOCABULARY": "600",
}


@dataclass(frozen=True)
class Demo:
    """Where it lies, and what it showed."""

    folder: Path
    result: DemoResult


@contextmanager
def quickly() -> Iterator[None]:
    """Settings of a small model, for what is run inside the block."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _QUICK.items():
            patch.setenv(f"SEMCONV_{name}", value)
        yield


def make_demo(folder: Path) -> Demo:
    """Everything from nothing to a published list; in the same folder again, what is there is shown."""
    with quickly():
        return Demo(folder, run_demo(folder, Silent(), SHAPE))


def make_saved_demo(folder: Path) -> None:
    """Make the demo in a folder, and keep what it showed beside it, for other processes of the test run."""
    demo = make_demo(folder / "shop")
    with quickly():
        Project.open(demo.folder).recommend_query("tripod")
    (folder / "demo").write_bytes(pickle.dumps(demo))


def saved_demo(folder: Path) -> Demo:
    """Return the demo that :func:`make_saved_demo` made in ``folder``."""
    demo: Demo = pickle.loads((folder / "demo").read_bytes())
    return demo
