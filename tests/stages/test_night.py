"""What a nightly run does and leaves alone, on a small shop from files to a generation."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from semconv import clock
from semconv.errors import InputError, SettingsError
from semconv.stages.evaluate.run import evaluate_run
from semconv.stages.lists.current import newest_lists
from semconv_warehouse.project import Project
from semconv_warehouse.publish.publishing import publish
from tests.worlds import projects as case
from tests.worlds.parts import read_parts
from tests.worlds.stages.night import FITTED, add_events, codes, make_finished, night, served


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_finished(tmp_path / "project"), progress=case.Remarks())


def add_items(project: Project, items: list[dict[str, Any]], *, snapshot: bool = False) -> None:
    file = case.write_lines(project.layout.root / "inputs" / "new_items.jsonl", items)
    project.ingest_items([file], {}, snapshot=snapshot)


def test_the_first_run_publishes_a_whole_checked_generation(project: Project) -> None:
    lists = served(project)
    assert sorted(lists) == sorted(case.histories())
    history = {user: {f"i{number:03d}" for number in numbers} for user, numbers in case.histories().items()}
    for user, rows in lists.items():
        assert [int(row[0]) for row in rows] == list(range(1, 11))
        assert not {row[1] for row in rows} & history[user]
    assert not [result for result in project.check() if result.num_rows]
    methods = {row["method"] for row in project.evaluate()}
    assert {"model", "popularity", "transition"} <= methods
    assert len(codes(project)) == len({number for numbers in case.histories().values() for number in numbers})
    assert all(row["ok"] for row in project.doctor()), project.doctor()
    evaluated = {row["num_users"] for row in project.evaluate() if (row["segment"], row["name"]) == ("all", "ndcg")}
    assert evaluated == {case.NUM_USERS - 2}


def test_a_second_run_reuses_everything(project: Project) -> None:
    before, runs = project.layout.serving.stat().st_ino, case.rows(project, "SELECT * FROM run ORDER BY run_id")
    summary = project.run()
    found = {row["stage"]: row["state"] for row in summary["stages"]}
    assert found == {**dict.fromkeys(FITTED, "kept"), "recommend": "reused", "evaluate": "reused"}
    assert summary["refit"] == {"is_due": False, "reasons": [], "is_done": False}
    assert not summary["publication"]["is_new"]
    assert project.layout.serving.stat().st_ino == before
    assert case.rows(project, "SELECT * FROM run ORDER BY run_id") == runs
    assert len(project.generations()) == 1


def test_changed_event_rules_wait_for_a_refit(project: Project) -> None:
    expected = "settings of [events] changed; histories, lists and reasons keep"
    for weights, is_said in (({}, False), ({"view": 0.5}, True)):
        opened = case.reopened(project, events__weights=weights)
        opened.run()
        assert any(line.startswith(expected) for line in opened.progress.said) is is_said  # type: ignore[attr-defined]


def test_a_moved_project_goes_on_where_it_was(project: Project, tmp_path: Path) -> None:
    shutil.move(project.layout.root, tmp_path / "moved")
    moved = Project.open(tmp_path / "moved", progress=case.Remarks())
    assert night(moved)[0]["recommend"] == "reused"
    assert moved.recommend_query("a red lamp")


def test_new_interactions_of_one_user_recompute_that_user_alone(project: Project) -> None:
    before, code_rows = served(project), codes(project)
    have = case.histories()["u005"]
    add_events(project, case.events({"u005": [(have[-1] + 1) % 60, (have[-1] + 3) % 60]}, start=len(have)))
    project = case.reopened(project)
    summary, publication = night(project)
    assert summary == {
        **dict.fromkeys(FITTED, "kept (stale)"),
        "recommend": "done",
        "evaluate": "kept (stale)",
    }
    assert any("semconv run --refit" in line for line in project.progress.said)
    assert any(
        f"{case.NUM_USERS - 1} of {case.NUM_USERS} users are unchanged" in line for line in project.progress.said
    )
    after = served(project)
    assert codes(project) == code_rows
    assert {user for user in after if after[user] != before[user]} == {"u005"}
    assert not {row[1] for row in after["u005"]} & {f"i{(have[-1] + 1) % 60:03d}", f"i{(have[-1] + 3) % 60:03d}"}
    assert publication.generation == 2
    again = case.reopened(project)
    assert night(again)[0]["recommend"] == "reused"


def test_a_new_user_gets_a_list_beside_those_carried_over(project: Project) -> None:
    before = served(project)
    add_events(project, case.events({"newcomer": [1, 2, 3]}))
    project = case.reopened(project)
    night(project)
    after = served(project)
    assert len(after.pop("newcomer")) == 10
    assert after == before


def test_a_new_item_gets_a_code_and_published_codes_stay(project: Project) -> None:
    before, lists = codes(project), served(project)
    add_items(
        project, [{"item_id": "fresh", "title": "a red lamp", "description": "A lamp in red."}, {"item_id": "mute"}]
    )
    project = case.reopened(project)
    assert night(project)[0]["assign"] == "done"
    after = codes(project)
    assert set(after) - set(before) == {"fresh"}
    assert {item: after[item] for item in before} == before
    assert len(set(after.values())) == len(after)
    source = case.rows(project, "SELECT vector_source FROM item_code WHERE item_id = 'fresh'")
    assert source == [("mapped-from-text",)]
    assert served(project) == lists  # it reaches lists at a full pass
    both = project.recommend(where="item_id IN ('fresh', 'i006')")
    with_it = {row["user_id"] for row in read_parts(project.book.folder(both)).to_pylist() if row["item_id"] == "fresh"}
    assert with_it == set(lists)  # a model can list it from now on
    assert "assign" not in night(case.reopened(project))[0]


def test_a_removed_item_leaves_every_list(project: Project) -> None:
    before = served(project)
    gone = before["u010"][0][1]
    add_items(project, [case.item(number) for number in range(60) if f"i{number:03d}" != gone], snapshot=True)
    project = case.reopened(project)
    night(project)
    after = served(project)
    assert all(row[1] != gone for rows in after.values() for row in rows)
    had = {user for user, rows in before.items() if any(row[1] == gone for row in rows)}
    assert {user for user in after if after[user] != before[user]} == had
    assert not [result for result in project.check() if result.num_rows]


def test_refit_redoes_what_changed_and_nothing_else(project: Project) -> None:
    assert night(case.reopened(project), refit=True)[0] == {
        **dict.fromkeys((*FITTED, "recommend", "evaluate"), "reused")
    }
    changed = case.reopened(project, tuning__epochs=2)
    assert night(changed)[0]["finetune"] == "kept (stale)"
    assert night(case.reopened(project, tuning__epochs=2), refit=True)[0] == {
        **dict.fromkeys(FITTED[:-1], "reused"),
        **dict.fromkeys(("finetune", "recommend", "evaluate"), "done"),
    }
    second = served(project)
    # Back to the settings of before: the first model is the current one again, and stays it.
    back = case.reopened(project)
    first, publication = night(back, refit=True)
    assert first == dict.fromkeys((*FITTED, "recommend", "evaluate"), "reused")
    assert publication.is_new
    assert served(project) != second
    later, publication = night(case.reopened(project))
    assert later["finetune"] == "kept"
    assert not publication.is_new


def test_lists_made_with_an_ad_hoc_condition_or_for_scoring_are_never_published(project: Project) -> None:
    before = served(project)
    run = project.recommend(where="title LIKE '%lamp%'")
    rows = read_parts(project.book.folder(run)).to_pylist()
    assert {row["item_id"] for row in rows} <= {f"i{number:03d}" for number in range(10)}
    project.recommend(split="test")
    project.recommend(split="valid")
    assert not project.publish().is_new
    assert served(project) == before
    for refused in (run, project.recommend(split="test")):
        with pytest.raises(SettingsError):
            publish(project.layout, project.store, refused.run_id)


def test_some_users_alone_are_computed_and_the_others_carried(project: Project) -> None:
    before = served(project)
    listed = {
        user: int(before[user][0][1][1:]) for user in ("u001", "u002", "u003")
    }  # what is recommended first is bought
    elsewhere = next(number for number in range(60) if f"i{number:03d}" not in {row[1] for row in before["u004"]})
    bought = {**{user: [number] for user, number in listed.items()}, "u004": [elsewhere]}
    add_events(project, case.events(bought, start=99), "four")
    project = case.reopened(project)
    names = project.layout.root / "users.txt"
    names.write_text("u001\nu002\n")
    project.recommend(users_file=names)
    project.publish()
    after = served(project)
    assert sorted(after) == sorted(before)
    # u003 was not asked for, but would be offered what they have.
    assert {user for user in after if after[user] != before[user]} == {"u001", "u002", "u003"}
    again = case.reopened(project)
    again.recommend(only_changed=True)  # u004 is still owed a list
    assert any(f"{case.NUM_USERS - 1} of {case.NUM_USERS} users are unchanged" in line for line in again.progress.said)
    names.write_text("nobody\n")
    with pytest.raises(InputError, match="nobody"):
        project.recommend(users_file=names)


def test_a_night_after_lists_of_some_users_recomputes_the_other_changed_users(project: Project) -> None:
    before = served(project)
    known = {user: {row[1] for row in before[user]} for user in ("u001", "u002", "u003")}
    has = {user: {f"i{number:03d}" for number in case.histories()[user]} for user in known}
    # Each buys what the own list does not have, so that only the history says that the list is old.
    bought = {
        user: [next(number for number in range(60) if f"i{number:03d}" not in known[user] | has[user])]
        for user in known
    }
    add_events(project, case.events(bought, start=99), "three")
    project = case.reopened(project)
    names = project.layout.root / "users.txt"
    names.write_text("u001\n")
    some = project.recommend(users_file=names)
    states, publication = night(case.reopened(project))
    assert (states["recommend"], publication.is_new) == ("done", True)
    after = served(project)
    every = project.recommend()
    rows = {(row["user_id"], row["rank"], row["item_id"]) for row in read_parts(project.book.folder(every)).to_pylist()}
    assert {user for user in after if after[user] != before[user]} == set(bought)
    assert rows == {(user, int(row[0]), row[1]) for user, of_user in after.items() for row in of_user}
    assert some.settings["pass"] == "some"
    assert night(case.reopened(project))[0]["recommend"] == "reused"


def test_a_full_pass_with_another_filter_does_not_count(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    now, where = clock.seconds_since_1970(), "title NOT LIKE '%lamp%'"

    def passes(day: int, **settings: str) -> object:
        monkeypatch.setattr(clock, "seconds_since_1970", lambda: now + day * 86_400)
        add_events(project, case.events({"u005": [day]}, start=100 + day), f"day{day}")
        opened = case.reopened(project, **settings)
        night(opened)
        return newest_lists(opened.workspace).settings["pass"]

    assert passes(5, recommend__where=where) == "full"
    assert passes(6) == "changed"
    assert passes(8) == "full"  # eight days after the last one of all items, three after that with the filter
    assert passes(9, recommend__where=where) == "changed"


def test_a_query_is_answered_and_leaves_out_what_the_user_has(project: Project) -> None:
    answers = project.recommend_query("something like a red lamp")
    assert [row["rank"] for row in answers] == list(range(1, 11))
    assert answers[0]["title"]
    assert [row["score"] for row in answers] == sorted((row["score"] for row in answers), reverse=True)
    known = next(user for user, rows in case.histories().items() if int(answers[0]["item_id"][1:]) in rows)
    assert answers[0]["item_id"] not in {
        row["item_id"] for row in project.recommend_query("something like a red lamp", known)
    }
    for text, user in (("  ", None), ("a lamp", "nobody")):
        with pytest.raises(InputError):
            project.recommend_query(text, user)
    with pytest.raises(InputError, match=r"tasks.max_prompt_tokens"):
        project.recommend_query("lamp " * 5000)


def test_parts_made_elsewhere_are_published_and_the_next_run_takes_over_again(project: Project) -> None:
    before = served(project)
    own = project.book.folder(
        next(run for run in project.book.finished("recommend") if run.settings["split"] == "serve")
    )
    table = pq.read_table(own / "part-00000.parquet").slice(0, 20)
    pq.write_table(table, project.layout.root / "part.parquet")
    loaded = project.recommend_load([project.layout.root / "part.parquet"])
    assert loaded.settings["is_loaded"]
    project.publish(force=True)  # for 2 of 80 users
    assert len(served(project)) == 2
    again = case.reopened(project)
    assert night(again)[0]["recommend"] == "reused"
    assert served(project) == before
    with pytest.raises(InputError):
        project.recommend_load([project.layout.root / "absent.parquet"])


def test_tuning_goes_on_from_an_earlier_run(project: Project) -> None:
    start = project.workspace.need("finetune")
    run = case.reopened(project, tuning__replay=1.0).finetune(from_run=start.run_id)
    assert start.run_id in run.inputs
    figures = [project.workspace.run(run_id) for run_id in (start.run_id, run.run_id)]
    assert figures[0].fingerprint != figures[1].fingerprint
    with pytest.raises(SettingsError, match=r"tuning\.mode = lora: .* was tuned with full"):
        case.reopened(project, tuning__mode="lora").finetune(from_run=start.run_id)
    for wrong in ("nothing", project.workspace.need("codebook").run_id):
        with pytest.raises(InputError):
            project.finetune(from_run=wrong)


def test_a_sample_of_users_is_all_that_is_computed_for_an_evaluation(project: Project) -> None:
    sampled = case.reopened(project, evaluate__max_users=12)
    rows = sampled.evaluate()
    assert {row["num_users"] for row in rows if row["segment"] == "all"} == {12}
    lists = sampled.workspace.latest("recommend")
    assert lists is not None
    assert read_parts(sampled.book.folder(lists)).num_rows == 120


def test_prompts_are_exported_as_training_sees_them(project: Project) -> None:
    counts = project.export_prompts(project.layout.root / "prompts.jsonl", epoch=0)
    assert set(counts) >= {"sequential", "text", "query"}
    lines = (project.layout.root / "prompts.jsonl").read_text().splitlines()
    assert len(lines) == sum(counts.values())
    parquet = project.layout.root / "prompts.parquet"
    assert project.export_prompts(parquet, epoch=0) == counts
    assert pq.read_table(parquet).num_rows == len(lines)
    with pytest.raises(InputError, match=r"\.jsonl or \.parquet"):
        project.export_prompts(project.layout.root / "prompts.txt")


def test_lists_for_serving_are_never_scored(project: Project) -> None:
    serve = next(run for run in project.book.finished("recommend") if run.settings["split"] == "serve")
    with pytest.raises(InputError, match="from histories that include the held-out items"):
        evaluate_run(project.workspace, serve)


def test_a_shop_without_text_in_which_nobody_can_be_evaluated_is_served(tmp_path: Path) -> None:
    settings = case.SETTINGS.replace("k_core = 2", "k_core = 1").replace("codes = 16", "codes = 8")
    Project.init(tmp_path / "project", settings)
    project = Project.open(tmp_path / "project", progress=case.Remarks())
    (tmp_path / "project" / "inputs").mkdir()
    pairs = {f"u{user:02d}": [user % 12, (user + 1) % 12] for user in range(24)}
    rows = [{**row, "query": None} for row in case.events({**pairs, "single": [3]})]
    add_events(project, rows)
    project = case.reopened(project)
    found, publication = night(project)
    assert "evaluate" not in found
    assert any("skipped, because no user has the three interactions" in line for line in project.progress.said)
    assert publication.is_new
    lists = served(project)
    assert len(lists) == 25
    assert {len(rows) for rows in lists.values()} == {10}  # 12 items without the one or two that a user has
    with pytest.raises(InputError, match="three interactions"):
        project.evaluate()
    add_items(project, [{"item_id": "fresh", "title": "a lamp"}])
    project = case.reopened(project)
    assert project.codebook_assign() is None
    assert any("has no map from text to codes" in line for line in project.progress.said)


def test_a_project_without_interactions_says_what_to_do(tmp_path: Path) -> None:
    Project.init(tmp_path / "project", case.SETTINGS)
    project = Project.open(tmp_path / "project")
    for command in (project.run, project.embed_behavior, project.embed_text, project.codebook_fit, project.finetune):
        with pytest.raises(InputError, match="semconv"):
            command()
    for late in (project.recommend, project.publish, project.evaluate, project.codebook_report, project.rollback):
        with pytest.raises(InputError, match="semconv"):
            late()
