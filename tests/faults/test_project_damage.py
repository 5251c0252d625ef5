"""Lists, codes and models that are damaged: a night makes the lists again by itself, for the rest one line names what does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from semconv_warehouse.project import Project
from tests.worlds import listed
from tests.worlds.faults.damage import Damage, cut_short, flip_a_bit, flip_bits
from tests.worlds.faults.damaged_shop import change_one_history, make_published, night, part_of, require_healed


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_published(tmp_path_factory.mktemp("damage"))


@pytest.fixture(scope="module")
def served(published: Path) -> Path:
    """The history of one user has changed since."""
    return change_one_history(listed.copied(published, published.parent / "served"))


@pytest.fixture(scope="module")
def expected(served: Path) -> list[dict[str, Any]]:
    """What the next night publishes where nothing is damaged."""
    return night(listed.copied(served, served.parent / "undisturbed"))


@pytest.fixture
def project(served: Path, tmp_path: Path) -> Project:
    return listed.copied(served, tmp_path / "project")


def flip_a_score(part: Path) -> None:
    """One bit in the middle of a page, which stays readable."""
    content = bytearray(part.read_bytes())
    content[len(content) // 4] ^= 1
    part.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        cut_short,
        flip_a_score,
        pytest.param(flip_bits, marks=pytest.mark.slow),
        pytest.param(Path.unlink, marks=pytest.mark.slow),
    ],
)
def test_lists_are_not_carried_over_from_a_damaged_part(
    project: Project, expected: list[dict[str, Any]], damage: Damage
) -> None:
    damage(part_of(project, 3))
    assert night(project) == expected


@pytest.mark.parametrize("damage", [Path.unlink, pytest.param(flip_bits, marks=pytest.mark.slow)])
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
    ],
)
def test_a_damaged_model_or_array_is_named_with_the_command_that_heals_it(
    published: Path, tmp_path: Path, stage: str, name: str, damage: Damage, way_out: str
) -> None:
    require_healed(listed.copied(published, tmp_path / "project"), (stage, name), damage, way_out)
