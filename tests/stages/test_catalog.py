"""A catalogue that lives: items come, go and come back, and codes are fitted again beside those in use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from semconv.errors import InputError, SettingsError
from semconv_warehouse.project import Project
from tests.worlds import projects as case
from tests.worlds.faults.damage import flip_a_bit
from tests.worlds.parts import read_parts
from tests.worlds.stages.catalog import codes_of, listed, night, require_item_leaves_and_returns
from tests.worlds.stages.night import make_finished

SERVED = "SELECT item_id, semantic_id FROM current_item_code ORDER BY item_id"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return case.reopened(Project.open(make_finished(tmp_path / "project")))


def served_codes(project: Project) -> dict[str, str]:
    table = project.sql(SERVED)
    return dict(zip(*table.to_pydict().values(), strict=True))


def add_item(project: Project, item_id: str, title: str = "a red lamp") -> Project:
    row: dict[str, Any] = {"item_id": item_id, "title": title, "description": ""}
    project.ingest_items([case.write_lines(project.layout.root / "inputs" / f"{item_id}.jsonl", [row])], {})
    return case.reopened(project)


def test_a_fit_again_is_a_set_of_its_own_and_the_tuned_one_goes_on_until_it_is_replaced(project: Project) -> None:
    old, before, lists = project.workspace.code_lineage().codebook, served_codes(project), listed(project)
    other = {"codebook__codes": 12, "codebook__seed": 7}
    new = case.reopened(project, **other).codebook_fit()
    assert new.run_id != old.run_id
    assert codes_of(project, old.run_id) == before != codes_of(project, new.run_id)
    # The model of the old set works on: lists, queries, and codes for a new item within the old set.
    project = add_item(project, "fresh")
    assert night(project)["assign"] == "done"
    assert project.workspace.code_lineage().codebook.run_id == old.run_id
    after = served_codes(project)
    assert {item: after[item] for item in before} == before
    assert after["fresh"] == codes_of(project, old.run_id)["fresh"]
    assert "fresh" not in codes_of(project, new.run_id)
    assert listed(project) == lists
    assert project.recommend_query("a red lamp")
    untouched = {"coded": 1, "first_codes_in_use": 1, "largest_share": 1.0}
    assert project.codebook_report()["untouched_items"] == untouched
    # The command gives the new item codes in the new set too, so that the next model knows the item.
    made = project.codebook_assign()
    assert made is not None
    assert new.run_id in made.inputs
    assert served_codes(project) == after
    # A model on the new set takes its place.
    replaced = case.reopened(project, tuning__max_samples=60, **other)
    assert new.run_id in replaced.finetune().inputs
    assert replaced.workspace.code_lineage().codebook.run_id == new.run_id
    assert replaced.codebook_assign() is None
    replaced.recommend()
    assert replaced.publish().is_new
    assert served_codes(replaced) == codes_of(project, new.run_id)
    assert "fresh" in codes_of(project, new.run_id)
    assert {item: codes_of(project, old.run_id)[item] for item in before} == before
    assert not [result for result in replaced.check() if result.num_rows]


def test_damaged_codes_of_new_items_are_made_again_as_they_were(project: Project) -> None:
    project = add_item(project, "new")
    run = project.codebook_assign()
    assert run is not None
    path = project.book.folder(run) / "codes.safetensors"
    whole, given = path.read_bytes(), codes_of(project, run.inputs[0])
    flip_a_bit(path)
    again = case.reopened(project).codebook_assign()
    assert again is not None
    assert again.run_id == run.run_id
    assert path.read_bytes() == whole
    assert codes_of(project, run.inputs[0]) == given
    flip_a_bit(path)
    with pytest.raises(InputError, match=r"codes.safetensors: damaged or missing.*`semconv run --refit`"):
        add_item(project, "newer").codebook_assign()  # the codes were given in another catalogue than this one


@pytest.mark.parametrize("how", ["marked unavailable"])
def test_an_item_that_goes_leaves_the_trie_and_comes_back_with_its_codes(project: Project, how: str) -> None:
    require_item_leaves_and_returns(project, how)


@pytest.mark.parametrize(
    ("levels", "codes"),
    [
        (6, 4),
        pytest.param(1, case.NUM_ITEMS, marks=pytest.mark.slow),
        pytest.param(2, 20, marks=pytest.mark.slow),
    ],
)
def test_every_number_of_levels_goes_the_whole_way(project: Project, levels: int, codes: int) -> None:
    start = "mlp2" if levels == 2 else "auto"
    settings = {"codebook__levels": levels, "codebook__codes": codes, "tuning__code_start": start}
    project = case.reopened(project, tuning__max_samples=60, tuning__validation_users=5, **settings)
    fitted = project.codebook_fit()
    codes_given = codes_of(project, fitted.run_id)
    assert len(set(codes_given.values())) == len(codes_given) == len(served_codes(project))
    assert {sequence.count("<") for sequence in codes_given.values()} == {levels}
    assert project.codebook_report()["run_id"] != fitted.run_id  # the tuned model's set, until this one has a model
    model = project.finetune()
    assert model.settings["tuning"].get("code_start") in ("codebook", "mlp2")
    report = project.codebook_report()
    assert (report["run_id"], len(report["levels"])) == (fitted.run_id, levels)
    lists = read_parts(project.book.folder(project.recommend()))
    assert lists.num_rows == 10 * case.NUM_USERS
    assert set(lists.column("item_id").to_pylist()) <= set(codes_given)
    assert project.publish().is_new
    assert not [result for result in project.check() if result.num_rows]


def test_one_code_an_item_leaves_room_for_as_many_new_items_as_there_are_codes(project: Project) -> None:
    taken = len(served_codes(project))
    settings = {"codebook__levels": 1, "codebook__codes": taken + 1, "tuning__max_samples": 60}
    project = case.reopened(project, **settings)
    fitted = project.codebook_fit()
    project.finetune()
    before = codes_of(project, fitted.run_id)
    add_item(project, "first")
    project = case.reopened(add_item(project, "second"), **settings)
    assert project.codebook_assign() is not None
    assert any(
        f"1 new items get no codes: all {taken + 1} combinations of codes" in line for line in project.progress.said
    )
    after = codes_of(project, fitted.run_id)
    assert set(after) - set(before) == {"first"}
    assert {item: after[item] for item in before} == before
    again = case.reopened(project, **settings)
    assert again.codebook_assign() is None  # and no empty run a night
    assert any("`semconv codebook fit` with more levels or codes" in line for line in again.progress.said)
    assert project.recommend().status == "finished"


def test_fewer_code_sequences_than_items_are_refused_before_anything_is_recorded(project: Project) -> None:
    small = case.reopened(project, codebook__levels=1, codebook__codes=20)
    with pytest.raises(
        SettingsError, match=r"1 levels of 20 codes make 20 code sequences, but there are \d+ items; raise"
    ):
        small.codebook_fit()
    kept = case.reopened(project, codebook__levels=1, codebook__codes=20, codebook__collisions="keep").codebook_fit()
    assert len(codes_of(project, kept.run_id)) == len(served_codes(project))
