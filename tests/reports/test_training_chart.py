"""The picture of a training: well-formed, to scale, drawn again at the end of each epoch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from semconv.reports.training_chart import training_chart
from semconv.runs.files import TRAINING_CHART
from tests.worlds.tuning.training import SETTINGS, Case

SVG = "{http://www.w3.org/2000/svg}"


def lines_of(losses: list[float], an_epoch: int) -> list[dict[str, Any]]:
    return [{"step": n + 1, "epoch": n // an_epoch, "loss": loss} for n, loss in enumerate(losses)]


def curves(svg: str) -> list[list[tuple[float, float]]]:
    root = ElementTree.fromstring(svg)
    return [
        [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        for line in root.iter(f"{SVG}polyline")
    ]


def test_curves_are_to_scale_and_the_best_validation_stands_out() -> None:
    svg = training_chart(
        lines_of([4.0, 3.0, 2.0, 1.0], 2), [{"step": 2, "ndcg@10": 0.02}, {"step": 4, "ndcg@10": 0.04}]
    )
    loss, score = curves(svg)
    assert [x for x, _ in loss] == pytest.approx(
        [loss[0][0] + n * (loss[1][0] - loss[0][0]) for n in range(4)], abs=0.2
    )
    heights = [y for _, y in loss]
    assert heights == sorted(heights)  # the loss falls, so y grows
    assert heights[1] - heights[0] == pytest.approx(heights[3] - heights[2], abs=0.2)
    assert [x for x, _ in score] == [loss[1][0], loss[3][0]]  # both panels have the same scale
    assert score[0][1] > score[1][1] > heights[3]
    texts = [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert texts[0] == "4 steps, loss 4.000 to 1.000, best validation NDCG@10 0.0400"
    assert "0.0400" in texts
    circles = list(ElementTree.fromstring(svg).iter(f"{SVG}circle"))
    assert [circle.attrib["r"] for circle in circles] == ["3", "5"]


def test_many_steps_are_drawn_as_means_with_their_range() -> None:
    svg = training_chart(lines_of([2.0 + (-1) ** n for n in range(10_000)], 5_000), [])
    assert len(curves(svg)) == 1
    points = curves(svg)[0]
    assert len(points) <= 300
    assert len({y for _, y in points}) == 1
    band = next(ElementTree.fromstring(svg).iter(f"{SVG}polygon")).attrib["points"].split()
    assert len(band) == 2 * len(points)
    assert len(svg) < 40_000


def test_one_step_and_a_score_of_zero_are_drawn() -> None:
    svg = training_chart(lines_of([3.0], 1), [{"step": 1, "ndcg@10": 0.0}])
    assert len(curves(svg)) == 2
    assert "nan" not in svg


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_the_picture_is_drawn_at_the_end_of_each_epoch(tmp_path: Path) -> None:
    made = Case(tmp_path, replace(SETTINGS, epochs=3))
    seen: list[str] = []
    build = made.rows
    made.rows = lambda epoch: (
        seen.append((tmp_path / TRAINING_CHART).read_text() if epoch and epoch < 9 else "") or build(epoch)
    )
    figures = made.run()
    drawn = [text for text in seen if text]
    counts = [len(list(ElementTree.fromstring(text).iter(f"{SVG}circle"))) for text in drawn]
    assert counts == [1, 2]
    last = (tmp_path / TRAINING_CHART).read_text()
    assert f"{figures['steps']:,} steps" in last
    (tmp_path / TRAINING_CHART).unlink()  # as if killed between saving the last state and drawing
    Case(tmp_path, replace(SETTINGS, epochs=3)).run()
    assert (tmp_path / TRAINING_CHART).read_text() == last
