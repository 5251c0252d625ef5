"""When a refit is due, why, and what a nightly run then does: on a small shop that grows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from semconv_warehouse.project import Project
from tests.worlds import projects as case
from tests.worlds.reading import reading
from tests.worlds.stages.refit import COLD, buy, make_published, opened

STRICT = {
    "refit__text_coded_share": 0,
    "refit__largest_first_code_growth": 1,
    "refit__text_error_growth": 1,
    "refit__interactions_growth": 1,
}
LAX = {
    "refit__text_coded_share": 1,
    "refit__largest_first_code_growth": 99,
    "refit__text_error_growth": 99,
    "refit__interactions_growth": 99,
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests work on copies."""
    return make_published(tmp_path_factory.mktemp("shop") / "project")


@pytest.fixture
def root(published: Path, tmp_path: Path) -> Path:
    return shutil.copytree(published, tmp_path / "project")


def add_items(root: Path, items: list[dict[str, Any]]) -> None:
    """New items with their codes."""
    rows = [{**item, "item_id": f"x{number:03d}"} for number, item in enumerate(items)]
    opened(root).ingest_items([case.write_lines(root / "inputs" / "new.jsonl", rows)], {})
    opened(root).codebook_assign()


def due(root: Path, **limits: float) -> dict[str, dict[str, Any]]:
    """The figures of the code report that pass their limits, by name."""
    report = opened(root, **limits).codebook_report()["refit"]
    found = {row["name"]: row for row in report["drift"] if row["is_due"]}
    assert report["is_due"] == bool(found)
    assert len(report["reasons"]) == len(found)
    return found


def served_generation(project: Project) -> int:
    with reading(project.layout.serving) as connection:
        return int(connection.execute("SELECT max(generation) FROM recommendation").fetchall()[0][0])


def test_right_after_a_fit_nothing_is_due_whatever_the_limits(root: Path) -> None:
    report = opened(root).codebook_report()
    assert report["items_assigned_since"] == COLD
    assert due(root, **STRICT) == {}
    assert opened(root, **STRICT, refit__automatic=True).publish_due(refit=False).refit["is_done"] is False


def test_growth_of_the_interactions_is_counted_from_the_tuning(root: Path) -> None:
    histories = case.histories().values()
    at_fit = sum(len(items) - 2 if len(items) >= 3 else len(items) for items in histories)
    buy(root, [1, 2, 3, 4, 5], users=20)
    row = due(root, **{**LAX, "refit__interactions_growth": 1.1})["train_interactions"]
    assert (row["at_fit"], row["now"]) == (at_fit, at_fit + 20 * 3)
    assert due(root, **{**LAX, "refit__interactions_growth": row["now"] / at_fit + 0.001}) == {}


def test_items_that_outgrew_their_text_are_counted_and_cold_ones_are_not(root: Path) -> None:
    sold = [case.NUM_ITEMS, case.NUM_ITEMS + 1]
    buy(root, [*sold, 1, 2], users=3)
    row = due(root, **{**LAX, "refit__text_coded_share": 0.01})["outgrown_share"]
    assert row["now"] == pytest.approx(len(sold) / (case.NUM_ITEMS + COLD))


def test_new_items_that_crowd_one_code(root: Path) -> None:
    add_items(root, [case.item(0)] * 24)
    row = due(root, **{**LAX, "refit__largest_first_code_growth": 1.05})["largest_first_code"]
    counts = [count for (count,) in case.rows(opened(root), "SELECT count(*) FROM item_code GROUP BY codes[1]")]
    assert row["now"] == max(counts) / (case.NUM_ITEMS + COLD + 24)
    assert row["at_fit"] < row["now"] / 1.05


def test_new_items_far_from_the_books_are_told_from_items_like_those_of_the_fit(root: Path) -> None:
    shutil.copytree(root, root.with_name("odd"))
    add_items(root, [case.item(number) for number in range(0, 48, 2)])
    assert "text_error" not in due(root)
    add_items(root.with_name("odd"), [{"title": "quantum zither xylophone"}] * 24)
    row = due(root.with_name("odd"))["text_error"]
    assert row["now"] > row["limit"] == 1.5 * row["at_fit"]


def test_too_few_new_items_say_nothing_about_the_books(root: Path) -> None:
    add_items(root, [{"title": "quantum zither xylophone"}] * 19)
    row = opened(root, **STRICT).codebook_report()["refit"]["drift"][2]
    assert (row["now"], row["is_due"]) == (None, False)


def test_a_refit_that_is_due_is_named_and_left_to_the_user(root: Path) -> None:
    buy(root, [1, 2, 3, 4, 5], users=40)
    project = opened(root)
    model = project.workspace.need("finetune").run_id
    night = project.publish_due(refit=False)
    assert night.refit["is_due"]
    assert not night.refit["is_done"]
    assert night.refit["reasons"] == project.codebook_report()["refit"]["reasons"]
    (line,) = [line for line in project.progress.said if line.startswith("a refit is due: ")]
    assert "training interactions" in line
    assert "the current model stays in use until `semconv run --refit`" in line
    assert project.workspace.need("finetune").run_id == model
    assert night.publication.generation == 2  # those who are new have lists all the same


class Watching(case.Remarks):
    """Notes which generation is served whenever a stage is said to be done."""

    project: Project

    def __init__(self) -> None:
        super().__init__()
        self.served: dict[str, int] = {}

    def say(self, message: str) -> None:
        super().say(message)
        if ": done in" in message:
            self.served[message.split(":")[0]] = served_generation(self.project)


@pytest.mark.slow
def test_an_automatic_refit_makes_all_anew_and_publishes_last(root: Path) -> None:
    buy(root, [1, 2, 3, 4, 5], users=40)
    watching = Watching()
    watching.project = project = Project.open(root, overrides={"refit.automatic": True}, progress=watching)
    before = {stage: project.workspace.need(stage).run_id for stage in ("embed_behavior", "codebook", "finetune")}
    night = project.publish_due(refit=False)
    assert night.refit["is_due"]
    assert night.refit["is_done"]
    assert all(project.workspace.need(stage).run_id != run_id for stage, run_id in before.items())
    assert {watching.served[stage] for stage in ("codebook", "finetune", "recommend")} == {1}
    assert served_generation(project) == night.publication.generation == 2
    states = {row["stage"]: row["state"] for row in night.stages}
    assert {states[stage] for stage in before} == {"done"}
    again = Project.open(root, overrides={"refit.automatic": True}).publish_due(refit=False)
    assert (again.refit["is_due"], again.publication.is_new) == (False, False)
