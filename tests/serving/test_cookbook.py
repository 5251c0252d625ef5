"""The cookbook on the demo's data: each answer is compared with a count in Python. Other programs read the file too."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from semconv_cli.main import cli
from semconv_warehouse.demo.catalog import generate
from semconv_warehouse.project import Project
from semconv_warehouse.serving.cookbook import cookbook
from semconv_warehouse.store.layout import package_folder
from tests.worlds.demo import SHAPE, Demo, quickly

Rows = list[dict[str, Any]]
QUERIES = {query.name: query for query in cookbook()}
LATE = "2030-01-01 00:00:00"


@pytest.fixture(scope="module")
def project(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Generation 2 is served; since generation 1, users bought their items of rank 1 and 7, and two bought unlisted items."""
    root = tmp_path_factory.mktemp("cookbook") / "shop"
    shutil.copytree(demo.folder, root)
    with quickly():
        project = Project.open(root)
        bought = pa.table({**_bought(project), "event_time": [LATE] * 4})
        pq.write_table(bought, root / "bought.parquet")
        project.ingest_interactions([root / "bought.parquet"], {})
        project.recommend(only_changed=True)
        assert project.publish().generation == 2
    return project


def _bought(project: Project) -> dict[str, list[str]]:
    lists, known = defaultdict(list), defaultdict(set)
    for row in rows(project, "SELECT user_id, item_id FROM recommendation ORDER BY user_id, rank"):
        lists[row["user_id"]].append(row["item_id"])
    for row in rows(project, "SELECT user_id, item_id FROM user_history"):
        known[row["user_id"]].add(row["item_id"])
    items = [row["item_id"] for row in rows(project, "SELECT item_id FROM item_code ORDER BY item_id")]
    users = sorted(lists)[:4]
    others = [next(i for i in items if i not in {*lists[user], *known[user]}) for user in users[2:]]
    return {"user_id": users, "item_id": [lists[users[0]][0], lists[users[1]][6], *others]}


@pytest.fixture(scope="module")
def bought(project: Project) -> list[tuple[str, str]]:
    table = pq.read_table(project.layout.root / "bought.parquet")
    return list(zip(table["user_id"].to_pylist(), table["item_id"].to_pylist(), strict=True))


def rows(project: Project, statement: str) -> Rows:
    return project.sql(statement).to_pylist()


def answer(project: Project, name: str, **parameters: str) -> Rows:
    return project.sql_query(name, parameters=parameters).to_pylist()


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_every_query_answers_without_parameters(project: Project, name: str) -> None:
    assert answer(project, name)


def test_top_k_of_user(project: Project) -> None:
    user = rows(project, "SELECT max(user_id) AS u FROM recommendation")[0]["u"]
    shown = project.show_user(user)["recommendations"]
    names = ("rank", "item_id", "title", "score", "sources", "reason_title")
    assert answer(project, "top_k_of_user", user=user, k="3") == [
        {name: row[name] for name in names} for row in shown[:3]
    ]
    assert len(answer(project, "top_k_of_user", user=user)) == 10
    first = rows(project, "SELECT min(user_id) AS u FROM recommendation")[0]["u"]
    assert answer(project, "top_k_of_user") == answer(project, "top_k_of_user", user=first)
    assert answer(project, "top_k_of_user", user="nobody' OR true --") == []


def test_users_for_item(project: Project) -> None:
    item = rows(project, "SELECT item_id FROM recommendation WHERE rank = 2 LIMIT 1")[0]["item_id"]
    listed = [row for row in rows(project, "SELECT * FROM recommendation") if row["item_id"] == item]
    listed.sort(key=lambda row: (row["rank"], -row["score"], row["user_id"]))
    assert [row["user_id"] for row in answer(project, "users_for_item", item=item)] == [
        row["user_id"] for row in listed
    ][:100]
    assert len(answer(project, "users_for_item", item=item, k="1")) == 1


def test_similar_items(project: Project) -> None:
    known = rows(
        project,
        "SELECT item_id, vector FROM item_embedding JOIN item USING (item_id) WHERE is_available ORDER BY item_id",
    )
    vectors = np.array([row["vector"] for row in known])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    distances = 1 - vectors @ vectors[3]
    distances[3] = np.inf
    found = answer(project, "similar_items", item=known[3]["item_id"], k="5")
    assert np.allclose([row["distance"] for row in found], np.sort(distances)[:5], atol=1e-5)
    codes = {row["item_id"]: row["semantic_id"] for row in rows(project, "SELECT item_id, semantic_id FROM item_code")}
    assert all(row["semantic_id"] == codes[row["item_id"]] for row in found)


def test_code_neighbors(project: Project) -> None:
    codes = {row["item_id"]: row["codes"] for row in rows(project, "SELECT item_id, codes FROM item_code")}
    wanted = max(codes, key=lambda item: sum(codes[item][0] == other[0] for other in codes.values()))
    shared = {
        item: next((level for level, (a, b) in enumerate(zip(own, codes[wanted], strict=True)) if a != b), len(own))
        for item, own in codes.items()
        if item != wanted
    }
    nearest = sorted((-count, item) for item, count in shared.items() if count)
    found = [
        (-row["num_levels_shared"], row["item_id"]) for row in answer(project, "code_neighbors", item=wanted, k="1000")
    ]
    assert found == nearest
    assert len(found) > 2


def test_cold_items(project: Project) -> None:
    """The demo's cold items are found, among others that have too few interactions because the demo has few users."""
    found = answer(project, "cold_items", k="10000")
    cold = {item.item_id for item in generate(SHAPE).items[-SHAPE.cold_items :]}
    assert cold <= {row["item_id"] for row in found}
    counted = defaultdict(int)
    for row in rows(project, "SELECT item_id FROM recommendation"):
        counted[row["item_id"]] += 1
    assert [row["num_users"] for row in found] == [counted[row["item_id"]] for row in found]
    assert all(row["num_users"] == 0 for row in found if row["semantic_id"] is None)


def test_coverage_and_balance(project: Project) -> None:
    listed = [row["item_id"] for row in rows(project, "SELECT item_id FROM recommendation")]
    (found,) = answer(project, "coverage")
    assert found["num_recommended_items"] == len(set(listed))
    assert found["item_coverage"] == pytest.approx(len(set(listed)) / found["num_available_items"])
    counts = sorted((listed.count(item) for item in set(listed)), reverse=True)
    assert found["share_of_ten_most_recommended"] == pytest.approx(sum(counts[:10]) / len(listed))
    codes = np.array([row["codes"] for row in rows(project, "SELECT codes FROM item_code")])
    assert [row["num_codes_used"] for row in answer(project, "code_balance")] == [
        len(np.unique(codes[:, level])) for level in range(codes.shape[1])
    ]


def test_bought_since_previous(project: Project, bought: list[tuple[str, str]]) -> None:
    found = answer(project, "bought_since_previous")
    assert [(row["user_id"], row["item_id"]) for row in found] == bought
    assert [row["previous_rank"] for row in found] == [1, 7, None, None]
    titles = {row["item_id"]: row["title"] for row in rows(project, "SELECT item_id, title FROM item")}
    assert [row["title"] for row in found] == [titles[item] for _, item in bought]


def test_previous_hit_ratio(project: Project) -> None:
    found = [tuple(row.values()) for row in answer(project, "previous_hit_ratio")]
    assert found == [(1, 4, 1, 0.25), (5, 4, 1, 0.25), (10, 4, 2, 0.5), (20, 4, 2, 0.5)]


def test_changed_since_previous(project: Project, bought: list[tuple[str, str]]) -> None:
    found = {row["user_id"]: row for row in answer(project, "changed_since_previous")}
    first, second = (user for user, _ in bought[:2])
    assert bought[0][1] in found[first]["dropped"]
    assert bought[1][1] in found[second]["dropped"]
    assert set(found) <= {user for user, _ in bought}


# From the command line


def invoke(project: Project, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--project", str(project.layout.root), "sql", *arguments])


def test_the_command_runs_a_query_by_its_name(project: Project) -> None:
    done = invoke(project, "--query", "top_k_of_user", "--param", "k=2", "--json")
    assert json.loads(done.stdout) == answer(project, "top_k_of_user", k="2")
    assert invoke(project, "SELECT getvariable('a') AS a", "--param", "a=1=2", "--csv").stdout == "a\n1=2\n"


def test_the_command_lists_the_cookbook() -> None:
    done = CliRunner().invoke(cli, ["sql", "--list", "--json"])
    assert {row["query"] for row in json.loads(done.stdout)} == set(QUERIES)
    assert "users_for_item" in CliRunner().invoke(cli, ["sql", "--list"]).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--query", "top_k_of_usr"], "did you mean top_k_of_user?"),
        (["--query", "zzz"], "`semconv sql --list` lists all queries"),
        (["--query", "top_k_of_user", "--param", "usr=1"], "its parameters are user, k"),
        (["--query", "coverage", "--param", "k=1"], "it has none"),
        (["--query", "top_k_of_user", "--param", "k=ten"], "Could not convert"),
        (["--query", "top_k_of_user", "--param", "k"], "is not NAME=VALUE"),
        (["SELECT 1", "--query", "coverage"], "give one of"),
        ([], "give one of"),
    ],
)
def test_wrong_arguments_of_the_command_are_refused(project: Project, arguments: list[str], message: str) -> None:
    done = invoke(project, *arguments)
    assert (done.exit_code, message in done.stderr) == (2, True), done.stderr
    assert done.stderr.count("\n") == 1


def test_a_comparison_without_a_previous_generation_says_so(demo: Demo) -> None:
    done = CliRunner().invoke(cli, ["--project", str(demo.folder), "sql", "--query", "changed_since_previous"])
    assert done.exit_code == 2
    assert "there is no `previous`" in done.stderr


def test_every_file_documents_its_parameters() -> None:
    for query in QUERIES.values():
        used = {name for name in ("user", "item", "k") if f"getvariable('{name}')" in query.statement}
        assert used == set(query.parameters), query.name
        assert query.statement.count("getvariable(") == len(used), query.name


# From other programs, which do not import this package

_PLAIN = """
import sys, json, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    connection.execute("SET VARIABLE user = ?", [sys.argv[2]])
    print(json.dumps([list(row[:3]) for row in connection.execute(open(sys.argv[3]).read()).fetchall()]))
    for statement in ("DELETE FROM recommendation", "CREATE TABLE mine (a INT)"):
        try:
            connection.execute(statement)
        except duckdb.InvalidInputException as error:
            assert "read-only" in str(error), error
        else:
            raise SystemExit(statement + " was taken")
"""
_SQLALCHEMY = """
import sys, json
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

engine = sa.create_engine("duckdb:///" + sys.argv[1], connect_args={"read_only": True}, poolclass=NullPool)
table = sa.table("current_recommendation", *map(sa.column, ("user_id", "rank", "item_id", "title")))
asked = sa.select(table.c.rank, table.c.item_id, table.c.title).where(table.c.user_id == sys.argv[2], table.c.rank <= 10)
with engine.connect() as connection:
    print(json.dumps([list(row) for row in connection.execute(asked.order_by(table.c.rank))]))
    try:
        connection.execute(sa.text("DELETE FROM recommendation"))
    except sa.exc.DBAPIError as error:
        assert "read-only" in str(error), error
    else:
        raise SystemExit("a write was taken")
"""


@pytest.mark.parametrize("program", [_PLAIN, _SQLALCHEMY], ids=["duckdb", "sqlalchemy"])
def test_other_processes_read_it(project: Project, program: str) -> None:
    user = rows(project, "SELECT max(user_id) AS u FROM recommendation")[0]["u"]
    file = package_folder("sql") / "queries" / "top_k_of_user.sql"
    arguments = [sys.executable, "-c", program, str(project.layout.serving), user, str(file)]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=Path(sys.prefix))
    assert done.returncode == 0, done.stderr
    expected = [[row["rank"], row["item_id"], row["title"]] for row in answer(project, "top_k_of_user", user=user)]
    assert json.loads(done.stdout) == expected
