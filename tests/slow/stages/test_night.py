"""Nights that train or compute much: other settings, other models, prunes, interruptions."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from semconv.errors import InputError, SettingsError
from semconv_warehouse.project import Project
from tests.worlds import projects as case
from tests.worlds.stages.night import add_events, codes, make_finished, night, served


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests work on copies."""
    return make_finished(tmp_path_factory.mktemp("shop") / "project")


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Project:
    shutil.copytree(finished, tmp_path / "project")
    return Project.open(tmp_path / "project", progress=case.Remarks())


def test_other_recommend_settings_make_all_lists_anew_under_their_own_fingerprint(project: Project) -> None:
    first = project.workspace.latest("recommend")
    shorter = case.reopened(project, recommend__top_k=5)
    states_now = night(shorter)[0]
    assert states_now["recommend"] == "done"
    assert {len(rows) for rows in served(project).values()} == {5}
    assert len({run["fingerprint"] for run in shorter.runs() if run["stage"] == "recommend"}) == 4
    assert first is not None
    filtered = case.reopened(project, recommend__where="title NOT LIKE '%lamp%'")
    night(filtered)
    lamps = {f"i{number:03d}" for number in range(60) if "lamp" in case.item(number)["title"]}
    assert not {row[1] for rows in served(project).values() for row in rows} & lamps
    with pytest.raises(SettingsError):
        case.reopened(project, recommend__where="no such column").recommend()


def test_some_users_of_a_fresh_model_do_not_replace_everybody(project: Project) -> None:
    before = served(project)
    longer = case.reopened(project, tuning__epochs=2)
    longer.finetune()
    names = project.layout.root / "users.csv"
    names.write_text("user_id\nu001\nu002\n")
    longer.recommend(users_file=names)
    assert case.rows(
        project, "SELECT count(*) FROM run WHERE stage = 'recommend' AND settings ->> '$.users' <> 'all'"
    ) == [(1,)]
    longer.publish()
    after = served(project)
    assert sorted(after) == sorted(before)
    assert {user for user in after if after[user] != before[user]} <= {"u001", "u002"}
    assert night(case.reopened(project, tuning__epochs=2))[0]["recommend"] == "done"  # and then for all


def test_only_changed_and_full_passes(project: Project) -> None:
    add_events(project, case.events({"u007": [5, 6]}, start=50), "seven")
    project = case.reopened(project)
    changed = project.recommend(only_changed=True)
    assert changed.settings["pass"] == "changed"
    assert project.recommend().settings["pass"] == "full"
    due = case.reopened(project, recommend__full_pass_days=0)
    assert night(due)[0]["recommend"] in ("done", "reused")
    assert due.workspace.latest("recommend") is not None


def test_two_models_are_compared_over_the_same_users(project: Project) -> None:
    project.evaluate()
    first = project.workspace.need("evaluate")
    other = case.reopened(project, tuning__epochs=2)
    other.finetune()
    rows = other.evaluate(against=first.run_id)
    assert {row["num_users"] for row in rows} == {case.NUM_USERS - 2}
    assert all(row["difference"] == pytest.approx(row["ours"] - row["theirs"]) for row in rows)
    with pytest.raises(InputError, match="not a finished evaluate run"):
        other.evaluate(against=other.workspace.need("codebook").run_id)


def test_prune_keeps_what_is_served_and_can_be_gone_on_with(project: Project) -> None:
    for start in (60, 70, 80):
        add_events(project, case.events({"u004": [start % 60, (start + 7) % 60]}, start=start), f"night{start}")
        project = case.reopened(project)
        project.recommend(only_changed=True)
        project.publish()
    planned = project.prune(1, True)
    assert planned["generations"] == [3, 2, 1]
    assert all(project.layout.generation_file(number).exists() for number in (1, 2, 3, 4))
    done = project.prune(1, False)
    assert done == {**planned, "dry_run": False}
    assert done["bytes"] > 0
    assert [project.layout.generation_file(number).exists() for number in (1, 2, 3, 4)] == [False, False, False, True]
    assert [row["status"] for row in project.generations()] == ["published", "pruned", "pruned", "pruned"]
    assert not any((project.layout.runs / run_id).exists() for run_id in done["runs"])
    project = case.reopened(project)
    assert project.prune(1, False)["runs"] == []
    assert all(row["ok"] for row in project.doctor())
    assert night(project)[0]["recommend"] == "reused"


def test_a_forgotten_user_leaves_lists_models_inputs_and_others_alone(project: Project) -> None:
    before = served(project)
    project.forget(["u004"])
    add_events(project, case.events({"u005": [3]}, start=60))
    project = case.reopened(project)
    states, publication = night(project)
    assert (publication.generation, states["recommend"], states["finetune"]) == (2, "done", "kept (stale)")
    after = served(project)
    assert set(before) - set(after) == {"u004"}
    assert not any("forgotten" in user for user in after)
    assert [user for user in after if after[user] != before[user]] in ([], ["u005"])
    assert all(result.passed for result in project.check())
    again = case.reopened(project)
    again.finetune(from_run="current")  # what it was tuned on is read without the one who is gone
    assert again.workspace.need("finetune").run_id != states["finetune"]


def test_lists_that_are_not_published_yet_survive_a_prune(project: Project) -> None:
    longer = case.reopened(project, tuning__epochs=2)
    longer.finetune()
    longer.recommend()
    longer.evaluate()
    longer.prune(1, False)
    assert longer.publish().is_new


class Interrupting(case.Remarks):
    """Stops like a Ctrl-C at the n-th line or step."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def count(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def say(self, message: str) -> None:
        self.count()

    def task(self, label: str, total: float, unit: str, done: float = 0.0) -> Any:
        counting = self

        class Bar:
            def advance(self, amount: float, note: str = "") -> None:
                counting.count()

        return nullcontext(Bar())


def test_a_run_that_is_interrupted_again_and_again_ends_like_an_undisturbed_one(finished: Path, tmp_path: Path) -> None:
    root = case.make_project(tmp_path / "project").layout.root
    for attempt in range(1, 30):
        try:
            night(Project.open(root, progress=Interrupting(2 * attempt)))
            break
        except KeyboardInterrupt:
            pass
    assert attempt > 6
    project, undisturbed = Project.open(root), Project.open(finished)
    assert served(project) == served(undisturbed)
    assert codes(project) == codes(undisturbed)
    rest = {"metric": f"* EXCLUDE (run_id, protocol), {case.PROTOCOL}"}
    for table in ("item_embedding", "user_embedding", "metric"):
        columns = rest.get(table, "* EXCLUDE run_id")
        sql = f"SELECT {columns} FROM {table} ORDER BY ALL"
        assert case.rows(project, sql) == case.rows(undisturbed, sql)
    assert {run["status"] for run in project.runs()} == {"finished"}
    assert len(project.generations()) == 1
