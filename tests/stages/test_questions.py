"""Questions in words: before the first run, with text vectors, without text, and with a blend instead of a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from semconv.artifacts import write_json
from semconv.columns import FIT_QUESTIONS
from semconv.errors import InputError, SettingsError
from semconv.runs.files import QUESTION_WEIGHTS, WORDS
from semconv_cli.main import cli
from semconv_warehouse.project import Project
from tests.worlds import projects as case


def said(project: Project) -> str:
    lines: list[str] = project.progress.said  # type: ignore[attr-defined]
    return lines[-1]


def titles(project: Project, text: str, user: str | None = None, where: str | None = None) -> list[str]:
    return [row["title"] or "" for row in project.recommend_query(text, user, where)]


def test_items_are_found_before_the_first_run(tmp_path: Path) -> None:
    project = case.make_project(tmp_path / "shop")
    found = titles(project, "A LAMP, please")
    assert len(found) == 10
    assert {title.split()[1] for title in found} == {"lamp"}
    assert "text matching alone: there is no model and no blend yet; `semconv run`" in said(project)
    assert titles(project, "yellow vases")[0] == "yellow vase"
    assert "lamp" not in " ".join(titles(project, "red", where="title NOT LIKE '%lamp%'"))
    rows = project.recommend_query("red lamp")
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    for text in ("", " \n"):
        with pytest.raises(InputError, match="the query is empty"):
            project.recommend_query(text)
    for text, reason in (
        ("blorp", r"no item has a word of the query \(blorp\)"),
        ("i want the", "only words that say"),
    ):
        with pytest.raises(InputError, match=reason):
            project.recommend_query(text)
    with pytest.raises(SettingsError, match="allows no available item"):
        project.recommend_query("lamp", where="false")
    with pytest.raises(InputError, match="unknown user nobody"):
        project.recommend_query("lamp", "nobody")
    assert project.runs() == []


def test_a_user_gets_no_item_that_the_user_has(tmp_path: Path) -> None:
    project = case.make_project(tmp_path / "shop")
    have = case.histories()["u001"]
    kind = (case.item(have[0])["title"]).split()[1]
    mine = {row["item_id"] for row in project.recommend_query(kind, "u001")}
    assert not mine & {case.item_id(number) for number in have}
    assert case.item_id(have[0]) in {row["item_id"] for row in project.recommend_query(kind)}


def test_items_that_may_not_be_listed_are_no_answers(tmp_path: Path) -> None:
    project = case.make_project(tmp_path / "shop")
    gone = project.recommend_query("red lamp")[0]["item_id"]
    with project.store.write() as connection:
        connection.exec_driver_sql("UPDATE item SET is_available = false WHERE item_id = ?", (gone,))
    assert gone not in {row["item_id"] for row in case.reopened(project).recommend_query("red lamp")}


def test_a_catalogue_without_text_has_no_answers(tmp_path: Path) -> None:
    project = Project.init(tmp_path / "shop", case.SETTINGS)
    project = Project.open(project.root, progress=case.Remarks())
    rows = [{"item_id": f"i{number}"} for number in range(5)]
    project.ingest_items([case.write_lines(tmp_path / "items.jsonl", rows)], {})
    with pytest.raises(InputError, match="no item has a word of the query"):
        project.recommend_query("lamp")


def test_the_index_is_a_file_of_the_text_vectors_and_follows_the_catalogue(tmp_path: Path) -> None:
    project = case.make_coded_project(tmp_path / "shop")
    before = titles(project, "red lamp")
    path = project.book.folder(project.workspace.need("embed_text")) / WORDS
    assert path.exists()
    built = path.stat().st_ino
    assert titles(project, "red lamp") == before
    assert path.stat().st_ino == built
    for damage in (path.read_bytes()[:-3], path.read_bytes()[:-3] + b"xyz", b""):
        path.write_bytes(damage)
        assert titles(project, "red lamp") == before
        assert any("rebuilding it" in line for line in project.progress.said)  # type: ignore[attr-defined]
    more = [{"item_id": "new", "title": "purple parasol"}]
    project.ingest_items([case.write_lines(tmp_path / "more.jsonl", more)], {})
    assert titles(case.reopened(project), "parasols")[0] == "purple parasol"
    assert all(check.passed for check in project.check())
    # No item has the word, but text vectors compare parts of words.
    assert len(titles(project, "lampshade")) == 10
    assert "no item has a word of the query (lampshade); ranked by text vectors alone" in said(project)


def test_a_model_is_fused_with_text_on_held_out_queries(tmp_path: Path) -> None:
    project = case.make_coded_project(tmp_path / "shop")
    project.finetune()
    found = titles(project, "a lamp")
    assert {title.split()[1] for title in found} == {"lamp"}
    assert "ranked by text matching and the model, with weights fitted on" in said(project)
    run = project.workspace.need(FIT_QUESTIONS)
    titles(project, "wurd for")
    assert said(project).startswith("no item has a word of the query (wurd); ranked by text matching and the model")
    titles(project, "lamp wurd")
    assert said(project).endswith("no item has the words wurd")
    with pytest.raises(InputError, match=r"tasks.max_prompt_tokens"):
        project.recommend_query("lamp " * 5000)
    assert project.workspace.need(FIT_QUESTIONS).run_id == run.run_id  # fitted once for a model
    result = CliRunner().invoke(cli, ["--project", str(tmp_path / "shop"), "evaluate", "--questions", "--json"])
    assert result.exit_code == 0, result.stderr
    rows = {(row["method"], row["name"], row["k"]): row for row in json.loads(result.stdout)}
    assert {method for method, _, _ in rows} == {
        f"question-{way}" for way in ("bm25", "model", "fused", "fused-user", "text", "popularity")
    }
    for ours, theirs in (("fused", "bm25"), ("fused", "model"), ("fused-user", "fused")):
        difference = rows[f"question-{ours}", f"hit_ratio_over_question-{theirs}", 10]
        values = [rows[f"question-{way}", "hit_ratio", 10]["value"] for way in (ours, theirs)]
        assert difference["value"] == pytest.approx(values[0] - values[1])
        assert difference["ci_low"] <= difference["value"] <= difference["ci_high"]
    printed = CliRunner().invoke(cli, ["--project", str(tmp_path / "shop"), "evaluate", "--questions"])
    assert "question-fused" in printed.stdout
    assert "queries; split test" in printed.stdout
    refused = CliRunner().invoke(cli, ["--project", str(tmp_path / "shop"), "evaluate", "--questions", "--segments"])
    assert refused.exit_code == 2
    file = project.book.folder(run) / QUESTION_WEIGHTS
    write_json(file, {})
    with pytest.raises(InputError, match=r"questions.json: damaged or missing"):
        project.recommend_query("a lamp")
