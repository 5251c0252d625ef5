"""Looking up the top 20 of one, a hundred and a thousand users: by SQL, and by Feast with several online stores.

SQL reads the served file on an open connection. The peers are Feast's Python call, the part of that call that the online
store itself takes (the rest builds keys and converts rows to protobuf and back), and ``feast serve`` over HTTP. First it
is checked that all give the same lists. The time of a materialize is measured too. Redis and PostgreSQL are measured if
they are installed.
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

from benchmarks.rows import Comparison, Row, Size, command
from benchmarks.serving.case import TOP_K, Case, make_project, write_parts
from benchmarks.serving.online_stores import ONLINE_STORES, feature_server, is_installed, use_online_store
from benchmarks.timing import percentile, timed
from semconv_warehouse.project import Project

PACKAGES = ["duckdb", "feast"]
USERS = {"small": 2_000, "full": 50_546}
# Users of a lookup -> number of lookups.
LOOKUPS = {"small": {1: 100, 100: 10, 1_000: 3}, "full": {1: 1_000, 100: 200, 1_000: 40}}
FEATURES = ["user_top_k:item_ids", "user_top_k:scores"]

Lists = dict[str, list[str]]  # user id -> item ids, best first

_ONE = "SELECT user_id, rank, item_id, score FROM recommendation WHERE user_id = ? ORDER BY rank"
_SOME = """
SELECT user_id, rank, item_id, score FROM recommendation
WHERE user_id IN (SELECT unnest(?)) ORDER BY user_id, rank
"""


def run(size: Size) -> list[Row]:
    """Measure p50 and p99 of every lookup, and the seconds of a materialize of each online store."""
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
            draws = draw_lookups(users, LOOKUPS[size])
            sql = measure(lambda asked: by_sql(connection, asked), draws)
            expected = lists_of_rows(by_sql(connection, users[:5]))
        for name in filter(is_installed, ONLINE_STORES):
            with ONLINE_STORES[name]() as block:
                use_online_store(project.layout.feature_repo / "feature_store.yaml", block)
                rows += rows_of_store(name, project, sql, draws, expected)
    return rows


def rows_of_store(
    name: str, project: Project, sql: Mapping[int, list[float]], draws: Mapping[int, list[list[str]]], expected: Lists
) -> list[Row]:
    """Measure one online store."""
    project.features_apply()
    seconds, _ = timed(project.features_materialize, repeats=1)
    rows = Comparison("lookup", "", PACKAGES).seconds(f"everybody's top {TOP_K} into {name}", "materialize", seconds)
    store = FeatureStore(repo_path=str(project.layout.feature_repo))
    require_same(lists_of_columns(by_feast(store, list(expected))), expected)
    rows += beside_sql(f"Feast, {name}", sql, measure(lambda asked: by_feast(store, asked), draws))
    keys = {n: [[entity_key(user) for user in asked] for asked in some] for n, some in draws.items()}
    view = store.get_feature_view("user_top_k")
    store_alone = measure(lambda asked: by_online_store(store, view, asked), keys)
    rows += beside_sql(f"Feast, {name}, its online store alone", sql, store_alone)
    with feature_server(project.layout.feature_repo) as address:
        server = http.client.HTTPConnection(urlsplit(address).netloc)
        require_same(lists_of_response(by_server(server, list(expected))), expected)
        rows += beside_sql(f"feast serve, {name}", sql, measure(lambda asked: by_server(server, asked), draws))
    return rows


def draw_lookups(users: Sequence[str], lookups: Mapping[int, int]) -> dict[int, list[list[str]]]:
    """Draw the users of each lookup; the key is the number of users of a lookup."""
    draw = random.Random(0)
    return {
        count: [draw.sample(users, min(count, len(users))) for _ in range(times)] for count, times in lookups.items()
    }


def measure(look_up: Callable[[Any], Any], draws: Mapping[int, Sequence[Any]]) -> dict[int, list[float]]:
    """Return the ascending seconds of the lookups. A first lookup of each kind is not measured."""
    seconds: dict[int, list[float]] = {}
    for count, some in draws.items():
        look_up(some[0])
        seconds[count] = []
        for asked in some:
            started = time.perf_counter()
            look_up(asked)
            seconds[count].append(time.perf_counter() - started)
        seconds[count].sort()
    return seconds


def beside_sql(peer: str, sql: Mapping[int, list[float]], seconds: Mapping[int, list[float]]) -> list[Row]:
    """Make the rows of one peer beside SQL, which is ours."""
    comparison = Comparison("lookup", peer, PACKAGES)
    return [
        comparison.row(
            f"top {TOP_K} of {count:,} users",
            f"p{percent}",
            "s",
            ours=percentile(sql[count], percent),
            peer=percentile(seconds[count], percent),
        )
        for count in seconds
        for percent in (50, 99)
    ]


def by_sql(connection: duckdb.DuckDBPyConnection, users: Sequence[str]) -> list[tuple[Any, ...]]:
    """Look users up by SQL."""
    if len(users) == 1:
        return connection.execute(_ONE, [users[0]]).fetchall()
    return connection.execute(_SOME, [list(users)]).fetchall()


def by_feast(store: FeatureStore, users: Sequence[str]) -> dict[str, list[Any]]:
    """Look users up by Feast's Python call."""
    response = store.get_online_features(FEATURES, [{"user_id": user} for user in users])
    columns: dict[str, list[Any]] = response.to_dict()
    return columns


def entity_key(user: str) -> EntityKey:
    """Return the key that Feast makes of a user id."""
    return EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user)])


def by_online_store(store: FeatureStore, view: FeatureView, keys: list[EntityKey]) -> list[Any]:
    """Do only the part of Feast's call that its online store takes."""
    rows: list[Any] = store._get_provider().online_read(store.config, view, keys, ["item_ids", "scores"])
    return rows


def by_server(server: http.client.HTTPConnection, users: Sequence[str]) -> dict[str, Any]:
    """Look users up by one request on an open connection."""
    body = json.dumps({"features": FEATURES, "entities": {"user_id": list(users)}})
    server.request("POST", "/get-online-features", body, {"content-type": "application/json"})
    response: dict[str, Any] = json.loads(server.getresponse().read())
    return response


def lists_of_rows(rows: Sequence[tuple[Any, ...]]) -> Lists:
    """Return the rows of SQL as lists."""
    lists: Lists = {}
    for user, _, item, _ in rows:
        lists.setdefault(user, []).append(item)
    return lists


def lists_of_columns(columns: Mapping[str, Sequence[Any]]) -> Lists:
    """Return the columns of Feast as lists."""
    return dict(zip(columns["user_id"], columns["item_ids"], strict=True))


def lists_of_response(response: Mapping[str, Any]) -> Lists:
    """Return the response of the server as lists."""
    names, results = response["metadata"]["feature_names"], response["results"]
    return lists_of_columns({name: result["values"] for name, result in zip(names, results, strict=True)})


def require_same(found: Lists, expected: Lists) -> None:
    """Exit unless both lookups gave the same lists."""
    if found != expected:
        raise SystemExit(f"not the same lists: {found} and {expected}")


if __name__ == "__main__":
    command(run, __doc__)
