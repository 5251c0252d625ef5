"""Processes that are killed at work on the small shop, and what it serves after them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.worlds import listed
from tests.worlds import projects as case
from tests.worlds.command import Commands
from tests.worlds.reading import reading

SAME = {
    "recommendation": "SELECT generation, user_id, rank, item_id, score, sources, reason_item_id FROM recommendation",
    "item_code": "SELECT item_id, codes, semantic_id, vector_source, is_reassigned FROM item_code",
    "item_embedding": "SELECT item_id, vector_source, vector FROM item_embedding",
    "user_embedding": "SELECT user_id, vector_source, vector FROM user_embedding",
    "metric": "SELECT method, split, segment, train_cut, seen, name, k, value, ci_low, ci_high, num_users,"
    f" {case.PROTOCOL} FROM metric",
    "item": "SELECT * FROM item",
    "user_history": "SELECT * FROM user_history",
    "run": "SELECT stage, status, fingerprint FROM run",
}


def published(root: Path) -> dict[str, list[tuple[Any, ...]]]:
    with reading(root / "data" / "serving.duckdb") as connection:
        return {name: connection.execute(f"{sql} ORDER BY ALL").fetchall() for name, sql in SAME.items()}


_KILLS = """
import sys
from pathlib import Path
from tests.worlds.faults.kill import main

sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
"""


def output_of_kills(commands: Commands, root: Path, seed: int, *words: str) -> list[str]:
    done = commands.program(_KILLS, root, seed, *words)
    assert done.status == 0, done.stderr
    return done.stdout.splitlines()


def require_lists_survive_kills(
    commands: Commands, tuned: Path, folder: Path, seed: int, kills: int, shard_users: int
) -> None:
    """Kill a job that makes and publishes lists again and again; what it leaves is what an undisturbed one leaves."""
    settings = listed.SETTINGS.replace("shard_users = 4", f"shard_users = {shard_users}")
    undisturbed = listed.copied(tuned, folder / "undisturbed", settings)
    undisturbed.recommend()
    undisturbed.publish()
    project = listed.copied(tuned, folder / "killed", settings)
    attempts = [
        json.loads(line) for line in output_of_kills(commands, project.layout.root, seed, "--lists", str(kills))
    ]
    assert [attempt["status"] for attempt in attempts] == [-9] * kills
    runs = [run for run in project.runs() if run["stage"] == "recommend"]
    assert [run["status"] for run in runs] == ["finished"]
    final = listed.parts(project, project.workspace.need("recommend"))
    assert len(final) == -(-listed.NUM_USERS // shard_users)
    for attempt in attempts:  # what was finished once is never computed again
        assert attempt["parts"].items() <= final.items()
    assert published(project.layout.root) == published(undisturbed.layout.root)
    assert [result.summary() for result in project.check() if not result.passed] == []
    assert not list(project.layout.root.rglob("*.tmp"))
