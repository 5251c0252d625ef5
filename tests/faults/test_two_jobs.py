"""Two commands at once on one project: the first goes on, the second names its process and ends with 3, nothing is lost.

Both are real processes. The first one is stopped at a moment of its work, the second one runs from beginning to end,
then the first one continues.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from semconv_cli.main import cli
from semconv_warehouse.publish.publishing import publish
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds.command import Commands
from tests.worlds.published import add_recommend_run, lists, make_project
from tests.worlds.writing_commands import copied, digest, leftovers, write_inputs

WORDS = {
    "publish": ("publish",),
    "rollback": ("publish", "--rollback"),
    "load": ("recommend", "load", "{inputs}/part.parquet"),
    "interactions": ("ingest", "interactions", "{inputs}/rows.csv"),
    "items": ("ingest", "items", "{inputs}/items.jsonl"),
    "prune": ("prune", "--keep", "1"),
    "forget": ("forget", "--user", "u1", "--yes"),
    "materialize": ("features", "materialize"),
}
# Moments at which the first command is stopped, each before a call of a function.
BUILT, COPYING = "semconv_warehouse.publish.publishing:seal", "semconv_warehouse.publish.build:raw"
RENAMED, PLANNING = (
    "semconv_warehouse.publish.publishing:write_publication",
    "semconv_warehouse.publish.publishing:plan_generation",
)
BEGINNING = "semconv.runs.book:utc_now"  # of a run: it is about to be recorded
WRITING_PARTS, MERGING = (
    "semconv_warehouse.publish.external_lists:_write",
    "semconv_warehouse.ingest.interactions:odd_interactions",
)
PRUNING, FORGETTING = (
    "semconv_warehouse.upkeep.pruning:_remove",
    "semconv_warehouse.erase.forgetting:erase_from_generation",
)
# The first command, where it is stopped, and the second one, which needs the same lock.
EXCLUSIVE = [
    ("publish", BUILT, "publish"),
    ("publish", BUILT, "forget"),
    ("load", WRITING_PARTS, "load"),
    ("interactions", MERGING, "publish"),
    ("prune", PRUNING, "materialize"),
]
MORE_EXCLUSIVE = [  # the same locks in other pairs
    ("publish", RENAMED, "publish"),
    ("publish", BUILT, "rollback"),
    ("publish", BUILT, "prune"),
    ("publish", COPYING, "load"),
    ("publish", COPYING, "interactions"),
    ("load", BEGINNING, "load"),
    ("load", WRITING_PARTS, "forget"),
    ("interactions", MERGING, "items"),
    ("prune", PRUNING, "publish"),
    ("forget", FORGETTING, "publish"),
    ("forget", FORGETTING, "prune"),
]
# Pairs without a common lock.
SIDE_BY_SIDE = [
    ("publish", PLANNING, "publish"),
    ("publish", BUILT, "load"),
    ("publish", BUILT, "interactions"),
    ("load", WRITING_PARTS, "publish"),
    ("load", WRITING_PARTS, "interactions"),
    ("load", WRITING_PARTS, "prune"),
]
_SERVED = {
    "recommendation": "user_id, rank, item_id",
    "user_history": "user_id, position, item_id",
    "item": "item_id, title",
}
_WAREHOUSE = {
    "interaction": "user_id, item_id, position",
    "user_account": "user_id, user_index",
    "item": "item_id, title",
}


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    server = Commands(
        "semconv_warehouse.publish.external_lists", "semconv.stages.lists.load", "semconv_warehouse.erase.forgetting"
    )
    yield server
    server.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that serves generation 2 and has lists for generation 3; beside it lie files to ingest."""
    folder = tmp_path_factory.mktemp("two")
    layout, store = make_project(folder / "project")
    publish(layout, store, "recommend-1")
    for number in (2, 3):
        add_recommend_run(store, f"recommend-{number}", lists(number - 1))
        if number == 2:
            publish(layout, store, "recommend-2")
    write_inputs(folder)
    return layout.root


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return copied(template, tmp_path / "project")


def words(template: Path, name: str) -> tuple[str, ...]:
    return tuple(word.format(inputs=template.parent) for word in WORDS[name])


def content(root: Path) -> dict[str, Any]:
    """Return hashes of the served lists and of the warehouse, without numbers and times of publications."""
    layout = ProjectLayout(root)
    with duckdb.connect(str(layout.warehouse), read_only=True) as connection:
        runs = connection.execute("SELECT stage, fingerprint, status FROM run ORDER BY ALL").fetchall()
        record = connection.execute("SELECT generation FROM publication ORDER BY publication DESC").fetchall()
    with duckdb.connect(str(layout.serving), read_only=True) as connection:
        found = connection.execute(
            "SELECT DISTINCT generation FROM (SELECT generation FROM recommendation UNION ALL SELECT generation FROM item)"
        ).fetchall()
    assert found == record[:1]  # one generation only, the one that the warehouse records
    return {**digest(layout.serving, _SERVED), "inputs": digest(layout.warehouse, _WAREHOUSE), "runs": runs}


def require_clean(root: Path) -> None:
    assert leftovers(root) == []
    result = CliRunner().invoke(cli, ["--project", str(root), "check"])
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize(
    ("first", "moment", "second"),
    [*EXCLUSIVE, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in MORE_EXCLUSIVE)],
)
def test_the_second_command_names_the_process_of_the_first(
    commands: Commands, template: Path, root: Path, tmp_path: Path, first: str, moment: str, second: str
) -> None:
    working = commands.start(root, *words(template, first), stop_in=moment)
    refused = commands.run(root, *words(template, second))
    done = commands.wait(working)
    assert refused.status == 3, (refused.status, refused.stderr)
    assert refused.error.startswith("error: "), refused.stderr
    assert f"process {working['pid']}" in refused.error
    assert "--wait SECONDS" in refused.error
    assert "Traceback" not in refused.stderr
    assert done.status == 0, done.stderr
    if second == "materialize":  # running it again would call Feast
        return
    again = commands.run(root, *words(template, second))
    assert again.status == 0, again.stderr
    one_by_one = copied(template, tmp_path / "one-by-one")
    for name in (first, second):
        assert commands.run(one_by_one, *words(template, name)).status == 0
    assert content(root) == content(one_by_one)
    require_clean(root)


@pytest.mark.parametrize(
    ("first", "moment", "second"),
    [*SIDE_BY_SIDE[:3], *(pytest.param(*pair, marks=pytest.mark.slow) for pair in SIDE_BY_SIDE[3:])],
)
def test_commands_without_a_common_lock_both_succeed(
    commands: Commands, template: Path, root: Path, tmp_path: Path, first: str, moment: str, second: str
) -> None:
    working = commands.start(root, *words(template, first), stop_in=moment)
    beside = commands.run(root, *words(template, second))
    done = commands.wait(working)
    assert (beside.status, done.status) == (0, 0), beside.stderr + done.stderr
    assert commands.run(root, *words(template, second)).status == 0
    one_by_one = copied(template, tmp_path / "one-by-one")
    for name in (first, second):
        assert commands.run(one_by_one, *words(template, name)).status == 0
    assert content(root) == content(one_by_one)
    require_clean(root)


def test_two_publishes_of_the_same_lists_make_one_generation(commands: Commands, template: Path, root: Path) -> None:
    working = commands.start(root, "publish", "--json", stop_in=PLANNING)
    beside = commands.run(root, "publish", "--json")
    done = commands.wait(working)
    published = [json.loads(run.stdout) for run in (beside, done)]
    assert [entry["generation"] for entry in published] == [3, 3]
    assert [entry["is_new"] for entry in published] == [True, False]


@pytest.mark.parametrize(
    ("first", "moment", "second"),
    [
        ("publish", BUILT, "publish"),
        ("load", WRITING_PARTS, "load"),
        ("interactions", MERGING, "items"),
        ("prune", PRUNING, "forget"),
    ],
)
def test_with_wait_the_second_command_runs_after_the_first(
    commands: Commands, template: Path, root: Path, first: str, moment: str, second: str
) -> None:
    working = commands.start(root, *words(template, first), stop_in=moment)
    impatient = commands.run(root, "--wait", "0.4", *words(template, second))
    patient = commands.start(root, "--wait", "120", *words(template, second))
    done, waited = commands.wait(working), commands.wait(patient)
    assert impatient.status == 3
    assert "tried for 0.4 s" in impatient.error
    assert (done.status, waited.status) == (0, 0), done.stderr + waited.stderr
    require_clean(root)


def test_reading_commands_run_beside_a_publish(commands: Commands, root: Path) -> None:
    working = commands.start(root, "publish", stop_in=COPYING)
    for reading in (
        ("show", "user", "u1"),
        ("sql", "FROM current_recommendation"),
        ("runs",),
        ("generations",),
        ("check",),
        ("doctor",),
    ):
        assert commands.run(root, *reading).status == 0, reading
    assert commands.wait(working).status == 0
