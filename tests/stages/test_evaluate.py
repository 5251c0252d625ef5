"""An evaluation as a run: rows, figures of each user, the page, comparisons, and a split in time from vectors to figures."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from semconv import columns
from semconv.columns import UNREACHABLE
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.evaluation import methods as registry
from semconv.runs.lineage import Lineage
from semconv.stages import stage_settings
from semconv.stages.evaluate.comparison import compare_runs
from semconv.stages.night import fit_all
from semconv_cli.figures import write_figures
from semconv_warehouse.project import Project
from semconv_warehouse.store import baselines
from tests.worlds import projects as case

HOSTILE = "<script>alert('x')</script> & co"
METHODS = {
    "model", "popularity", "recent-popularity", "transition", "transition-tuned",
    "transition-smoothed", "transition-two-hops", "item-cosine", "behavior-svd",
}  # fmt: skip
DAY = 86_400


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Evaluated on both splits; half of the titles are HTML."""
    made = case.make_project(tmp_path_factory.mktemp("evaluated"))
    with made.store.write() as connection:
        connection.exec_driver_sql("UPDATE item SET title = ? WHERE item_index % 2 = 0", (HOSTILE,))
    fit_all(made.workspace)
    made.evaluate(split="valid")
    made.evaluate()
    return made


def current(project: Project, split: str = "test") -> RunRecord:
    runs = project.book.finished(columns.EVALUATE)
    return next(run for run in runs if Lineage.of(project.store, run).recommend.settings["split"] == split)


def users_of(project: Project, run: RunRecord) -> pa.Table:
    return pq.read_table(project.book.folder(run) / "users.parquet")


def test_every_method_has_every_figure_with_its_protocol(project: Project) -> None:
    rows = project.evaluate()
    assert {row["method"] for row in rows} == METHODS == set(registry.compared_names("svd"))
    wanted = {("hit_ratio", k) for k in (1, 5, 10)} | {("ndcg", k) for k in (1, 5, 10)}
    wanted |= {(name, 10) for name in ("mrr", "coverage", "novelty", "diversity", "fallback_share")}
    for method in METHODS:
        mine = [row for row in rows if (row["method"], row["segment"]) == (method, "all")]
        assert {(row["name"], row["k"]) for row in mine} == wanted
    for row in rows:
        assert {
            "list_length",
            "beams",
            "tuning_seed",
            "num_candidates",
            "num_users_without_target",
            *UNREACHABLE,
        } <= set(row["protocol"])
        assert (row["split"], row["train_cut"], row["seen"]) == ("test", "[:-2]", "masked")
        has_parameters = row["method"].startswith("transition") or row["method"] == "item-cosine"
        assert ("parameters" in row["protocol"]) == has_parameters
    shown = next(row for row in rows if row["method"] == "transition-tuned")
    assert shown["protocol"]["tuned_on"] == f"{case.NUM_USERS - 2} users of the split valid"
    assert "tuned_on_this_split" not in shown["protocol"]
    valid = next(row for row in project.evaluate(split="valid") if row["method"] == "transition-tuned")
    assert valid["protocol"]["tuned_on_this_split"] is True


def test_the_figures_of_each_user_are_those_of_the_rows(project: Project) -> None:
    rows = project.evaluate()
    table = users_of(project, current(project))
    assert table.num_rows == len(METHODS) * (case.NUM_USERS - 2)
    value = {(row["method"], row["name"], row["k"]): row["value"] for row in rows if row["segment"] == "all"}
    for method in METHODS:
        mine = table.filter(pc.equal(table["method"], method))
        ranks = mine["rank"].to_numpy()
        assert ((ranks > 0) & (ranks <= 5)).mean() == pytest.approx(value[method, "hit_ratio", 5])
        for name in ("novelty", "diversity", "fallback_share"):
            assert pc.mean(mine[name]).as_py() == pytest.approx(value[method, name, 10], rel=1e-5)
    histories = case.histories()
    trained = [f"i{item:03d}" for items in histories.values() for item in items[: len(items) - 2 * (len(items) > 2)]]
    for row in table.slice(0, 10).to_pylist():
        own = histories[row["user_id"]]
        assert (row["history_length"], row["target_item_id"]) == (len(own) - 1, f"i{own[-1]:03d}")
        assert row["target_popularity"] == trained.count(row["target_item_id"])
        assert (row["target_source"], row["target_is_cold"]) == ("learned", False)


def test_the_search_of_the_counters_parameters_is_run_once(project: Project) -> None:
    before = {run.run_id for run in project.book.finished(columns.TUNE_BASELINE)}
    assert len(before) == 1  # both splits have it
    case.reopened(project, evaluate__bootstrap_samples=40).evaluate()
    assert {run.run_id for run in project.book.finished(columns.TUNE_BASELINE)} == before
    rows = case.reopened(project, evaluate__counter_search_users=0).evaluate()
    assert {row["method"] for row in rows} == METHODS - {"transition-tuned"}


UNPOPULARITY = """\
-- database: warehouse.duckdb, after sequences.sql. Parameters: $users, $k, $penalty.
SELECT user_index, row_number() OVER (PARTITION BY user_index ORDER BY popularity_rank DESC) AS rank, item_index,
       -interactions * $penalty AS score
FROM (SELECT DISTINCT user_index FROM history_row WHERE user_index IN (SELECT unnest($users))) CROSS JOIN popular_item
ANTI JOIN seen_row USING (user_index, item_index)
QUALIFY rank <= $k
"""


def test_an_sql_file_and_a_registry_entry_add_a_baseline(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = baselines.package_folder("sql") / "baselines"
    shutil.copytree(files, tmp_path / "sql" / "baselines")
    (tmp_path / "sql" / "baselines" / "unpopularity.sql").write_text(UNPOPULARITY)
    monkeypatch.setattr(baselines, "package_folder", lambda name: tmp_path / name)
    added = registry.Method("unpopularity", "unpopularity", constants={"penalty": 1.0})
    monkeypatch.setattr(registry, "METHODS", (*registry.METHODS[:3], added, *registry.METHODS[3:]))
    page = tmp_path / "evaluation.html"
    rows = case.reopened(project, evaluate__bootstrap_samples=20).evaluate(html=page)
    novelty = {row["method"]: row["value"] for row in rows if (row["name"], row["segment"]) == ("novelty", "all")}
    assert novelty.keys() == METHODS | {"unpopularity"}
    assert novelty["unpopularity"] > novelty["popularity"]
    write_figures(rows)
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.partition(" ")[0] in novelty]
    assert shown == [method.name for method in registry.METHODS if method.name in novelty]
    assert "unpopularity" in page.read_text()


def test_the_page_shows_everything_and_escapes_titles(project: Project, tmp_path: Path) -> None:
    page = tmp_path / "evaluation.html"
    case.reopened(project, evaluate__bootstrap_samples=30).evaluate(html=page)
    text = page.read_text()
    assert all(method in text for method in METHODS)
    assert all(
        f'id="{key}"' in text for key in ("figures", "curves", "segments", "lists", "changes", "examples", "protocol")
    )
    assert "<script" not in text
    assert "&lt;script&gt;alert(" in text
    assert "http://" not in text
    assert "https://" not in text
    assert text.count("<details") >= 5
    assert "Unchanged for every user" in text  # the last evaluation was of the same lists


def test_runs_are_paired_by_user_and_target(project: Project, tmp_path: Path) -> None:
    run, valid = current(project), current(project, "valid")
    same = compare_runs(project.workspace, run, run)
    assert {row["method"] for row in same} == METHODS
    assert all(row["difference"] == row["ci_low"] == row["ci_high"] == 0 for row in same)
    assert {row["num_users"] for row in same} == {case.NUM_USERS - 2}
    assert same[0]["protocol"]["split"] == "test"
    with pytest.raises(InputError, match="no user with the same held-out item"):
        compare_runs(project.workspace, run, valid)


def test_a_run_records_the_settings_of_its_split(project: Project) -> None:
    recorded = {"train_cut", "k_core", "temporal_at"}
    assert set(stage_settings.behavior(project.workspace)["split"]) == recorded
    assert set(project.workspace.need(columns.FINETUNE).settings["split"]) == {*recorded, "history_length"}


def test_a_temporal_split_needs_times(project: Project) -> None:
    with pytest.raises(InputError, match="needs users whose interactions all have a time"):
        case.reopened(project, split__temporal_at="0.8").embed_behavior()


def test_a_cut_in_time_holds_from_the_vectors_to_the_figures(tmp_path: Path) -> None:
    """Users start on different days and take an item a day; the items 0 and 1 are met after the cut alone."""
    histories = case.histories()
    starts = {
        user: int(day)
        for user, day in zip(histories, np.random.default_rng(0).integers(0, 20, len(histories)), strict=True)
    }
    days = {user: [starts[user] + place for place in range(len(items))] for user, items in histories.items()}
    cut = 20
    for user, items in histories.items():
        items[:] = [item + 2 if item < 2 and day < cut else item for item, day in zip(items, days[user], strict=True)]
    histories["u004"][-1] = histories["u005"][-1] = 1
    days["u004"][-1] = days["u005"][-1] = 40
    rows = [
        {"user_id": user, "item_id": f"i{item:03d}", "event_time": (1 + day) * DAY}
        for user, items in histories.items()
        for item, day in zip(items, days[user], strict=True)
    ]
    Project.init(tmp_path, case.SETTINGS.replace("[split]", '[split]\ntemporal_at = "1970-01-22"'))
    project = Project.open(tmp_path, progress=case.Remarks())
    project.ingest_items([case.write_lines(tmp_path / "items.jsonl", [case.item(n) for n in range(60)])], {})
    project.ingest_interactions([case.write_lines(tmp_path / "events.jsonl", rows)], {})
    fit_all(project.workspace)
    found = project.evaluate()
    evaluable = [user for user, mine in days.items() if mine[0] < cut <= mine[-1]]
    everybody = [row for row in found if row["segment"] == "all"]
    assert {row["num_users"] for row in everybody if row["name"] == "hit_ratio"} == {len(evaluable)}
    assert all(row["train_cut"].startswith("before 1970-01-") for row in found)
    assert everybody[0]["protocol"]["num_users_without_target"] == len(histories) - len(evaluable)
    assert everybody[0]["protocol"]["temporal_at"] == "1970-01-22"
    late = {"i001"}  # met after the cut alone
    learned = case.rows(project, "SELECT item_id FROM item_embedding WHERE vector_source = 'learned'")
    assert learned
    assert not late & {item for (item,) in learned}
    table = users_of(project, current(project))
    mine = {row["user_id"]: row for row in table.filter(pc.equal(table["method"], "model")).to_pylist()}
    assert set(mine) == set(evaluable)
    for user in evaluable:
        place = next(place for place, day in enumerate(days[user]) if day >= cut)
        before = set(histories[user][:place])  # a repeated item counts once, and is no target
        target = next(item for item in histories[user][place:] if item not in before)
        wanted = (len(before), f"i{target:03d}")
        assert (mine[user]["history_length"], mine[user]["target_item_id"]) == wanted
    counts = project.export_prompts(tmp_path / "prompts.jsonl")
    assert counts["sequential"] > 0
    assert '"item_id": "i001"' not in "".join(
        line for line in (tmp_path / "prompts.jsonl").read_text().splitlines() if '"sequential"' in line
    )


def test_the_page_says_when_no_earlier_run_has_the_same_held_out_items(project: Project, tmp_path: Path) -> None:
    """Stands last: everybody takes two more items."""
    before = current(project)
    more = [
        {
            "user_id": user,
            "item_id": f"i{(items[-1] + step) % case.NUM_ITEMS:03d}",
            "source_position": len(items) + step,
        }
        for user, items in case.histories().items()
        for step in (7, 9)
    ]
    project.ingest_interactions([case.write_lines(tmp_path / "more.jsonl", more)], {})
    page = tmp_path / "page.html"
    project.evaluate(html=page)
    assert "No earlier evaluation has the same held-out items" in page.read_text()
    with pytest.raises(InputError, match="no user with the same held-out item"):
        project.evaluate(html=page, against=before.run_id)
