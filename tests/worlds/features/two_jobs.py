"""Two commands at once that write features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from semconv_warehouse.features import repository
from semconv_warehouse.publish.publishing import publish
from tests.worlds.command import Commands
from tests.worlds.published import add_recommend_run, lists, make_project

MATERIALIZE, APPLY = ("features", "materialize"), ("features", "apply")
FILLED = "semconv_warehouse.features.online:write_json"  # the online store is filled, the marker is not written yet
APPLYING = "semconv_warehouse.features.repository:load_definitions"


def make_template(root: Path) -> Path:
    """Publish generation 1, which is not online; the lists of generation 2 are not published."""
    layout, store = make_project(root)
    repository.create_feature_repo(layout)
    publish(layout, store, "recommend-1")
    add_recommend_run(store, "recommend-2", lists(1))
    return layout.root


def require_online(commands: Commands, root: Path, generation: int) -> None:
    status: dict[str, Any] = json.loads(commands.run(root, "features", "status", "--json").stdout)
    assert (status["publications_behind"], status["materialized"]["generation"]) == (0, generation)
    found: dict[str, Any] = json.loads(commands.run(root, "features", "get", "--user", "u1", "--json").stdout)
    assert found["user_top_k"]["generation"] == generation


def require_second_waits(
    commands: Commands, root: Path, first: tuple[str, ...], moment: str, second: tuple[str, ...]
) -> None:
    """Run the second while the first stands still: it names the first, or waits for it, and the newest is online."""
    working = commands.start(root, *first, stop_in=moment)
    refused = commands.run(root, *second)
    patient = commands.start(root, "--wait", "120", *second)
    done, waited = commands.wait(working), commands.wait(patient)
    assert refused.status == 3, refused.stderr
    assert f"process {working['pid']}" in refused.error
    assert (done.status, waited.status) == (0, 0), done.stderr + waited.stderr
    require_online(commands, root, 1)
