"""Two commands at once on a small published project, the first of which is stopped at a moment of its work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from semconv_cli.main import cli
from semconv_warehouse.publish.publishing import publish
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds.command import Commands
from tests.worlds.faults.writing_commands import copied, digest, leftovers, write_inputs
from tests.worlds.published import add_recommend_run, lists, make_project
from tests.worlds.reading import reading

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


@dataclass(frozen=True)
class Two:
    """The server that runs two commands, the project in which they meet, and a folder for a copy in which they do not."""

    commands: Commands
    template: Path
    root: Path
    folder: Path


def make_template(folder: Path) -> Path:
    """Make a project that serves generation 2 and has lists for generation 3; beside it lie files to ingest."""
    layout, store = make_project(folder / "project")
    publish(layout, store, "recommend-1")
    for number in (2, 3):
        add_recommend_run(store, f"recommend-{number}", lists(number - 1))
        if number == 2:
            publish(layout, store, "recommend-2")
    write_inputs(folder)
    return layout.root


def words(template: Path, name: str) -> tuple[str, ...]:
    return tuple(word.format(inputs=template.parent) for word in WORDS[name])


def content(root: Path) -> dict[str, Any]:
    """Return hashes of the served lists and of the warehouse, without numbers and times of publications."""
    layout = ProjectLayout(root)
    with reading(layout.warehouse) as connection:
        runs = connection.execute("SELECT stage, fingerprint, status FROM run ORDER BY ALL").fetchall()
        record = connection.execute("SELECT generation FROM publication ORDER BY publication DESC").fetchall()
    with reading(layout.serving) as connection:
        found = connection.execute(
            "SELECT DISTINCT generation FROM (SELECT generation FROM recommendation UNION ALL SELECT generation FROM item)"
        ).fetchall()
    assert found == record[:1]  # one generation only, the one that the warehouse records
    return {**digest(layout.serving, _SERVED), "inputs": digest(layout.warehouse, _WAREHOUSE), "runs": runs}


def require_clean(root: Path) -> None:
    assert leftovers(root) == []
    result = CliRunner().invoke(cli, ["--project", str(root), "check"])
    assert result.exit_code == 0, result.stderr


def require_second_is_refused(two: Two, first: str, moment: str, second: str) -> None:
    """Run the second command while the first one is stopped: it names the first, and the result is that of one by one."""
    working = two.commands.start(two.root, *words(two.template, first), stop_in=moment)
    refused = two.commands.run(two.root, *words(two.template, second))
    done = two.commands.wait(working)
    assert refused.status == 3, (refused.status, refused.stderr)
    assert refused.error.startswith("error: "), refused.stderr
    assert f"process {working['pid']}" in refused.error
    assert "--wait SECONDS" in refused.error
    assert "Traceback" not in refused.stderr
    assert done.status == 0, done.stderr
    if second == "materialize":  # running it again would call Feast
        return
    again = two.commands.run(two.root, *words(two.template, second))
    assert again.status == 0, again.stderr
    one_by_one = copied(two.template, two.folder / "one-by-one")
    for name in (first, second):
        assert two.commands.run(one_by_one, *words(two.template, name)).status == 0
    assert content(two.root) == content(one_by_one)
    require_clean(two.root)


def require_both_end_well(two: Two, first: str, moment: str, second: str) -> None:
    """Run the second command while the first one is stopped: both succeed, with the result of one by one."""
    working = two.commands.start(two.root, *words(two.template, first), stop_in=moment)
    beside = two.commands.run(two.root, *words(two.template, second))
    done = two.commands.wait(working)
    assert (beside.status, done.status) == (0, 0), beside.stderr + done.stderr
    assert two.commands.run(two.root, *words(two.template, second)).status == 0
    one_by_one = copied(two.template, two.folder / "one-by-one")
    for name in (first, second):
        assert two.commands.run(one_by_one, *words(two.template, name)).status == 0
    assert content(two.root) == content(one_by_one)
    require_clean(two.root)
