"""A model whose vectors, or whose earlier tuning, learned from today's held-out items: what is neither chosen nor measured on them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from semconv.errors import InputError
from semconv.stages.blend.choice import fitting_lineage, reason_against
from semconv.stages.evaluate.run import why_no_evaluation
from semconv.stages.questions.weights import HeldOutQueries
from semconv_warehouse.project import Project
from tests.worlds import dated
from tests.worlds import projects as case

BLENDED = dated.SETTINGS.replace('use = "never"', 'use = "auto"').replace("epochs = 8", "epochs = 1")


def validations(project: Project) -> list[dict[str, Any]]:
    """The validations of the newest tuning."""
    record = project.workspace.need("finetune")
    figures = json.loads((project.workspace.book.folder(record) / "figures.json").read_text())
    return list(figures.get("validations", []))


def said(project: Project) -> list[str]:
    return project.workspace.progress.said  # type: ignore[attr-defined, no-any-return]


def copied(template: Path, folder: Path, **overrides: Any) -> Project:
    root = shutil.copytree(template, folder / "project")
    return case.reopened(Project.open(root), **overrides)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose vectors and model are of the train cut [:-1], so that they know the validation items."""
    root = tmp_path_factory.mktemp("held-out") / "project"
    project = dated.make_project(root, settings=BLENDED.replace("k_core = 2", 'k_core = 2\ntrain_cut = "[:-1]"'))
    return dated.fit(project).layout.root


@pytest.mark.parametrize("from_run", [None, "current"])
def test_nothing_is_chosen_on_items_that_the_vectors_or_the_earlier_model_know(
    shipped: Path, tmp_path: Path, from_run: str | None
) -> None:
    project = copied(shipped, tmp_path, split__train_cut="[:-2]", tuning__replay=1.0)
    project.finetune(from_run=from_run)
    assert validations(project) == []
    assert any(line.startswith("no validation, because ") and "train_cut = [:-1]" in line for line in said(project))
    why = reason_against(project.workspace, fitting_lineage(project.workspace))
    assert why is not None
    assert (
        "was trained with split.train_cut = [:-1], which contains the validation items on which a blend is fitted"
        in why
    )
    with pytest.raises(InputError, match="on which a blend is fitted; train again with `semconv run --refit`"):
        project.blend()


def test_users_with_a_third_item_since_the_earlier_tuning_validate_nothing(tmp_path: Path) -> None:
    of = case.histories()
    young = list(of)[:30]
    first = {user: items[:2] if user in young else items for user, items in of.items()}
    settings = BLENDED.replace("k_core = 2", "k_core = 1")
    project = dated.fit(dated.make_project(tmp_path / "project", dated.events(first), settings))
    third = [event for event in dated.events({user: of[user][:3] for user in young}) if event["source_position"] == 2]
    project.ingest_interactions([case.write_lines(tmp_path / "third.jsonl", third)], {})
    project = case.reopened(project, tuning__validation_users=1000, tuning__replay=1.0)
    project.finetune(from_run="current")
    expected = "validation: 30 users are left out, because vectors or the earlier model were trained on their item"
    assert expected in said(project)
    project.evaluate(split="valid")
    found = next(row for row in project.evaluate(split="valid") if row["method"] == "model" and row["segment"] == "all")
    assert found["protocol"]["num_users_maybe_trained_on"] == 30


@pytest.mark.parametrize("from_run", [None, "current"])
def test_a_split_in_time_after_a_training_without_one_is_not_evaluated(tmp_path: Path, from_run: str | None) -> None:
    project = copied(dated.tuned_template(), tmp_path, split__temporal_at="0.8", tuning__replay=1.0)
    project.finetune(from_run=from_run)
    assert validations(project) == []
    assert any("the split valid begins at" in line for line in said(project))
    why = why_no_evaluation(project.workspace, project.workspace.lineage())
    assert why is not None
    assert "was trained on interactions up to" in why
    assert "split.temporal_at changed" in why


def test_a_cut_in_time_before_the_end_of_a_later_tuning_is_not_evaluated(tmp_path: Path) -> None:
    """The vectors are older than the cut, and only the tuning that continued is not."""
    settings = BLENDED.replace("k_core = 2", 'k_core = 2\ntemporal_at = "0.8"')
    project = dated.fit(dated.make_project(tmp_path / "project", settings=settings))
    later = dated.events({f"u{n}": [n % 60, (n + 1) % 60, (n + 3) % 60, (n + 4) % 60] for n in range(100, 160)})
    for event in later:
        event["event_time"] = "2017" + event["event_time"][4:]
    project.ingest_interactions([case.write_lines(tmp_path / "later.jsonl", later)], {})
    project = case.reopened(project)
    project.finetune(from_run="current")
    assert why_no_evaluation(project.workspace, project.workspace.lineage()) is None
    older = dated.events({f"u{n}": [n % 60, (n + 1) % 60, (n + 3) % 60] * 3 for n in range(200, 500)})
    for event in older:
        event["event_time"] = "2003" + event["event_time"][4:]
    project.ingest_interactions([case.write_lines(tmp_path / "older.jsonl", older)], {})
    project = case.reopened(project)
    why = why_no_evaluation(project.workspace, project.workspace.lineage())
    assert why is not None
    assert "finetune-" in why


def test_queries_of_users_with_a_third_item_since_the_tuning_fit_no_answers(tmp_path: Path) -> None:
    of = case.histories()
    young = list(of)[:30]
    first = {user: items[:2] if user in young else items for user, items in of.items()}
    events = [{**event, "query": f"something like {event['item_id']}"} for event in dated.events(of)]
    known = [event for event in events if event["source_position"] < len(first[event["user_id"]])]
    project = dated.fit(dated.make_project(tmp_path / "project", known, BLENDED.replace("k_core = 2", "k_core = 1")))
    later = [event for event in events if event["user_id"] in young and event["source_position"] == 2]
    project.ingest_interactions([case.write_lines(tmp_path / "third.jsonl", later)], {})
    workspace = case.reopened(project).workspace
    lineage = workspace.lineage()
    sequences = workspace.sequences(queries=True, split=lineage.split)
    asked = HeldOutQueries.of(workspace, lineage, sequences, "valid")
    expected = [user for user in of if user not in young and len(of[user]) >= 3]
    assert [sequences.user_ids[user] for user in asked.users.tolist()] == expected
