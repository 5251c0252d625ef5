"""Projects in folders with odd names: every command works there."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from semconv_cli.main import COMMANDS, cli
from semconv_warehouse.project import Project
from tests.worlds import projects as case

pytestmark = pytest.mark.slow

EXPERIMENT = """
[[row]]
label = "one"
method = "popularity"
"""


class Shop:
    """A project, and the commands that ran in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.used: set[str] = set()

    def run(self, *words: object, code: int = 0) -> Result:
        self.used.add(str(words[0]))
        result = CliRunner().invoke(cli, ["--project", str(self.root), *map(str, words)])
        assert result.exit_code == code, (words, result.stderr, result.exception)
        return result


@pytest.mark.parametrize("name", ["a [b] *.{c,d}", "q'u\"o %20 %s é日本 #;&$HOME ~ !", "[0-9]**"])
def test_every_command_works_in_a_folder_with_an_odd_name(tmp_path: Path, name: str) -> None:
    shop = Shop(tmp_path / name)
    case.make_project(
        shop.root, settings=case.SETTINGS + "min_items = 0\nmin_length = 0\n"
    )  # the shop's lists are short
    inputs, files = shop.root / "inputs", shop.root / "files [1]"
    files.mkdir()
    with sqlite3.connect(files / "shop.db") as connection:
        connection.execute("CREATE TABLE event AS SELECT 'u001' AS user_id, 'i001' AS item_id, 99 AS source_position")
    connection.close()
    users = pl.DataFrame({"user_id": ["u001", "u002"]})
    users.write_csv(files / "users.csv")
    users.write_parquet(files / "users.parquet")
    url = sa.URL.create("sqlite", database=str(files / "shop.db")).render_as_string()

    shop.run("ingest", "interactions", inputs / "events.jsonl", "--rejected", files / "rejected.csv")
    shop.run("ingest", "items", inputs / "items.jsonl")
    shop.run("ingest", "interactions", "--from-sql", url, "SELECT * FROM event")
    for words in (["backbone", "create"], ["embed", "behavior"], ["embed", "text"], ["codebook", "fit"], ["finetune"]):
        shop.run(*words)
    shop.run("codebook", "assign")
    shop.run("codebook", "report", "--html", files / "codes.html")
    shop.run("prompts", "export", "--output", files / "prompts.parquet")
    shop.run("blend")
    shop.run("recommend", "--users", files / "users.csv")
    shop.run("recommend", "--users", files / "users.parquet")
    shop.run("recommend", "--query", "red lamp")
    shop.run("evaluate", "--html", files / "evaluation.html")
    shop.run("run")
    project = Project.open(shop.root)
    shop.run("blend", "--candidates", "59")
    shop.run("discard", project.workspace.need("blend").run_id)
    lists = project.sql("SELECT user_id, rank, item_id, -rank::DOUBLE AS score FROM recommendation WHERE rank <= 3")
    pq.write_table(lists, files / "lists.parquet")
    shop.run("recommend", "load", files / "lists.parquet")
    shop.run("publish")
    shop.run("features", "apply")
    shop.run("features", "materialize")
    shop.run("features", "get", "--user", "u003")
    shop.run("show", "user", "u003")
    shop.run("show", "item", "i001")
    shop.run("sql", "SELECT count(*) FROM previous.recommendation")
    shop.run("check")
    shop.run("runs")
    shop.run("generations")
    shop.run("forget", "--yes", "--users", files / "users.csv")
    shop.run("check")
    shop.run("prune")
    shop.run("doctor")
    codes = project.sql("SELECT item_id, codes FROM item_code")
    pq.write_table(codes, files / "codes.parquet")
    shop.run("codebook", "report", "--codes", files / "codes.parquet")
    shop.run("codebook", "load", files / "codes.parquet")
    (files / "plan.toml").write_text(EXPERIMENT)
    shop.run("experiment", files / "plan.toml")
    assert shop.used == set(COMMANDS) - {"init", "demo"}
    assert [path.name for path in tmp_path.iterdir()] == [name]
    shutil.rmtree(shop.root)
