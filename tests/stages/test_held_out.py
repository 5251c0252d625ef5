"""No user is evaluated on an item that a kept model or kept vectors may have been trained on."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from semconv.errors import InputError
from semconv.stages.blend.choice import fitting_lineage, reason_against
from semconv_warehouse.project import Project
from tests.worlds import projects as case
from tests.worlds.stages.night import night

NUM_USERS = 60
SETTINGS = case.SETTINGS.replace('use = "never"', "model = false").replace(
    "[gates]", "[events]\nweights = { view = 0.1, purchase = 1, return = -1 }\n[gates]"
)
ALL_TRAIN = SETTINGS.replace("k_core = 2", "k_core = 1")
_START = datetime(2020, 1, 1, tzinfo=UTC)


def row(user: int, item: int, place: int, kind: str = "purchase", day: int | None = None) -> dict[str, Any]:
    time = _START + timedelta(days=user + place if day is None else day)
    names = {"user_id": case.user_id(user), "item_id": case.item_id(item), "event_type": kind}
    return {**names, "source_position": place, "event_time": time.isoformat()}


def made(root: Path, first: list[dict[str, Any]], settings: str = SETTINGS) -> Project:
    """A project whose vectors and blend without a model are of the events ``first``."""
    project = Project.open(Project.init(root, settings).root, progress=case.Remarks())
    project.ingest_items([case.write_lines(root / "items.jsonl", [case.item(n) for n in range(case.NUM_ITEMS)])], {})
    return fitted(with_events(project, first))


def with_events(project: Project, rows: list[dict[str, Any]]) -> Project:
    project.ingest_interactions([case.write_lines(project.layout.root / "events.jsonl", rows)], {})
    return case.reopened(project)


def fitted(project: Project) -> Project:
    for command in (project.backbone_create, project.embed_behavior, project.embed_text, project.blend):
        command()
    return project


def sequences(seed: int = 0) -> list[list[int]]:
    """Eight random items of each user; the fourth is viewed only."""
    rng = random.Random(seed)
    return [rng.sample(range(case.NUM_ITEMS), 8) for _ in range(NUM_USERS)]


def viewed_and_bought() -> list[dict[str, Any]]:
    return [
        row(user, item, place, "view" if place == 3 else "purchase")
        for user, items in enumerate(sequences())
        for place, item in enumerate(items[:6])
    ]


def figures(project: Project) -> tuple[int, dict[str, Any]]:
    """The number of evaluated users, and the protocol of the behaviour vectors' row."""
    found = next(
        row
        for row in project.evaluate()
        if (row["method"], row["name"], row["k"], row["segment"]) == ("behavior-svd", "ndcg", 10, "all")
    )
    return found["num_users"], found["protocol"]


def test_users_who_bought_what_they_had_viewed_are_left_out_until_the_next_fit(tmp_path: Path) -> None:
    project = made(tmp_path / "project", viewed_and_bought())
    assert figures(project)[0] == NUM_USERS
    bought = [row(user, items[3 if user < 20 else 6], 50) for user, items in enumerate(sequences())]
    project = with_events(project, bought)
    users, protocol = figures(project)
    assert (users, protocol["num_users_maybe_trained_on"]) == (NUM_USERS - 20, 20)
    assert protocol["num_users_not_sampled"] == 0
    fitted(project)
    users, protocol = figures(project)
    assert (users, "num_users_maybe_trained_on" in protocol) == (NUM_USERS, False)


def test_users_whose_returns_make_an_earlier_item_the_last_one_are_left_out(tmp_path: Path) -> None:
    project = made(tmp_path / "project", viewed_and_bought())
    returned = [
        row(user, item, 50 + n, "return") for user in range(25) for n, item in enumerate(sequences()[user][4:6])
    ]
    users, protocol = figures(with_events(project, returned))
    assert (users, protocol["num_users_maybe_trained_on"]) == (NUM_USERS - 25, 25)


def test_new_events_at_the_ends_of_sequences_leave_nobody_out(tmp_path: Path) -> None:
    project = made(tmp_path / "project", viewed_and_bought())
    users, protocol = figures(with_events(project, [row(user, items[6], 50) for user, items in enumerate(sequences())]))
    assert (users, "num_users_maybe_trained_on" in protocol) == (NUM_USERS, False)


def test_nothing_is_evaluated_if_everybody_is_left_out(tmp_path: Path) -> None:
    project = made(tmp_path / "project", viewed_and_bought())
    project = with_events(project, [row(user, items[3], 50) for user, items in enumerate(sequences())])
    with pytest.raises(InputError, match="60 users may have been trained on theirs, see `semconv run --refit`"):
        project.evaluate()


def test_a_blend_is_not_fitted_on_items_of_the_training_either(tmp_path: Path) -> None:
    project = made(tmp_path / "project", viewed_and_bought())
    bought = [
        row(user, item, 50 + place)
        for user, items in enumerate(sequences())
        for place, item in enumerate([items[3 if user < 20 else 6], items[7]])
    ]
    project = with_events(project, bought)
    fit = project.blend()
    said = project.workspace.progress.said  # type: ignore[attr-defined]
    assert "blend: 20 users are left out, because the model may have been trained on their item" in said
    assert fit["num_users"] == NUM_USERS - 20


def test_new_events_are_no_reason_against_a_blend_with_weights_of_another_cut(tmp_path: Path) -> None:
    """A model of the train cut [:-1] was trained on validation items, and its blend takes weights that were fitted before."""
    settings = SETTINGS.replace("[split]", '[split]\ntemporal_at = "0.8"')
    project = made(tmp_path / "project", spread_over_weeks(), settings)
    project = fitted(case.reopened(project, split__train_cut="[:-1]"))
    later = [row(user, items[0], 50, day=60) for user, items in enumerate(sequences(1))]
    with_events(project, later)
    project = case.reopened(project, split__train_cut="[:-1]")
    assert reason_against(project.workspace, fitting_lineage(project.workspace)) is None


def spread_over_weeks() -> list[dict[str, Any]]:
    """An event of each user every week, so that a cut in time divides them."""
    return [
        row(user, item, place, day=7 * place + user % 5)
        for user, items in enumerate(sequences())
        for place, item in enumerate(items)
    ]


def test_a_cut_in_time_that_older_events_moved_back_is_refused(tmp_path: Path) -> None:
    settings = SETTINGS.replace("[split]", '[split]\ntemporal_at = "0.8"')
    project = made(tmp_path / "project", spread_over_weeks(), settings)
    assert figures(project)[0] > 30
    later = [row(user, items[0], 50, day=60) for user, items in enumerate(sequences(1))]
    assert figures(with_events(project, later))[0] > 30, "a cut that moves on is no leak"
    older = [
        row(user + 100, item, place, day=place - 500)
        for user, items in enumerate(sequences(2) * 3)
        for place, item in enumerate(items)
    ]
    project = with_events(project, older)
    with pytest.raises(
        InputError,
        match=r"the split test begins at .* was trained on interactions up to .*: older interactions came in",
    ):
        project.evaluate()
    stages, _ = night(project)
    assert stages["embed_behavior"] == "kept (stale)"
    assert fitted(case.reopened(project)).evaluate()


def test_users_whose_third_item_came_after_the_training_are_left_out(tmp_path: Path) -> None:
    """All items of a user with fewer than three are for training, and the second is the validation item of three."""
    events = [event for event in viewed_and_bought() if event["event_type"] == "purchase"]
    young = [user for user in range(NUM_USERS) if user % 3 == 0]
    first = [event for event in events if int(event["user_id"][1:]) not in young or event["source_position"] < 2]
    project = made(tmp_path / "project", first, ALL_TRAIN)
    project = with_events(project, [row(user, sequences()[user][6], 50) for user in young])
    assert project.blend()["num_users"] == NUM_USERS - len(young)


def test_a_bought_again_item_in_the_history_is_no_reason_to_leave_a_user_out(tmp_path: Path) -> None:
    settings = SETTINGS.replace("[events]", '[events]\nrepeats = "keep"')
    project = made(tmp_path / "project", viewed_and_bought(), settings)
    again = [row(user, items[0], 50 + place) for user, items in enumerate(sequences()) for place in range(2)]
    users, protocol = figures(with_events(project, again))
    assert (users, "num_users_maybe_trained_on" in protocol) == (NUM_USERS, False)


def test_nobody_is_left_out_of_a_fresh_fit_although_a_trained_purchase_was_returned_and_repeated(
    tmp_path: Path,
) -> None:
    events = viewed_and_bought()
    for user, items in enumerate(sequences()):
        events += [row(user, items[6], 50), row(user, items[0], 51, "return"), row(user, items[0], 52)]
    settings = SETTINGS.replace("[events]", '[events]\nrepeats = "keep"')
    users, protocol = figures(made(tmp_path / "project", events, settings))
    assert (users, "num_users_maybe_trained_on" in protocol) == (NUM_USERS, False)


def test_corrected_dates_that_make_trained_items_held_out_ones_leave_their_users_out(tmp_path: Path) -> None:
    settings = SETTINGS.replace("[split]", '[split]\ntemporal_at = "2020-02-05"')
    project = made(tmp_path / "project", spread_over_weeks(), settings)
    before = figures(project)[0]
    moved = [
        {**event, "event_time": (_START + timedelta(days=60 + event["source_position"])).isoformat()}
        for event in spread_over_weeks()
        if int(event["user_id"][1:]) < 15 and event["source_position"] >= 2
    ]
    users, protocol = figures(with_events(project, moved))
    assert (users, protocol["num_users_maybe_trained_on"]) == (before - 15, 15)
