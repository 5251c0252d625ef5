"""Users whose history is empty: after they returned everything they get the fallback list; without any event, none."""

from __future__ import annotations

from pathlib import Path

from tests.stages.test_held_out import NUM_USERS, made, row, sequences, viewed_and_bought, with_events
from tests.worlds import projects as case
from tests.worlds.stages.night import night, served


def test_a_user_who_returned_everything_gets_the_fallback_list_and_one_without_events_none(tmp_path: Path) -> None:
    project = made(tmp_path / "project", viewed_and_bought())
    night(project)
    before = served(project)
    first, second = case.user_id(0), case.user_id(1)
    returned = [row(0, item, 50 + place, "return") for place, item in enumerate(sequences()[0][:6])]
    profile = case.write_lines(tmp_path / "users.jsonl", [{"user_id": "only a profile", "market": "de"}])
    project = with_events(project, returned)
    project.ingest_users([profile], {})
    project.forget([second])
    night(project)
    after = served(project)
    assert after.keys() == before.keys() - {second}
    assert {user for user in after if after[user] != before[user]} == {first}
    assert len(after[first]) == len(before[first])
    assert {(source, reason) for *_, source, reason in after[first]} == {("['fallback']", "None")}
    assert f"{NUM_USERS - 2} of {NUM_USERS - 1} users are unchanged and keep their lists" in project.progress.said  # type: ignore[attr-defined]
    assert not [result for result in project.check() if result.num_rows]
    assert night(case.reopened(project))[0]["recommend"] == "reused"
    assert project.recommend().settings["pass"] == "full"
    project.publish()
    assert served(project)[first] == after[first]
