"""The view of events that count as bought, against a plain reading of the rules, and the queries that read the view."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pytest

from semconv.data.event_rules import EventRules
from semconv.settings.events import EventSettings
from semconv_warehouse.publish.sql_files import sql_file
from semconv_warehouse.serving.cookbook import cookbook
from semconv_warehouse.store.layout import package_folder
from tests.worlds.event_log import WEIGHTS, PlainUser, plain_users, random_log

VIEW = sql_file(package_folder("sql") / "views" / "target_event.sql").statement
QUERIES = {query.name: query.statement for query in cookbook()}
TABLES = """
CREATE TABLE {name}user_history (user_id VARCHAR, position INT, item_id VARCHAR, event_time TIMESTAMP, rating FLOAT, event_type VARCHAR, generation BIGINT);
CREATE TABLE {name}run (stage VARCHAR, settings JSON);
CREATE TABLE {name}recommendation (user_id VARCHAR, rank INT, item_id VARCHAR);
CREATE TABLE {name}item (item_id VARCHAR, title VARCHAR);
"""


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """The tables of a generation that the view and the queries read, and those of the generation before."""
    with duckdb.connect() as connection:
        connection.execute("ATTACH ':memory:' AS previous")
        for name in ("", "previous."):
            connection.execute(TABLES.format(name=name))
        connection.execute(VIEW)
        yield connection


def fill(connection: duckdb.DuckDBPyConnection, users: Sequence[PlainUser], settings: dict[str, Any]) -> None:
    rows = [
        (f"u{number}", position, f"i{item}", kind or None)
        for number, user in enumerate(users)
        for position, item, kind in user.events
    ]
    connection.executemany("INSERT INTO user_history VALUES (?, ?, ?, NULL, NULL, ?, 2)", rows)
    serving, testing = ({"split": split, "events": settings} for split in ("serve", "test"))
    other = {"split": "serve", "events": {"targets": ["view"]}}
    for stage, values in (("evaluate", other), ("recommend", {**testing, "events": {}}), ("recommend", serving)):
        connection.execute("INSERT INTO run VALUES (?, ?)", [stage, json.dumps(values)])


def shown(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, int, str]]:
    statement = "SELECT user_id, position, item_id FROM target_event ORDER BY ALL"
    return [(row[0], row[1], row[2]) for row in connection.execute(statement).fetchall()]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("weights", "targets"),
    [
        (WEIGHTS, ("buy",)),
        (WEIGHTS, ("buy", "cart")),
        (WEIGHTS, ()),
        ({**WEIGHTS, "view": 0.0}, ()),
        ({}, ("buy",)),
        ({}, ()),
    ],
)
def test_the_view_shows_the_events_that_a_plain_reading_leaves(
    database: duckdb.DuckDBPyConnection, weights: dict[str, float], targets: tuple[str, ...], seed: int
) -> None:
    settings = EventSettings(weights=tuple(weights.items()), targets=targets, repeats="keep").recorded()
    users = plain_users(random_log(seed), EventRules.of(settings))
    fill(database, users, settings)
    expected = [
        (f"u{number}", position, f"i{item}")
        for number, user in enumerate(users)
        for position, item, kind in user.left(len(user.events))
        if user.is_target(kind)
    ]
    assert shown(database) == sorted(expected)
    assert expected


def test_only_purchases_count_as_bought_since_the_previous_generation(database: duckdb.DuckDBPyConnection) -> None:
    """Users 0 to 2 bought, viewed and returned their item of rank 1; user 3 bought one earlier and views another now."""
    rules = EventRules.of({"weights": list(WEIGHTS.items()), "targets": ["buy"]})
    users = plain_users(["v1 b2", "b1 v2", "b1 b2 r2", "b1 v2", "v3 n4"], rules)
    fill(database, users, EventSettings(weights=tuple(WEIGHTS.items()), targets=("buy",)).recorded())
    database.execute("INSERT INTO previous.user_history FROM user_history WHERE position = 0")
    database.execute("INSERT INTO previous.recommendation SELECT DISTINCT user_id, 1, 'i2' FROM user_history")
    found = database.execute(QUERIES["bought_since_previous"]).fetchall()
    assert [(row[0], row[1], row[4]) for row in found] == [("u0", "i2", 1), ("u4", "i4", None)]
    ratios = database.execute(QUERIES["previous_hit_ratio"]).fetchall()
    assert ratios == [(k, 2, 1, 0.5) for k in (1, 5, 10, 20)]


def test_without_types_and_settings_every_event_counts(database: duckdb.DuckDBPyConnection) -> None:
    users = plain_users(["n1 n2 n1"], EventRules())
    fill(database, users, {})
    assert shown(database) == [("u0", 0, "i1"), ("u0", 1, "i2"), ("u0", 2, "i1")]
