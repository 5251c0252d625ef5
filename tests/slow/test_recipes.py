"""Every command of docs/recipes.md, run on small files in the formats that the page names."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from semconv_cli.main import cli
from tests.worlds.ingest_command import make_project, read
from tests.worlds.paths import ROOT

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "recipes.md").read_text()
RECIPES = {title: re.findall(r"```bash\n(.*?)```", body, re.DOTALL) for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)}  # fmt: skip
REVIEW = {
    "reviewerID": "U",
    "asin": "B1",
    "overall": 5.0,
    "summary": "Good",
    "reviewText": "Nice",
    "unixReviewTime": 1400000000,
}
REVIEW_2023 = {
    "user_id": "U",
    "asin": "C1",
    "parent_asin": "P1",
    "rating": 5.0,
    "title": "Good",
    "text": "Nice",
    "timestamp": 1600000000000,
    "verified_purchase": True,
}
META_2023 = {
    "parent_asin": "P1",
    "title": "Cream",
    "store": "S",
    "features": ["soft"],
    "description": ["Line."],
    "categories": ["Beauty", "Skin"],
}
FILES: dict[str, str | bytes] = {
    "events.csv": "event_time,event_type,product_id,user_id\n2019-10-01 10:00:00 UTC,view,7,u1\n2019-10-01 10:05:00 UTC,purchase,7,u1\n"
    "2019-10-01 10:00:00 UTC,view,7,u2\n2019-10-01 10:00:00 UTC,purchase,7,bot-1\n",
    "retail.csv": "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,CustomerID\n1,0042,LAMP,2,12/1/2010 8:26,17850\n"
    "2,0042,LAMP,-1,12/3/2010 9:00,17850\n3,POST,POSTAGE,1,12/3/2010 9:00,17850\n4,0043,CUP,1,12/3/2010 9:00,\n",
    "clicks.csv": "visitor,item,clicked_at\nv,a,2026-01-01 10:00:00\nv,b,2026-01-01 10:10:00\nv,c,2026-01-01 12:00:00\n",
    "orders.json": json.dumps([{"customer": {"id": "u1"}, "placed_at": "2026-01-01T10:00:00", "lines": [{"sku": "a"}, {"sku": "b"}]}]),
    "products.json": json.dumps([{"id": {"sku": "a"}, "name": {"en": "Lamp"}, "tags": [{"name": "Home"}, {"name": "Light"}]}]),
    "days/1.csv": "user_id,item_id,event_time\nu,a,2026-01-01\nu,b,2026-01-01\n",
    "days/2.csv": "event_time,item_id,user_id,page\n2026-01-02,a,v,home\n",
    "products.csv": "sku,state\na,active\nb,gone\n",
    "ml-1m/ratings.dat": "1::10::5::978300760\n1::11::3::978300761\n",
    "ml-1m/movies.dat": "10::Misérables (1995)::Drama|Musical\n11::Plain::Comedy\n".encode("latin-1"),
    "ml-100k/u.data": "196\t242\t3\t881250949\n",
    "ml-100k/u.item": "242|Misérables (1996)|24-Jan-1997||http://x|0|1|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n".encode("latin-1"),
    "meta_2014.json": "{'asin': 'B1', 'title': \"It's\", 'categories': [['Home', 'Lamps'], ['Office']]}\n",
    "reviews_2014.json": json.dumps(REVIEW) + "\n",
    "meta_2018.json": json.dumps({"asin": "B1", "title": "One", "category": ["A"]}) + "\n",
    "reviews_2018.json": json.dumps(REVIEW) + "\n",
    "meta_2023.jsonl": json.dumps(META_2023) + "\n",
    "reviews_2023.jsonl": "".join(json.dumps({**REVIEW_2023, **more}) + "\n" for more in ({}, {"timestamp": 1700000000000}, {"user_id": "V", "verified_purchase": False})),
}  # fmt: skip
# Recipe -> user, item and second of each interaction, and id, title and categories of each item with a title.
EXPECTED: dict[str, tuple[list[Any], list[Any]]] = {
    "Event log": ([("u1", "7", 1569924000), ("u1", "7", 1569924300)], []),
    "Returns": ([("17850", "0042", 1291191960), ("17850", "0042", 1291366800)], [("0042", "LAMP", None), ("0043", "CUP", None), ("POST", "POSTAGE", None)]),
    "Sessions": ([("v/0", "a", 1767261600), ("v/0", "b", 1767262200), ("v/1", "c", 1767268800)], []),
    "Nested JSON": ([("u1", "a", 1767261600), ("u1", "b", 1767261600)], [("a", "Lamp", ["Home", "Light"])]),
    "Several files": ([("u", "a", 1767225600), ("v", "a", 1767312000)], []),
    "MovieLens 1M": ([("1", "10", 978300760), ("1", "11", 978300761)], [("10", "Misérables (1995)", ["Drama", "Musical"]), ("11", "Plain", ["Comedy"])]),
    "MovieLens 100k": ([("196", "242", 881250949)], [("242", "Misérables (1996)", ["Action", "Comedy"])]),
    "Amazon reviews 2014": ([("U", "B1", 1400000000)], [("B1", "It's", ["Home", "Lamps", "Office"])]),
    "Amazon reviews 2018": ([("U", "B1", 1400000000)], [("B1", "One", ["A"])]),
    "Amazon reviews 2023": ([("U", "P1", 1600000000), ("U", "P1", 1700000000), ("V", "P1", 1600000000)], [("P1", "Cream", ["Beauty", "Skin"])]),
}  # fmt: skip


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("recipes") / "p")


def test_every_recipe_has_a_test() -> None:
    assert list(RECIPES) == list(EXPECTED)


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_gives_the_rows_that_it_promises(
    empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, title: str
) -> None:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    project = shutil.copytree(empty, tmp_path / "project")
    monkeypatch.chdir(tmp_path)
    words = shlex.split("\n".join(RECIPES[title]))
    starts = [number for number, word in enumerate(words) if word == "semconv"]
    for start, end in zip(starts, [*starts[1:], len(words)], strict=True):
        done = CliRunner().invoke(cli, ["--project", str(project), *words[start + 1 : end]])
        assert done.exit_code == 0, done.stderr
    events = "SELECT user_id, item_id, epoch(event_time)::BIGINT FROM interaction ORDER BY ALL"
    items = "SELECT item_id, title, categories FROM item WHERE title IS NOT NULL ORDER BY 1"
    assert (read(project, events), read(project, items)) == EXPECTED[title]
