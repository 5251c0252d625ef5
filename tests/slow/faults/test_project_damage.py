"""Models, arrays and whole folders of lists that are damaged or gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from semconv_warehouse.project import Project
from tests.worlds import listed
from tests.worlds.faults.damage import Damage, cut_short, flip_a_bit
from tests.worlds.faults.damaged_shop import change_one_history, make_published, night, part_of, require_healed


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_published(tmp_path_factory.mktemp("damage"))


@pytest.fixture(scope="module")
def served(published: Path) -> Path:
    """The history of one user has changed since."""
    return change_one_history(listed.copied(published, published.parent / "served"))


@pytest.fixture
def project(served: Path, tmp_path: Path) -> Project:
    return listed.copied(served, tmp_path / "project")


def test_lists_whose_folder_is_gone_are_all_made_again(project: Project, tmp_path: Path) -> None:
    everybody = listed.copied(project.layout.root, tmp_path / "everybody")
    everybody.recommend()
    shutil.rmtree(part_of(project, 3).parent)
    assert night(project) == night(everybody)


def test_lists_are_not_carried_over_by_damaged_states(project: Project, tmp_path: Path) -> None:
    everybody = listed.copied(project.layout.root, tmp_path / "everybody")
    everybody.recommend()
    flip_a_bit(part_of(project, 3).parent / "states.safetensors")
    assert night(project) == night(everybody)


@pytest.mark.parametrize(
    ("stage", "name", "damage", "way_out"),
    [
        ("finetune", "model/model.safetensors", cut_short, "finetune"),
        ("finetune", "model/model.safetensors", Path.unlink, "finetune"),
        ("finetune", "tuned_codes.safetensors", flip_a_bit, "finetune"),
        ("codebook", "codes.safetensors", flip_a_bit, "run --refit"),
        ("embed_behavior", "vectors.safetensors", flip_a_bit, "run --refit"),
    ],
)
def test_a_damaged_model_or_array_is_named_with_the_command_that_heals_it(
    published: Path, tmp_path: Path, stage: str, name: str, damage: Damage, way_out: str
) -> None:
    require_healed(listed.copied(published, tmp_path / "project"), (stage, name), damage, way_out)
