"""Lists, codes and models that are damaged: a night makes the lists again by itself, for the rest one line names what does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from semconv.stages.lists.current import newest_lists
from semconv_cli.main import cli
from semconv_warehouse.project import Project
from tests.faults.test_damage import cut_short, flip_a_bit, flip_bits
from tests.worlds import listed
from tests.worlds import projects as case

Damage = Callable[[Path], None]
ROWS = "SELECT user_id, rank, item_id, score, sources, reason_item_id FROM recommendation ORDER BY user_id, rank"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A night is done."""
    folder = tmp_path_factory.mktemp("damage")
    project = listed.copied(listed.make_tuned(folder / "tuned"), folder / "published")
    project.publish_due(refit=False)
    return project.layout.root


@pytest.fixture(scope="module")
def served(published: Path) -> Path:
    """The history of one user has changed since."""
    project = listed.copied(published, published.parent / "served")
    late = case.write_lines(published.parent / "late.jsonl", case.events({case.user_id(4): [7]}, start=50))
    project.ingest_interactions([late], {})
    return project.layout.root


@pytest.fixture(scope="module")
def expected(served: Path) -> list[dict[str, Any]]:
    """What the next night publishes where nothing is damaged."""
    return night(listed.copied(served, served.parent / "undisturbed"))


@pytest.fixture
def project(served: Path, tmp_path: Path) -> Project:
    return listed.copied(served, tmp_path / "project")


def night(project: Project) -> list[dict[str, Any]]:
    case.reopened(project).publish_due(refit=False)
    rows: list[dict[str, Any]] = project.sql(ROWS).to_pylist()
    assert [check.summary() for check in project.check() if not check.passed] == []
    return rows


def part_of(project: Project, number: int) -> Path:
    """Of the newest lists for serving; those of the split test are newer, and nothing of them is published."""
    folder: Path = project.book.folder(newest_lists(project.workspace))
    return folder / f"part-{number:05d}.parquet"


def flip_a_score(part: Path) -> None:
    """One bit in the middle of a page, which stays readable."""
    content = bytearray(part.read_bytes())
    content[len(content) // 4] ^= 1
    part.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_short, flip_bits, flip_a_score, Path.unlink])
def test_lists_are_not_carried_over_from_a_damaged_part(
    project: Project, expected: list[dict[str, Any]], damage: Damage
) -> None:
    damage(part_of(project, 3))
    assert night(project) == expected


@pytest.mark.slow
def test_lists_whose_folder_is_gone_are_all_made_again(project: Project, tmp_path: Path) -> None:
    everybody = listed.copied(project.layout.root, tmp_path / "everybody")
    everybody.recommend()
    shutil.rmtree(part_of(project, 3).parent)
    assert night(project) == night(everybody)


@pytest.mark.slow
def test_lists_are_not_carried_over_by_damaged_states(project: Project, tmp_path: Path) -> None:
    everybody = listed.copied(project.layout.root, tmp_path / "everybody")
    everybody.recommend()
    flip_a_bit(part_of(project, 3).parent / "states.safetensors")
    assert night(project) == night(everybody)


@pytest.mark.parametrize("damage", [flip_bits, Path.unlink])
def test_a_part_that_is_damaged_before_it_is_published_is_made_again_in_the_same_night(
    project: Project, expected: list[dict[str, Any]], damage: Damage
) -> None:
    project.recommend(only_changed=True)
    damage(part_of(project, 3))
    assert night(project) == expected


@pytest.mark.parametrize(
    ("stage", "name", "damage", "way_out"),
    [
        ("finetune", "model/model.safetensors", flip_a_bit, "finetune"),
        pytest.param("finetune", "model/model.safetensors", cut_short, "finetune", marks=pytest.mark.slow),
        pytest.param("finetune", "model/model.safetensors", Path.unlink, "finetune", marks=pytest.mark.slow),
        pytest.param("finetune", "tuned_codes.safetensors", flip_a_bit, "finetune", marks=pytest.mark.slow),
        pytest.param("codebook", "codes.safetensors", flip_a_bit, "run --refit", marks=pytest.mark.slow),
        pytest.param("embed_behavior", "vectors.safetensors", flip_a_bit, "run --refit", marks=pytest.mark.slow),
    ],
)
def test_a_damaged_model_or_array_is_named_with_the_command_that_heals_it(
    published: Path, tmp_path: Path, stage: str, name: str, damage: Damage, way_out: str
) -> None:
    project = listed.copied(published, tmp_path / "project")
    path = project.book.folder(project.workspace.need(stage)) / name
    served = project.sql(ROWS).to_pylist()
    damage(path)
    root = str(project.layout.root)
    result = CliRunner().invoke(cli, ["--project", root, "recommend", "--split", "valid"])
    assert result.exit_code == 4, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert str(path) in line
    assert f"make it again with `semconv {way_out}`" in line
    assert project.sql(ROWS).to_pylist() == served
    checked = CliRunner().invoke(cli, ["--project", root, "check"])
    assert checked.exit_code == 1, checked.output
    assert f"{path}: damaged or missing" in checked.stderr
    assert f"`semconv {way_out}`" in checked.stderr
    if way_out == "finetune":
        assert CliRunner().invoke(cli, ["--project", root, "finetune"]).exit_code == 0
    else:
        case.reopened(project).publish_due(refit=True)
    healed = case.reopened(project)
    rows = listed.lists(healed, healed.recommend(split="valid")).to_pylist()
    assert len({row["user_id"] for row in rows if row["sources"] == ["model"]}) > case.NUM_USERS // 2
    assert len(night(project)) == len(served)
