"""Publish, ingest, forget and rollback under strace: the order of their calls, and every state that a power cut may leave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from semconv_cli.main import cli
from semconv_warehouse.project import Project
from semconv_warehouse.publish.generation_files import served_generation
from semconv_warehouse.publish.publishing import publish
from tests.worlds import erasing
from tests.worlds.faults.power_cut import Call, Disk, record, states, unsynced, write_state
from tests.worlds.faults.writing_commands import served, warehouse
from tests.worlds.published import add_recommend_run, copy_project, lists


@dataclass(frozen=True)
class Case:
    """A recorded command: the project before it, its calls, and what is served and stored afterwards."""

    before: Path
    disk: Disk
    words: tuple[str, ...]
    calls: list[Call]
    after: Path


def _ingest(folder: Path) -> tuple[str, ...]:
    (folder / "rows.csv").write_text(
        "user_id,item_id,source_position\n" + "".join(f"n{n},i1,{n}\n" for n in range(300))
    )
    return ("ingest", "interactions", str(folder / "rows.csv"))


def _publish(folder: Path) -> tuple[str, ...]:
    return ("publish",)


def _roll_back(folder: Path) -> tuple[str, ...]:
    return ("publish", "--rollback")


def _forget(folder: Path) -> tuple[str, ...]:
    return ("forget", "--user", erasing.ERASED, "--yes")


COMMANDS: dict[str, Callable[[Path], tuple[str, ...]]] = {
    "ingest": _ingest,
    "publish": _publish,
    "rollback": _roll_back,
    "forget": _forget,
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generations of which the second is served, and lists for a third."""
    folder = tmp_path_factory.mktemp("template")
    layout, store = copy_project(erasing.template(), folder / "project")
    publish(layout, store, "recommend-2")
    users = {erasing.person(number): items for number, items in enumerate(lists(2).values())}
    add_recommend_run(store, "recommend-3", users)
    return layout.root


@pytest.fixture(scope="module", params=COMMANDS)
def case(request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp(request.param)
    words = COMMANDS[request.param](folder)
    copy_project(template, folder / "project", served=2)
    before = Disk.of(folder / "project")
    calls = record(folder / "project", folder / "log", *words)
    return Case(template, before, words, calls, folder / "project")


def test_files_are_synced_before_and_folders_after_a_rename(case: Case) -> None:
    renames = [call.target for call in case.calls if call.name == "rename"]
    assert unsynced(case.calls) == []
    expected = {
        "publish": ["data/generations/000003.duckdb", "data/serving.duckdb"],
        "publish --rollback": ["data/serving.duckdb"],
        "forget": [
            "data/forgetting.json",
            "data/generations/000001.duckdb",
            "data/serving.duckdb",
            "data/warehouse.duckdb",
        ],
    }.get(" ".join(case.words[:2]) if case.words[0] == "publish" else case.words[0], [])
    for name in expected:
        assert str(case.after / name) in renames


def test_a_database_is_synced_before_its_write_ahead_log_is_removed(case: Case) -> None:
    dirty: set[str] = set()
    checkpoints = 0
    for call in case.calls:
        if call.name == "write":  # a checkpoint ends with cutting off free blocks, which need no sync
            dirty.add(call.path)
        elif call.name == "sync":
            dirty.discard(call.path)
        elif call.name == "unlink" and call.path.endswith(".duckdb.wal"):
            assert call.path.removesuffix(".wal") not in dirty
            checkpoints += 1
    assert checkpoints


def test_every_state_after_a_power_cut_is_healed(case: Case, tmp_path: Path) -> None:
    before, after = (served(case.before), warehouse(case.before)), (served(case.after), warehouse(case.after))
    number = 0
    for number, (moment, state) in enumerate(states(case.disk, case.calls), 1):
        root = write_state(state, str(case.after), tmp_path / str(number))
        _require_healed(root, case, before, after, moment)
    assert number >= 6
    print(f"{' '.join(case.words[:2])}: {len(case.calls)} calls, {number} states")  # noqa: T201


def _require_healed(root: Path, case: Case, before: object, after: object, moment: str) -> None:
    found = served(root)
    assert found in (before[0], after[0]), moment  # type: ignore[index]
    if moment.startswith("before the end"):
        assert found == after[0], moment  # type: ignore[index]
    project = Project.open(root)  # completes the record of publications
    if "--rollback" in case.words:
        last = project.publications()[-1].generation
        assert last == served_generation(project.layout), moment
        if moment.startswith("before the end"):
            assert last == 1, moment
    else:
        again = _run(root, *case.words)
        assert again.exit_code == 0 or (again.exit_code == 4 and "nobody to forget" in again.stderr), (
            moment,
            again.stderr,
        )
        assert (served(root), warehouse(root)) == after, moment
    if case.words[0] == "forget":
        assert erasing.traces_in(root, erasing.ERASED) == set(), moment
    assert [check.summary() for check in Project.open(root).check() if not check.passed] == [], moment


def _run(root: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["--project", str(root), *words])
