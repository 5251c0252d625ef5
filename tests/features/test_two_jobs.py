"""Two commands that write features at once: each succeeds or names the other, and the newest generation is online."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from semconv_warehouse.features import repository
from semconv_warehouse.publish.publishing import publish
from tests.worlds.command import Commands
from tests.worlds.published import add_recommend_run, lists, make_project
from tests.worlds.writing_commands import copied

MATERIALIZE, APPLY = ("features", "materialize"), ("features", "apply")
FILLED = "semconv_warehouse.features.online:write_json"  # the online store is filled, the marker is not written yet
BEFORE_THE_LOCK = "semconv_warehouse.features.online:features_lock"
APPLYING = "semconv_warehouse.features.repository:load_definitions"


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    server = Commands("feast", "semconv_warehouse.features.online")
    yield server
    server.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generation 1 is published and not online; the lists of generation 2 are not published."""
    layout, store = make_project(tmp_path_factory.mktemp("features") / "project")
    repository.create_feature_repo(layout)
    publish(layout, store, "recommend-1")
    add_recommend_run(store, "recommend-2", lists(1))
    return layout.root


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return copied(template, tmp_path / "project")


def require_online(commands: Commands, root: Path, generation: int) -> None:
    status: dict[str, Any] = json.loads(commands.run(root, "features", "status", "--json").stdout)
    assert (status["publications_behind"], status["materialized"]["generation"]) == (0, generation)
    found: dict[str, Any] = json.loads(commands.run(root, "features", "get", "--user", "u1", "--json").stdout)
    assert found["user_top_k"]["generation"] == generation


@pytest.mark.parametrize(
    ("first", "moment", "second"),
    [
        (APPLY, APPLYING, MATERIALIZE),
        pytest.param(MATERIALIZE, FILLED, APPLY, marks=pytest.mark.slow),
        pytest.param(MATERIALIZE, FILLED, MATERIALIZE, marks=pytest.mark.slow),
    ],
)
def test_the_second_command_names_the_first(
    commands: Commands, root: Path, first: tuple[str, ...], moment: str, second: tuple[str, ...]
) -> None:
    working = commands.start(root, *first, stop_in=moment)
    refused = commands.run(root, *second)
    patient = commands.start(root, "--wait", "120", *second)
    done, waited = commands.wait(working), commands.wait(patient)
    assert refused.status == 3, refused.stderr
    assert f"process {working['pid']}" in refused.error
    assert (done.status, waited.status) == (0, 0), done.stderr + waited.stderr
    require_online(commands, root, 1)


def test_a_waiting_materialize_includes_a_later_publication(commands: Commands, root: Path) -> None:
    waiting = commands.start(root, *MATERIALIZE, stop_in=BEFORE_THE_LOCK)
    for words in (("publish",), MATERIALIZE):
        assert commands.run(root, *words).status == 0
    assert commands.wait(waiting).status == 0
    require_online(commands, root, 2)


@pytest.mark.slow
def test_commands_that_begin_together_succeed_or_name_each_other(commands: Commands, root: Path) -> None:
    begun = [commands.start(root, *words) for words in (MATERIALIZE, MATERIALIZE, APPLY)]
    for other, done in zip(begun, [commands.wait(each) for each in begun], strict=True):
        assert done.status in (0, 3), done.stderr
        if done.status == 3:
            assert any(f"process {each['pid']}" in done.error for each in begun if each != other), done.error
    assert commands.run(root, *MATERIALIZE).status == 0
    require_online(commands, root, 1)
