"""Thirty nights of a shop with three faults: each is refused on its night, and no good night is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from semconv_warehouse.project import Project
from tests.worlds import dated
from tests.worlds import projects as case
from tests.worlds.clock import clock_at
from tests.worlds.gated import semconv

pytestmark = pytest.mark.slow

CUT_FILE, NO_EVENTS, COLLAPSED = 7, 15, 22
FIRST_NIGHT = datetime(2015, 8, 1, 2, tzinfo=UTC)
SETTINGS = dated.SETTINGS[: dated.SETTINGS.index("[gates]")] + "[gates]\nmax_days_without_events = 1\n"
REFIT = ("--refit",)
# A model that learned nothing, on codes of poor vectors, without the counts that make even such a model a good one.
BROKEN = tuple(
    f"--set={setting}"
    for setting in (
        "behavior.dimensions=2",
        "tuning.epochs=1",
        "tuning.learning_rate=1e-9",
        "tuning.successor_items=0",
    )
)


@dataclass
class Shop:
    """The project, and the last item of each user."""

    root: Path
    inputs: Path
    latest: dict[str, int]
    events: int = 1000  # number of events so far, which is the position of the next one
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def catalogue(self, items: int) -> Path:
        return case.write_lines(self.inputs / "items.jsonl", [case.item(number) for number in range(items)])

    def day(self, night: datetime) -> Path:
        """Write the interactions of the day before a night: a quarter of the users go on as they always do."""
        rows: list[dict[str, Any]] = []
        for user in self.rng.choice(sorted(self.latest), len(self.latest) // 4, replace=False).tolist():
            self.latest[user] = (self.latest[user] + int(self.rng.integers(1, 3))) % case.NUM_ITEMS
            moment = night - timedelta(hours=int(self.rng.integers(3, 20)))
            item, self.events = case.item_id(self.latest[user]), self.events + 1
            row = {"user_id": user, "item_id": item, "source_position": self.events}
            rows.append({**row, "event_time": moment.isoformat()})
        return case.write_lines(self.inputs / "events.jsonl", rows)

    def job(self, number: int, before: tuple[str, ...] = (), refit: tuple[str, ...] = ()) -> Iterator[Result]:
        """Run the commands of a night one after the other; a cron job with `set -e` stops after the first failure."""
        night = FIRST_NIGHT + timedelta(days=number)
        with clock_at(night):
            items = 12 if number == CUT_FILE else case.NUM_ITEMS
            yield semconv(self.root, "ingest", "items", self.catalogue(items), "--snapshot")
            if number != NO_EVENTS:
                yield semconv(self.root, "ingest", "interactions", self.day(night))
            yield semconv(self.root, *before, "run", *refit)
            yield semconv(self.root, "check")

    def served(self) -> tuple[int, int]:
        found = self.root.joinpath("data", "serving.duckdb").stat()
        return found.st_ino, found.st_mtime_ns

    def available(self) -> int:
        return int(case.rows(Project.open(self.root), "SELECT count(*) FROM item WHERE is_available")[0][0])


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with dated events of half a year, whose first lists are published."""
    root = Path(shutil.copytree(dated.tuned_template(), tmp_path / "project"))
    (root / "semconv.toml").write_text(SETTINGS)
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    shop = Shop(root, inputs, {user: items[-1] for user, items in case.histories().items()})
    with clock_at(FIRST_NIGHT):
        for words in (("ingest", "interactions", shop.day(FIRST_NIGHT)), ("run", "--refit")):
            first = semconv(root, *words)
            assert first.exit_code == 0, first.stderr
    return shop


def test_each_fault_is_refused_on_its_night_and_no_good_night_is(shop: Shop) -> None:
    refused: dict[int, str] = {}
    for number in range(1, 31):
        before, items = shop.served(), shop.available()
        is_refit = number % 10 == 0 or number == COLLAPSED
        job = shop.job(number, BROKEN if number == COLLAPSED else (), REFIT if is_refit else ())
        for done in job:
            if done.exit_code:
                assert done.exit_code == 1, (number, done.stderr)
                (refused[number],) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
                break
        is_new = shop.served() != before
        assert is_new == (number not in refused), number
        assert shop.available() == items == case.NUM_ITEMS
        if number == COLLAPSED:
            with clock_at(FIRST_NIGHT + timedelta(days=number, hours=8)):
                morning = semconv(shop.root, "discard")  # the operator
                assert morning.exit_code == 0, (refused, morning.stderr)
    assert sorted(refused) == [CUT_FILE, NO_EVENTS, COLLAPSED], refused
    assert "gate max_removed: the snapshot would remove 48 of 60 available items" in refused[CUT_FILE]
    assert "gate max_days_without_events" in refused[NO_EVENTS]
    assert "gate max_quality_drop" in refused[COLLAPSED]
    assert "`semconv discard finetune-" in refused[COLLAPSED]
