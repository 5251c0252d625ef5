"""Looking up the top 20 of one, of a hundred and of a thousand users: SQL, and Feast over several online stores.

SQL is a connection to what is served that stays open. Beside it stand Feast's Python call, what of it the online store
itself takes (the rest is Feast's own layer: building keys, turning rows to protobuf and back), and ``feast serve`` over HTTP.
All answer the same lists, which is checked first. Then the time of a materialize. Redis and PostgreSQL where they are installed.
"""

from __future__ import annotations

import http.client
import json
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
from feast import FeatureStore, FeatureView
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from benchmarks.online_stores import ONLINE_STORES, feature_server, is_installed, use_online_store
from benchmarks.publish_readers import percentile
from benchmarks.rows import Row, Size, Subject, command, times_of
from benchmarks.serving_case import TOP_K, Case, make_project, write_parts
from semconv_warehouse.project import Project

PACKAGES = ["duckdb", "feast"]
USERS = {"small": 2_000, "full": 50_546}
# Users of a question -> how many questions.
QUESTIONS = {"small": {1: 100, 100: 10, 1_000: 3}, "full": {1: 1_000, 100: 200, 1_000: 40}}
FEATURES = ["user_top_k:item_ids", "user_top_k:scores"]

Lists = dict[str, list[str]]  # user -> item ids, best first

_ONE = "SELECT user_id, rank, item_id, score FROM recommendation WHERE user_id = ? ORDER BY rank"
_SOME = """
SELECT user_id, rank, item_id, score FROM recommendation
WHERE user_id IN (SELECT unnest(?)) ORDER BY user_id, rank
"""


def run(size: Size) -> list[Row]:
    """p50 and p99 of every way and number of users, and the seconds of a materialize of each online store."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        case = Case(USERS[size])
        project = make_project(Path(folder) / "project", case)
        project.recommend_load(write_parts(Path(folder) / "parts", case))
        project.publish()
        with duckdb.connect(str(project.layout.serving), read_only=True) as connection:
            users = [
                user
                for (user,) in connection.execute("SELECT DISTINCT user_id FROM recommendation ORDER BY 1").fetchall()
            ]
            draws = questions(users, QUESTIONS[size])
            sql = measured(lambda asked: ask_sql(connection, asked), draws)
            expected = lists_of_rows(ask_sql(connection, users[:5]))
        for name in filter(is_installed, ONLINE_STORES):
            with ONLINE_STORES[name]() as block:
                use_online_store(project.layout.feature_repo / "feature_store.yaml", block)
                rows += rows_of_store(name, project, sql, draws, expected)
    return rows


def rows_of_store(
    name: str, project: Project, sql: Mapping[int, list[float]], draws: Mapping[int, list[list[str]]], expected: Lists
) -> list[Row]:
    """One online store."""
    project.features_apply()
    seconds, _ = times_of(project.features_materialize, repeats=1)
    case, alone = f"everybody's top {TOP_K} into {name}", Subject("lookup", "", PACKAGES)
    rows = [
        alone.row(case, "materialize", "s", ours=seconds.wall),
        alone.row(case, "materialize, of the processor", "s", ours=seconds.processor),
    ]
    store = FeatureStore(repo_path=str(project.layout.feature_repo))
    require_same(lists_of_columns(ask_feast(store, list(expected))), expected)
    rows += beside_sql(f"Feast, {name}", sql, measured(lambda asked: ask_feast(store, asked), draws))
    keys = {n: [[entity_key(user) for user in asked] for asked in some] for n, some in draws.items()}
    view = store.get_feature_view("user_top_k")
    read = measured(lambda asked: ask_online_store(store, view, asked), keys)
    rows += beside_sql(f"Feast, {name}, its online store alone", sql, read)
    with feature_server(project.layout.feature_repo) as address:
        server = http.client.HTTPConnection(urlsplit(address).netloc)
        require_same(lists_of_answer(ask_server(server, list(expected))), expected)
        rows += beside_sql(f"feast serve, {name}", sql, measured(lambda asked: ask_server(server, asked), draws))
    return rows


def questions(users: Sequence[str], how_many: Mapping[int, int]) -> dict[int, list[list[str]]]:
    """Users drawn for each question, by the number of users of a question."""
    draw = random.Random(0)
    return {
        count: [draw.sample(users, min(count, len(users))) for _ in range(times)] for count, times in how_many.items()
    }


def measured(ask: Callable[[Any], Any], draws: Mapping[int, Sequence[Any]]) -> dict[int, list[float]]:
    """Sorted seconds of the questions, after one of each kind that is not counted."""
    seconds: dict[int, list[float]] = {}
    for count, some in draws.items():
        ask(some[0])
        seconds[count] = []
        for asked in some:
            started = time.perf_counter()
            ask(asked)
            seconds[count].append(time.perf_counter() - started)
        seconds[count].sort()
    return seconds


def beside_sql(way: str, sql: Mapping[int, list[float]], seconds: Mapping[int, list[float]]) -> list[Row]:
    """Rows of one way, each beside SQL's, which is ours."""
    subject = Subject("lookup", way, PACKAGES)
    return [
        subject.row(
            f"top {TOP_K} of {count:,} users",
            f"p{percent}",
            "s",
            ours=percentile(sql[count], percent),
            peer=percentile(seconds[count], percent),
        )
        for count in seconds
        for percent in (50, 99)
    ]


def ask_sql(connection: duckdb.DuckDBPyConnection, users: Sequence[str]) -> list[tuple[Any, ...]]:
    """The rows of some users."""
    if len(users) == 1:
        return connection.execute(_ONE, [users[0]]).fetchall()
    return connection.execute(_SOME, [list(users)]).fetchall()


def ask_feast(store: FeatureStore, users: Sequence[str]) -> dict[str, list[Any]]:
    """Feast's Python call."""
    answer = store.get_online_features(FEATURES, [{"user_id": user} for user in users])
    columns: dict[str, list[Any]] = answer.to_dict()
    return columns


def entity_key(user: str) -> EntityKey:
    """What Feast makes of a user's id before it asks a store."""
    return EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user)])


def ask_online_store(store: FeatureStore, view: FeatureView, keys: list[EntityKey]) -> list[Any]:
    """What of Feast's call is its online store's."""
    rows: list[Any] = store._get_provider().online_read(store.config, view, keys, ["item_ids", "scores"])
    return rows


def ask_server(server: http.client.HTTPConnection, users: Sequence[str]) -> dict[str, Any]:
    """One request on an open connection."""
    body = json.dumps({"features": FEATURES, "entities": {"user_id": list(users)}})
    server.request("POST", "/get-online-features", body, {"content-type": "application/json"})
    answer: dict[str, Any] = json.loads(server.getresponse().read())
    return answer


def lists_of_rows(rows: Sequence[tuple[Any, ...]]) -> Lists:
    """SQL's rows as lists."""
    lists: Lists = {}
    for user, _, item, _ in rows:
        lists.setdefault(user, []).append(item)
    return lists


def lists_of_columns(columns: Mapping[str, Sequence[Any]]) -> Lists:
    """Feast's columns as lists."""
    return dict(zip(columns["user_id"], columns["item_ids"], strict=True))


def lists_of_answer(answer: Mapping[str, Any]) -> Lists:
    """The server's answer as lists."""
    names, results = answer["metadata"]["feature_names"], answer["results"]
    return lists_of_columns({name: result["values"] for name, result in zip(names, results, strict=True)})


def require_same(found: Lists, expected: Lists) -> None:
    """Every way has to answer the same."""
    if found != expected:
        raise SystemExit(f"not the same lists: {found} and {expected}")


if __name__ == "__main__":
    command(run)
