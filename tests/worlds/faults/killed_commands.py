"""A project on which every command has something to write, commands killed on it, and what is left of a user then."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from semconv.progress import Silent
from semconv.train.__main__ import train_pack
from semconv_warehouse.project import Project
from tests.worlds import projects as case
from tests.worlds.command import KILLED, Commands, Done
from tests.worlds.erasing import traces_in
from tests.worlds.faults.command_cases import CommandCase
from tests.worlds.faults.writes import kill_points
from tests.worlds.published import recommendation_rows
from tests.worlds.stages import pretrained

WORD = "quillonbrandt"  # the erased user alone writes it in queries, often
_START, _DAY = 1_400_000_000, 86_400  # seconds
DEMO_USER = "user-0007"
# What a user of the command line asked for, outside data/: these files are not changed.
_ASKED_FOR = (
    "rejected.jsonl",
    "prompts.jsonl",
    "prompts.parquet",
    "figures.html",  # names some users as examples
    "pack/data.safetensors",
    "input/interactions.parquet",
    "inputs/events.jsonl",
    "inputs/odd.jsonl",
)
_QUICK = {"SEMCONV_TUNING_EPOCHS": "1", "SEMCONV_BACKBONE_WIDTH": "32", "SEMCONV_BACKBONE_LAYERS": "1"}


def person(number: int) -> str:
    return f"person-{number:03d}@example.org"


ERASED = person(17)


@dataclass(frozen=True)
class World:
    """The project, files for its commands, and the user whom `forget` erases."""

    root: Path
    inputs: Path
    blend: str  # id of a blend that no published lists were made from
    erased: str = ERASED


@dataclass
class Counts:
    """What was tried so far."""

    writes: dict[str, int] = field(default_factory=dict)  # by command: number of changes of files
    kills: dict[str, int] = field(default_factory=dict)
    pairs: int = 0
    bytes_left: int = 0


def make_world(folder: Path) -> World:
    """Make two publications of which one is materialized, newer lists, and newer items and interactions than these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(case, "user_id", person)
        patch.setattr(case, "events", _timed(case.events))  # MovieLens and Amazon have times, and no positions
        root = pretrained.make_ingested(folder / "project")
        inputs = folder / "inputs"
        inputs.mkdir()
        project = _opened(root)
        _say(project, inputs, 0)
        project.publish_due(refit=True)
        project.features_apply()
        project.features_materialize()
        _say(project, inputs, 1)
        project.publish_due()
        _say(project, inputs, 2)
        project.recommend()
        for seed in (1, 2):
            blend = Project.open(root, progress=Silent(), overrides={"blend.seed": seed}).blend()["run_id"]
        new = [{**case.item(number), "item_id": f"new-{number}"} for number in range(2)]
        project.ingest_items([case.write_lines(inputs / "new.jsonl", new)], {})
        _say(project, inputs, 3)
        project.finetune_pack(inputs / "pack")
        train_pack(inputs / "pack", Silent())
        _write_inputs(inputs)
    return World(root, inputs, blend)


def _timed(events: Callable[..., list[dict[str, Any]]]) -> Callable[..., list[dict[str, Any]]]:
    def timed(*arguments: Any, **named: Any) -> list[dict[str, Any]]:
        return [_with_time(row) for row in events(*arguments, **named)]

    return timed


def _with_time(row: dict[str, Any]) -> dict[str, Any]:
    """Replace the position of a row by a time."""
    position = row["source_position"]
    rest = {name: value for name, value in row.items() if name != "source_position"}
    return {**rest, "event_time": _START + _DAY * position}


def _opened(root: Path) -> Project:
    return Project.open(root, progress=Silent())


def _say(project: Project, inputs: Path, time: int) -> None:
    """Ingest interactions of the erased user and of another one, with a word that nobody else uses."""
    rows = [
        {
            "user_id": user,
            "item_id": case.item_id(number),
            "source_position": 100 + 10 * time + number,
            "query": f"{WORD} lamp",
        }
        for user in (ERASED, *([person(18)] if time else []))
        for number in range(4)
    ]
    if time:
        rows = [{**row, "query": None} if row["user_id"] != ERASED else row for row in rows]
    rows = [_with_time(row) for row in rows]
    project.ingest_interactions([case.write_lines(inputs / f"said-{time}.jsonl", rows)], {})


def _write_inputs(folder: Path) -> None:
    users = (ERASED, person(18), "a new user")
    rows = [
        {
            "user_id": user,
            "item_id": case.item_id(number),
            "source_position": 200 + number,
            "query": f"{WORD} chair" if user == ERASED else "a chair",
        }
        for user in users
        for number in range(3)
    ]
    rows = [_with_time(row) for row in rows]
    case.write_lines(folder / "events.jsonl", [*rows, {"user_id": ERASED, "item_id": None}])
    # The last row of each file is rejected.
    of_users = "".join(f"{user},DE,{WORD if user == ERASED else 'a note'}\n" for user in users)
    (folder / "users.csv").write_text(f"user_id,market,note\n{of_users},DE,{WORD}\n")
    (folder / "erased.txt").write_text(f"{ERASED}\n")
    items = [{**case.item(number), "title": f"another {number}"} for number in range(case.NUM_ITEMS)]
    case.write_lines(folder / "items.jsonl", [*items, {"item_id": None, "title": WORD}])
    reviews = [
        {"reviewerID": row["user_id"], "asin": row["item_id"], "unixReviewTime": 1_500_000_000, "reviewText": row["query"], "overall": 5.0}
        for row in rows
    ]  # fmt: skip
    case.write_lines(folder / "reviews.json", [*reviews, {"reviewerID": ERASED, "asin": None, "reviewText": WORD}])
    case.write_lines(folder / "meta.json", [{"asin": case.item_id(number), "title": "a title"} for number in range(3)])
    (folder / "movielens").mkdir()
    ratings = "".join(f"{user},{case.item_id(number)},4.0,1500000000\n" for user in users for number in range(3))
    ratings += f"{ERASED},{case.item_id(1)},4.0,yesterday\n"
    (folder / "movielens" / "ratings.csv").write_text(f"userId,movieId,rating,timestamp\n{ratings}")
    (folder / "movielens" / "movies.csv").write_text(f"movieId,title,genres\n{case.item_id(1)},A film,Drama\n")
    (folder / "lcrec").mkdir()
    sequences, texts = {user: [0, 1, 2] for user in users}, {str(number): {"title": "a title"} for number in range(3)}
    (folder / "lcrec" / "Shop.inter.json").write_text(json.dumps(sequences))
    (folder / "lcrec" / "Shop.item.json").write_text(json.dumps(texts))
    with sqlite3.connect(folder / "shop.db") as connection:
        connection.execute("CREATE TABLE event (user_id, item_id, event_time, query)")
        connection.executemany("INSERT INTO event VALUES (:user_id, :item_id, :event_time, :query)", rows)
    codes = [[number // 16, number % 16] for number in range(case.NUM_ITEMS)]
    ids = [case.item_id(number) for number in range(case.NUM_ITEMS)]
    pq.write_table(pa.table({"item_id": ids, "codes": codes}), folder / "codes.parquet")
    top_k = {user: [case.item_id(number) for number in range(30, 33)] for user in (ERASED, person(18))}
    rows_of_lists = recommendation_rows(top_k)
    index = rows_of_lists.schema.get_field_index("reason_item_id")
    nothing = pa.nulls(rows_of_lists.num_rows, pa.string())
    pq.write_table(rows_of_lists.set_column(index, "reason_item_id", nothing), folder / "lists.parquet")
    (folder / "experiment.toml").write_text('title = "one row"\n[[row]]\nlabel = "one"\nsettings = {}\n')


# Running and killing


def run(commands: Commands, world: World, root: Path, tried: CommandCase, **conditions: object) -> Done:
    words = [
        word.format(inputs=world.inputs, root=root, erased=world.erased, blend=world.blend) for word in tried.words
    ]
    environment = _QUICK if tried.command == ("demo",) else {}
    return commands.run(root, *words, environment=environment, small_demo=tried.command == ("demo",), **conditions)


def copied(world: World, root: Path, tried: CommandCase) -> Path:
    if tried.is_empty_project:
        Project.init(root)
    elif not tried.is_new_project:
        shutil.copytree(world.root, root, copy_function=_linked_or_copied(world.root, root))
    return root


def _linked_or_copied(source: Path, target: Path):  # type: ignore[no-untyped-def]
    """Return a function that copies a file, and keeps the hard link between the served file and its generation."""
    known: dict[int, str] = {}

    def copy(file: str, to: str) -> str:
        number = Path(file).stat()
        if number.st_nlink > 1 and number.st_ino in known:
            Path(to).hardlink_to(known[number.st_ino])
        else:
            shutil.copy2(file, to)
            known[number.st_ino] = to
        return to

    return copy


def undisturbed(commands: Commands, world: World, folder: Path, tried: CommandCase, code: int = 0) -> Done:
    """Run a command on a copy and return how it ended, with every change of files."""
    done = run(commands, world, copied(world, folder, tried), tried, kill_write=0)
    assert done.status == code, (tried.name, done.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    return done


def killed(commands: Commands, world: World, root: Path, tried: CommandCase, point: int) -> Done:
    """Kill a command on a copy of the project before a change."""
    done = run(commands, world, copied(world, root, tried), tried, kill_write=point)
    assert done.status in (KILLED, 0), (tried.name, point, done.stderr)
    return done


def kill_and_forget(commands: Commands, world: World, root: Path, tried: CommandCase, point: int) -> bool:
    """Kill a command before a change, forget the user, and require that nothing is left; tell whether the kill came."""
    done = killed(commands, world, root, tried, point)
    require_forgotten(commands, world, root, (tried.name, point, done.writes[-1:]))
    shutil.rmtree(root, ignore_errors=True)
    return done.status == KILLED


def require_forgotten(commands: Commands, world: World, root: Path, what: object) -> None:
    """Forget the user, and require that no file of the project contains the user's id or word."""
    is_demo = (root / "input").exists()
    user = DEMO_USER if is_demo else world.erased
    done = commands.run(root, "forget", "--user", user, "--yes", "--json")
    if done.status == 4 and not (root / "data" / "forgetting.json").exists():
        assert (
            "nobody to forget" in done.error or "no semconv.toml" in done.error or "no such database" in done.error
        ), (what, done.error)
    else:
        assert done.status == 0, (what, done.stderr)
    left = {name for text in (user, WORD) for name in traces_in(root, text)} - set(_ASKED_FOR)
    assert left == set(), (what, left)


def planned_kills(done: Done, most: int | None = None) -> list[int]:
    """Return the moments at which a command is killed: at every change, or at a number of them spread evenly."""
    points = kill_points(done.writes)
    if most is None or len(points) <= most:
        return points
    return [points[(2 * number + 1) * len(points) // (2 * most)] for number in range(most)]


def as_json(counts: Counts) -> str:
    total = {"commands": len(counts.writes), "writes": sum(counts.writes.values()), "kills": sum(counts.kills.values())}
    return json.dumps({**total, "pairs": counts.pairs, "bytes_left": counts.bytes_left})
