"""The whole demo at a small size: from nothing to a user's list, and again in the same folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from semconv.errors import InputError
from semconv.progress import Silent
from semconv_warehouse.demo.catalog import generate
from semconv_warehouse.demo.demo import DEMO_SETTINGS, DemoResult, run_demo
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds.demo import SHAPE, Demo, make_demo
from tests.worlds.reading import reading


@pytest.fixture
def folder(demo: Demo) -> Path:
    return demo.folder


@pytest.fixture
def result(demo: Demo) -> DemoResult:
    return demo.result


def test_it_shows_a_user_with_titles(result: DemoResult) -> None:
    data = generate(SHAPE)
    titles = {item.item_id: item.title for item in data.items}
    user = data.user_ids.index(result.user_id)
    own = [data.item_ids[index] for index in data.sequence_items[data.offsets[user] : data.offsets[user + 1]]]
    assert [row["item_id"] for row in result.history] == own
    assert [row["rank"] for row in result.top_k] == list(range(1, 11))
    for row in (*result.history, *result.top_k):
        assert row["title"] == titles.get(row["item_id"])
    assert not {row["item_id"] for row in result.top_k} & set(own)


def test_it_sets_figures_beside_the_best_possible(result: DemoResult) -> None:
    data = generate(SHAPE)
    assert {figure.method for figure in result.figures} >= {"model", "transition", "popularity"}
    assert result.best_possible_ndcg == data.best_possible_ndcg(10)
    assert result.best_possible_hit_ratio == data.best_possible_hit_ratio(10)
    for figure in result.figures:
        assert figure.ci_low is not None
        assert figure.ci_high is not None
        assert 0 <= figure.ci_low <= figure.ndcg <= figure.ci_high <= 1
        assert figure.ndcg <= figure.hit_ratio
    assert len({figure.ndcg for figure in result.figures}) == len(result.figures)


def test_its_text_holds_what_it_shows(result: DemoResult, folder: Path) -> None:
    text = result.text()
    assert str(folder) in text
    assert "best possible" in text
    assert f"{result.best_possible_ndcg:.4f}" in text
    for command in result.next_commands:
        assert command in text
    for row in result.top_k:
        assert (row["title"] or row["item_id"]) in text


def test_the_odd_rows_reach_the_warehouse(result: DemoResult, folder: Path) -> None:
    data = generate(SHAPE)
    with reading(ProjectLayout(folder).warehouse) as connection:
        items = connection.sql("SELECT count(*), count(title) FROM item").fetchall()
        rows = connection.sql("SELECT count(*), count(query), count(event_time) FROM interaction").fetchall()
        attributes = connection.sql("SELECT attributes->>'material' FROM item WHERE item_id = 'item-0000'").fetchall()
    described = sum(item.title is not None for item in data.items)
    assert items == [(len(data.items) + 1, described)]
    told = sum(query is not None for query in data.queries)
    assert rows == [(len(data.sequence_items), told, len(data.sequence_items))]
    assert attributes == [(data.items[0].attributes["material"],)]


def test_cold_items_have_codes_from_their_text(result: DemoResult, folder: Path) -> None:
    with reading(ProjectLayout(folder).serving) as connection:
        sources = dict(
            connection.sql("SELECT item_id, vector_source FROM item_code").fetchall(),
        )
    cold = [item.item_id for item in generate(SHAPE).items[-SHAPE.cold_items :]]
    assert [sources[item_id] for item_id in cold] == ["mapped-from-text"] * SHAPE.cold_items


def test_a_second_run_computes_nothing_and_shows_the_same(demo: Demo, result: DemoResult, tmp_path: Path) -> None:
    folder = shutil.copytree(demo.folder, tmp_path / "shop")  # other tests read the demo at the same time
    runs = sorted(path.name for path in ProjectLayout(folder).runs.iterdir())
    again = make_demo(folder).result
    assert sorted(path.name for path in ProjectLayout(folder).runs.iterdir()) == runs
    assert again.top_k == result.top_k
    assert again.figures == result.figures
    assert again.generation == result.generation


def test_it_leaves_other_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        run_demo(tmp_path, Silent(), SHAPE)
    (tmp_path / "semconv.toml").write_text(DEMO_SETTINGS + "# mine\n")
    with pytest.raises(InputError, match="already a project with other settings"):
        run_demo(tmp_path, Silent(), SHAPE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["letter.txt", "semconv.toml"]
