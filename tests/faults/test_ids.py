"""Strange ids from ingest to lists, SQL, features, pages and forget: every command gives them back unchanged."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from semconv.stages.lists.parts import part_paths
from semconv_cli.main import cli
from semconv_cli.output import _csv
from semconv_warehouse.project import Project
from semconv_warehouse.publish.external_lists import KnownIds, load_lists
from semconv_warehouse.store.user_files import read_user_ids
from tests.worlds import projects as case
from tests.worlds.faults import bad_inputs as bad
from tests.worlds.faults.ingest_checks import bounded
from tests.worlds.parts import read_parts

SCRIPT = "<script>alert(1)</script>"
# As ingest stores them: without blanks at both ends.
STRANGE = tuple(
    dict.fromkeys(
        name
        for text in (SCRIPT, "a\rb", "in\u2028side", *bad.NASTY, "100%", "a_b", "x" * 9_999)
        if (name := text.strip(bad.BLANKS))
    )
)
# One of each kind, for slow tests.
FEW = (
    SCRIPT, "'; DROP TABLE item; --", "x" * 10_000, "\U0001f469\u200d\U0001f467", "a\r\nb", "%s", "$1", "../../etc/passwd", "--help", "a\x00b",
    "in\u2028side",
)  # fmt: skip


def strange(number: int) -> str:
    return STRANGE[number] if number < len(STRANGE) else f"plain {number}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The small shop with strange ids and titles, published and materialized."""
    assert set(FEW) <= set(STRANGE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(case, "item_id", strange)
        patch.setattr(case, "user_id", strange)
        patch.setattr(
            case,
            "KINDS",
            tuple(f"{SCRIPT} {kind}" for kind in ("lamp", "'; DROP TABLE", "%s", "$1", "a\u2028b", "\x1b[31m")),
        )
        made = case.make_project(tmp_path_factory.mktemp("ids") / "shop")
    made.publish_due(refit=True)
    made.features_materialize()
    yield made
    shutil.rmtree(made.layout.root)


def run(project: Project, *words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["--project", str(project.layout.root), "-q", *words])
    assert result.exit_code == code, (words[:3], result.output[:2000], result.exception)
    return result


def asked(project: Project, *words: str) -> Any:
    return json.loads(run(project, *words, "--json").stdout)


def listed(project: Project) -> dict[str, list[str]]:
    rows = project.sql(
        "SELECT user_id, list(item_id ORDER BY rank) AS items FROM recommendation GROUP BY user_id"
    ).to_pylist()
    return {row["user_id"]: row["items"] for row in rows}


def test_every_user_has_a_list_and_the_checks_pass(project: Project) -> None:
    assert set(listed(project)) == {strange(number) for number in range(case.NUM_USERS)}
    assert all(check.passed for check in project.check())


@pytest.mark.parametrize("user", FEW)
def test_show_and_ready_queries_find_them(project: Project, user: str) -> None:
    items = listed(project)[user]
    shown = json.loads(run(project, "show", "user", "--json", "--", user).stdout)
    assert shown["user_id"] == user
    assert [row["item_id"] for row in shown["recommendations"]] == items
    answer = asked(project, "sql", "--query", "top_k_of_user", "--param", f"user={user}")
    assert [row["item_id"] for row in answer] == items
    as_item = json.loads(run(project, "show", "item", "--json", "--", user).stdout)
    assert as_item["item_id"] == user
    users = asked(project, "sql", "--query", "users_for_item", "--param", f"item={user}", "--param", "k=100")
    assert {row["user_id"] for row in users} == {name for name, items in listed(project).items() if user in items}
    for words in (("show", "user", "--", user), ("show", "item", "--", user)):
        text = run(project, *words).stdout
        assert all(line.isprintable() for line in text.split("\n"))


def test_every_output_format_of_sql_keeps_them(project: Project) -> None:
    statement, names = "SELECT DISTINCT user_id FROM recommendation", set(listed(project))
    assert {row["user_id"] for row in json.loads(run(project, "sql", statement, "--json").stdout)} == names
    lines = run(project, "sql", statement, "--ndjson").stdout.rstrip("\n").split("\n")
    assert {json.loads(line)["user_id"] for line in lines} == names
    with io.StringIO(run(project, "sql", statement, "--csv").stdout_bytes.decode(), newline="") as stream:
        assert {row["user_id"] for row in csv.DictReader(stream)} == names
    table = run(project, "sql", statement, "--limit", "0").stdout
    assert table.count("\n") == len(names) + 2
    assert all(line.isprintable() for line in table.split("\n"))


def test_external_lists_are_loaded_and_published_unchanged(project: Project, tmp_path: Path) -> None:
    shutil.copytree(project.layout.root, tmp_path / "shop")
    copy, before = Project.open(tmp_path / "shop"), listed(project)
    served = copy.sql("SELECT user_id, rank, item_id, -rank::DOUBLE AS score FROM recommendation WHERE rank <= 3")
    pq.write_table(served, tmp_path / "part.parquet")
    run(copy, "recommend", "load", str(tmp_path / "part.parquet"))
    run(copy, "publish", "--force")  # the lists have fewer items than the served ones
    assert listed(copy) == {user: items[:3] for user, items in before.items()}
    known = KnownIds(*project.store.known_ids())
    load_lists([tmp_path / "part.parquet"], known, tmp_path / "run", part_rows=7)
    assert len(part_paths(tmp_path / "run")) > 20
    rows = read_parts(tmp_path / "run").to_pylist()
    assert [(row["user_id"], row["rank"], row["item_id"]) for row in rows] == sorted(
        ((row["user_id"], row["rank"], row["item_id"]) for row in served.to_pylist()),
        key=lambda row: (row[0].encode(), row[1]),
    )


@pytest.mark.parametrize("user", FEW[:6])
def test_features_are_found(project: Project, user: str) -> None:
    found = asked(project, "features", "get", f"--user={user}")
    assert found["user_top_k"]["item_ids"] == listed(project)[user]
    codes = project.sql("SELECT item_id, semantic_id FROM item_code").to_pylist()
    found = asked(project, "features", "get", f"--item={user}")
    assert found["item_code"]["semantic_id"] == next(row["semantic_id"] for row in codes if row["item_id"] == user)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_exported_prompts_hold_them(project: Project, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"prompts.{suffix}"
    run(project, "prompts", "export", "--output", str(path))
    if suffix == "parquet":
        rows = pq.read_table(path).to_pylist()
    else:
        rows = [json.loads(line) for line in path.read_text("utf-8").rstrip("\n").split("\n")]
    users = {row["user_id"] for row in rows} - {None}
    items = {row["item_id"] for row in rows} - {None}
    assert users <= {strange(number) for number in range(case.NUM_USERS)}
    assert items <= {strange(number) for number in range(case.NUM_ITEMS)}
    assert set(FEW) <= users
    assert set(FEW) <= items


@pytest.mark.parametrize("suffix", ["txt", "csv", "parquet"])
def test_lists_are_made_for_the_users_of_a_file(project: Project, tmp_path: Path, suffix: str) -> None:
    users = [user for user in STRANGE if suffix != "txt" or not set(user) & set("\r\n")]
    path = bad.write_ids(tmp_path / f"users.{suffix}", users)
    record = asked(
        project, "--set", f"recommend.top_k={3 + len(suffix)}", "recommend", "--users", str(path), "--split", "valid"
    )
    rows = read_parts(project.layout.runs / record["run_id"]).to_pylist()
    have_target = {
        user
        for user, history in zip(map(strange, range(case.NUM_USERS)), case.histories().values(), strict=True)
        if len(history) >= 3
    }
    assert {row["user_id"] for row in rows} == set(users) & have_target


@pytest.mark.parametrize("user", FEW[:3])
def test_a_query_in_words_is_answered_for_one_of_them(project: Project, user: str) -> None:
    answers = asked(project, "recommend", "--query", "a red chair", f"--user={user}")
    had = {row["item_id"] for row in project.show_user(user)["history"]}
    assert answers
    assert not had & {row["item_id"] for row in answers}


def test_figures_of_each_user_hold_them(project: Project) -> None:
    (run_id,) = {row["run_id"] for row in project.evaluate()}
    rows = pq.read_table(project.layout.runs / run_id / "users.parquet").to_pylist()
    assert {row["user_id"] for row in rows} >= set(FEW)
    assert {row["target_item_id"] for row in rows} <= {strange(number) for number in range(case.NUM_ITEMS)}


def test_pages_escape_them(project: Project, tmp_path: Path) -> None:
    for words in (("evaluate",), ("codebook", "report")):
        path = tmp_path / f"{words[0]}.html"
        run(project, *words, "--html", str(path))
        page = path.read_text("utf-8")
        assert "<script" not in page
        assert path.stat().st_mode & 0o777 == (0o600 if words == ("evaluate",) else 0o644)
        if words == ("evaluate",):  # ids stay as they are; ingest strips markup from titles
            assert any(f"<b>{escape(strange(number))}</b>" in page for number in range(case.NUM_USERS))


@pytest.mark.parametrize(
    "words",
    [
        ("show", "user", "--"),
        ("show", "item", "--"),
        ("recommend", "--query", "x", "--user"),
        ("forget", "--yes", "--user"),
    ],
)
@pytest.mark.parametrize("unknown", ["no\x1b[31m such\nperson", "y" * 10_000])
def test_an_unknown_id_is_named_in_one_printable_line(project: Project, words: tuple[str, ...], unknown: str) -> None:
    result = run(project, *words, unknown, code=4)
    assert result.stderr.count("\n") == 1
    assert result.stderr.rstrip("\n").isprintable()
    assert len(result.stderr) < 2_500


def test_users_with_strange_ids_are_erased(project: Project, tmp_path: Path) -> None:
    shutil.copytree(project.layout.root, tmp_path / "shop")
    copy, before = Project.open(tmp_path / "shop"), listed(project)
    counted = asked(copy, "forget", "--yes", "--dry-run", *(f"--user={user}" for user in STRANGE))
    assert counted["users"] == len(STRANGE)
    erased = FEW[1:]
    asked(copy, "forget", "--yes", *(f"--user={user}" for user in erased))
    assert listed(copy) == {user: items for user, items in before.items() if user not in erased}
    with copy.store.read() as connection:
        left = set(connection.exec_driver_sql("SELECT user_id FROM user_account").scalars())
    assert left >= set(STRANGE) - set(erased)
    assert not left & set(erased)
    assert all(check.passed for check in copy.check())
    again = run(copy, "forget", "--yes", f"--user={erased[0]}", code=4)
    assert "nobody to forget" in again.stderr


def test_no_file_is_named_after_an_id(project: Project) -> None:
    names = {path.name for path in project.layout.root.parent.rglob("*")}
    assert "passwd" not in names
    assert not any("DROP TABLE" in name or "script" in name for name in names)


@bounded(60)
@given(users=st.lists(bad.ids, min_size=1, max_size=6), suffix=st.sampled_from(["txt", "csv", "parquet"]))
def test_ids_in_a_file_of_users_are_read_as_ingest_reads_them(tmp_path: Path, users: list[str], suffix: str) -> None:
    users = [user for user in users if suffix != "txt" or not set(user) & set("\r\n")]
    stored = list(dict.fromkeys(user.strip(bad.BLANKS) for user in users))
    if stored:
        assert read_user_ids(bad.write_ids(tmp_path / f"users.{suffix}", users)) == stored


@bounded(100)
@given(cells=st.lists(st.tuples(bad.texts, bad.texts), min_size=1, max_size=4))
def test_csv_output_keeps_texts(cells: list[tuple[str, str]]) -> None:
    written = _csv(["a", "b"], [{"a": a, "b": b} for a, b in cells])
    with io.StringIO(written, newline="") as stream:
        assert [tuple(row) for row in csv.reader(stream)][1:] == cells
