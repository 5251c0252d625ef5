"""The benchmarks of quality: the users they compare, their rows, and cold items."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.peers import office
from benchmarks.peers.quality import EvaluatedRun, main, markdown, read_run, rows_of
from semconv.errors import InputError
from tests.worlds.projects import make_coded_project


def run_of(**ranks: list[int]) -> EvaluatedRun:
    return EvaluatedRun("shop", "test", {name: np.array(values, dtype=np.int64) for name, values in ranks.items()})


def test_rows_compare_the_model_with_every_peer() -> None:
    rows = rows_of([run_of(model=[1, 0, 5, 20], transition=[1, 1, 0, 0], sasrec=[0, 0, 0, 1])])
    beside = {(row.metric, row.peer_name): row for row in rows if row.unit != "lead"}
    assert beside["hr@1", "sasrec"].ours == 0.25
    assert beside["hr@5", "transition"].ratio == 1.0
    assert beside["hr@10", ""].peer is None
    low, high = beside["hr@5", ""].interval
    assert 0 <= low < 0.5 < high <= 1
    leads = {row.case.split(": ")[1]: row for row in rows if row.unit == "lead"}
    assert set(leads) == {"model less transition", "sasrec less transition"}
    assert leads["sasrec less transition"].ours == -0.25


def test_several_runs_give_means_and_deviations() -> None:
    runs = [run_of(model=[1, 0], transition=[0, 0]), run_of(model=[1, 1], transition=[0, 0])]
    row = next(row for row in rows_of(runs) if row.metric == "hr@1")
    assert row.ours == 0.75
    assert "| model | 0.7500 ± 0.3536 |" in markdown(runs)
    assert "2 evaluate runs" in markdown(runs)


def test_a_run_and_sasrec_are_joined_by_user(tmp_path: Path) -> None:
    project = make_coded_project(tmp_path / "shop")
    project.finetune()
    with pytest.raises(InputError, match="no finished evaluate run"):
        read_run(tmp_path / "shop", None, None)
    project.evaluate()
    alone = read_run(tmp_path / "shop", None, None)
    assert {"model", "popularity", "transition"} <= set(alone.ranks)
    with pytest.raises(InputError, match="missing"):
        read_run(tmp_path / "shop", None, tmp_path)
    users = [f"u{user:03d}" for user in (5, 2, 70)] + ["unknown"]
    pq.write_table(pa.table({"user_id": users, "sasrec": [50, 20, 700, 1]}), tmp_path / "ranks-test.parquet")
    segments = list(office.segments(project.workspace, project.store.runs(stage="evaluate")))
    assert {each.segment for each in segments} >= {"all", "known target"}
    whole = next(each for each in segments if each.method == "model" and each.segment == "all")
    assert whole.figures["HR@10"][0] == (alone.ranks["model"] > 0).mean()  # lists of ten

    joined = read_run(tmp_path / "shop", None, tmp_path)
    assert joined.ranks["sasrec"].tolist() == [20, 50, 700]  # in the order of the run
    assert joined.num_users == 3


def test_new_targets_are_those_without_training_interactions() -> None:
    users = pl.DataFrame(
        {"method": ["model", "model", "model", "other"], "rank": [1, 0, 7, 2], "target_popularity": [5, 0, 0, 9]}
    )
    found = {(method, segment): ranks.tolist() for method, segment, ranks in office.divided(users)}
    assert found == {
        ("model", "all"): [1, 0, 7], ("model", "known target"): [1], ("model", "new target"): [0, 7],
        ("other", "all"): [2], ("other", "known target"): [2],
    }  # fmt: skip


def test_rows_and_table_show_segments_with_their_intervals() -> None:
    segment = office.Segment("run-1", "tuning.epochs 4", "model", "new target", 3, {"HR@10": (0.5, (0.0, 1.0))})
    assert "| tuning.epochs 4 | model | new target | 3 | 0.5000 (0.0000 to 1.0000) |" in office.markdown([segment])
    assert office.rows_of([segment])[0].interval == (0.0, 1.0)


def test_the_size_full_without_a_project_is_refused(monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["quality", "--size", "full"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "--project" in capsys.readouterr().err


def test_rows_without_an_interval_keep_null(tmp_path: Path) -> None:
    from benchmarks.rows import Comparison, finish

    finish([Comparison("b", "", []).row("c", "m", "u", ours=1.0)], tmp_path / "rows.json")
    assert json.loads((tmp_path / "rows.json").read_text())[0]["interval"] is None
