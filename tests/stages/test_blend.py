"""The blend in a project: the counter equals SQL, what is served, what is scored, kills, settings, the command."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from semconv.blend.features import BlockScores
from semconv.blend.tables import BlendTables, BlendUsers
from semconv.columns import SOURCE_TRANSITION, Seen, Split, TrainCut
from semconv.counter.counts import CounterWeights, count_transitions
from semconv.data.core import train_part
from semconv.data.histories import Histories
from semconv.data.store import BaselineRequest, RunRecord
from semconv.errors import InputError
from semconv.stages.blend.choice import chosen_blend
from semconv.stages.blend.run import blend_report
from semconv.stages.evaluate.run import evaluate_run
from semconv.stages.lists import run as recommend
from semconv.stages.lists.job import ListInputs, ListJob, job_blend
from semconv.stages.night import _Night, fit_all
from semconv_cli.main import cli
from semconv_warehouse.project import Project
from tests.worlds import listed
from tests.worlds import projects as case
from tests.worlds.listed import ALWAYS, COLD, HAS_ALL, NUM_USERS, SETTINGS, UNKNOWN, lists, parts
from tests.worlds.parts import read_parts


@pytest.fixture(scope="module")
def blended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a blend and the lists of all users; read alone."""
    root = listed.make_tuned(tmp_path_factory.mktemp("blend") / "tuned")
    (root / "semconv.toml").write_text(ALWAYS)
    project = Project.open(root)
    project.blend()
    project.recommend()
    return root


@pytest.fixture
def project(blended: Path, tmp_path: Path) -> Project:
    return listed.copied(blended, tmp_path / "project", ALWAYS)


def latest(project: Project, stage: str) -> RunRecord:
    return project.workspace.need(stage)


@pytest.mark.parametrize(
    ("split", "cut", "seen"), [("test", "[:-2]", "masked"), ("valid", "[:-2]", "kept"), ("serve", "[:]", "masked")]
)
def test_the_counter_ranks_as_sql_does(blended: Path, split: Split, cut: TrainCut, seen: Seen) -> None:
    project = Project.open(blended)
    request = BaselineRequest("transition", split, cut, seen, k=10, items=np.ones(case.NUM_ITEMS + 3, dtype=bool))
    expected = project.store.baseline_top_k(request)
    sequences, num_items = project.workspace.sequences(), len(project.store.catalog())
    train = train_part(sequences, cut, 1, num_items)
    counter = count_transitions(train, num_items, CounterWeights(0.6, 0.7, 0.75, 0.5), 0)
    popularity = np.bincount(train.items, minlength=num_items)
    histories = Histories.under(sequences, split)
    items, lengths = histories.latest(expected.users, 20)
    masks = [histories.of(int(user)) for user in expected.users] if seen == "masked" else None
    users = BlendUsers(items, lengths, np.full(len(lengths), np.nan), masks)
    scores = BlockScores(BlendTables(counter, 0.75, {}, popularity, None), users)
    rows, found = scores.proposals(10, np.ones(num_items, dtype=bool))[SOURCE_TRANSITION]
    for row, (ranking, values) in enumerate(zip(expected.items, expected.scores, strict=True)):
        counted = ranking[values > 0]  # what follows is filled by popularity
        assert found[rows == row].tolist() == counted.tolist()
        pairs = np.full(len(counted), row), counted.astype(np.int64)
        np.testing.assert_allclose(scores.counter_scores(*pairs), values[values > 0], rtol=1e-6)


def test_served_lists_are_blended_whole_and_hold_nothing_seen(project: Project) -> None:
    run = latest(project, "recommend")
    assert latest(project, "blend").run_id in run.inputs
    rows = lists(project, run).to_pylist()
    assert pq.read_schema(project.book.folder(run) / "part-00000.parquet").names == list(rows[0])
    have = {user: {f"i{number:03d}" for number in numbers} for user, numbers in case.histories().items()}
    by_user: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_user.setdefault(row["user_id"], []).append(row)
    assert len(by_user) == NUM_USERS
    for user, mine in by_user.items():
        assert [row["rank"] for row in mine] == list(range(1, len(mine) + 1))
        assert not {row["item_id"] for row in mine} & have.get(user, set())
        assert all(first["score"] >= second["score"] for first, second in pairwise(mine))
    assert {len(mine) for user, mine in by_user.items() if user != HAS_ALL} == {10}
    sources = {source for row in rows for source in row["sources"]}
    assert sources == {"model", "transition", "neighbor", "fallback"}
    assert any(len(row["sources"]) == 3 for row in rows)
    assert {tuple(row["sources"]) for row in by_user[COLD]} == {("fallback",)}
    assert all(row["sources"] for row in rows)
    explained = [row for row in rows if "transition" in row["sources"] and row["user_id"] in have]
    assert all(row["reason_item_id"] in have[row["user_id"]] for row in explained)
    project.publish()
    assert all(check.passed for check in project.check())


def test_lists_to_be_scored_hold_both_methods_and_one_search_made_them(project: Project) -> None:
    run = project.recommend(split="valid")
    folder = project.book.folder(run)
    blend, model = read_parts(folder, method="blend"), read_parts(folder, method="model")
    few = case.NUM_ITEMS + len(UNKNOWN) - (case.NUM_ITEMS - 2)  # what one who has everything else has not seen
    assert blend.num_rows == model.num_rows == (NUM_USERS - 3) * 10 + few
    assert not blend.equals(model)
    assert lists(project, run).equals(blend)
    assert {tuple(row) for row in model.column("sources").to_pylist()} == {("model",), ("fallback",)}
    figures = project.store.metric_rows(evaluate_run(project.workspace, run).record.run_id)
    hits = {
        row["method"]: row["value"] for row in figures if (row["name"], row["k"], row["segment"]) == ("ndcg", 10, "all")
    }
    assert hits["blend"] > hits["model"] > 0
    protocols = {row["method"]: row["protocol"] for row in figures}
    assert protocols["blend"]["blend_run"] == latest(project, "blend").run_id
    assert protocols["blend"]["fitted_on_this_split"]  # the weights were chosen by these very items
    assert "fitted_on" not in protocols["model"]
    never = listed.copied(project.layout.root, project.layout.root.parent / "never", SETTINGS)
    alone = lists(never, never.recommend(split="valid"))
    names = ["user_id", "rank", "item_id"]
    assert alone.select(names).equals(model.select(names))
    assert read_parts(never.book.folder(latest(never, "recommend")), method="blend").num_rows == 0


@pytest.mark.parametrize("split", ["test", pytest.param("serve", marks=pytest.mark.slow)])
def test_another_process_makes_the_same_lists_of_a_job_that_it_is_sent(
    blended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: Split
) -> None:
    here = listed.copied(blended, tmp_path / "here", ALWAYS)
    (here.layout.root / "semconv.toml").write_text(
        ALWAYS.replace("top_k = 10", "top_k = 9")
    )  # lists that are not there
    there = listed.copied(here.layout.root, tmp_path / "there", (here.layout.root / "semconv.toml").read_text())
    here = Project.open(here.layout.root)
    folders = [here.book.folder(here.recommend(split=split))]

    def write_elsewhere(job: ListJob, _progress: object) -> None:
        buffers: list[pickle.PickleBuffer] = []
        sent = pickle.dumps(job, protocol=5, buffer_callback=buffers.append)
        assert buffers
        received = pickle.loads(sent, buffers=[bytes(buffer.raw()) for buffer in buffers])  # arrays that are read alone
        for place in range(len(job.shards)):
            recommend.ListWorker(received).write(place)

    monkeypatch.setattr(recommend, "write_lists", write_elsewhere)
    folders.append(there.book.folder(there.recommend(split=split)))
    for method in ("blend", "model"):
        ours, theirs = (read_parts(folder, method=method) for folder in folders)
        assert ours.equals(theirs)
        assert (ours.num_rows > 0) == (method == "blend" or split == "test")


def test_what_is_served_knows_all_interactions_and_is_of_the_newest_day(project: Project) -> None:
    workspace, lineage = project.workspace, project.workspace.lineage()
    chosen = chosen_blend(workspace, lineage, "serve")
    assert chosen is not None
    sequences = workspace.sequences()
    sequences = replace(sequences, times=np.arange(len(sequences.items)) * 86_400_000_000)
    catalog = workspace.store.catalog()
    num_items = len(catalog)
    splits: tuple[Split, ...] = ("test", "serve")
    nothing = catalog.is_servable, np.zeros(0, np.int32)
    fitted, served = (
        job_blend(
            workspace,
            lineage,
            chosen,
            split,
            ListInputs(catalog, nothing[0], sequences, Histories.under(sequences, split), nothing[1]),
        )
        for split in splits
    )
    assert fitted is not None
    assert served is not None
    every = np.bincount(sequences.items, minlength=num_items)
    np.testing.assert_array_equal(served.blend.tables.popularity, every)
    assert fitted.blend.tables.popularity.sum() < every.sum()  # the train cut
    assert served.blend.tables.counter.sum() > fitted.blend.tables.counter.sum()
    assert set(served.days) == {len(sequences.items) - 1.0}
    assert len(set(fitted.days[~np.isnan(fitted.days)])) > NUM_USERS / 2
    np.testing.assert_array_equal(served.blend.weights.weights, fitted.blend.weights.weights)
    assert (served.with_all, fitted.with_all) == (False, True)


def test_a_killed_job_goes_on_and_gives_the_same_rows(project: Project) -> None:
    run = latest(project, "recommend")
    before, rows, folder = parts(project, run), lists(project, run), project.book.folder(run)
    (folder / "complete.json").unlink()
    with project.store.write() as connection:
        connection.exec_driver_sql("UPDATE run SET status = 'running' WHERE run_id = ?", (run.run_id,))
    for place in (2, 5):
        (folder / f"part-0000{place}.parquet").unlink()
    again = case.reopened(project)
    assert again.recommend().run_id == run.run_id
    assert lists(again, run).equals(rows)
    after = parts(again, run)
    assert {name for name in before if before[name] != after[name]} == {"part-00002.parquet", "part-00005.parquet"}


def test_unchanged_users_keep_their_lists_until_there_is_another_blend(project: Project) -> None:
    rows = lists(project, latest(project, "recommend"))
    have = case.histories()["u005"]
    file = case.write_lines(project.layout.root / "more.jsonl", case.events({"u005": [(have[-1] + 1) % 60]}, start=99))
    project.ingest_interactions([file], {})
    project = case.reopened(project)
    night = _Night(project.workspace)
    night._blend(project.workspace.lineage(), is_fitted=False)
    assert [stage["state"] for stage in night.stages] == ["kept (stale)"]
    changed = lists(project, project.recommend(only_changed=True))
    said = project.progress.said  # type: ignore[attr-defined]
    assert any(f"{NUM_USERS - 1} of {NUM_USERS} users are unchanged" in line for line in said)
    keep = [row for row in rows.to_pylist() if row["user_id"] != "u005"]
    assert [row for row in changed.to_pylist() if row["user_id"] != "u005"] == keep
    project.blend()  # of the interactions there are now
    said.clear()
    project.recommend(only_changed=True)
    assert any("no earlier lists of this model with these settings" in line for line in said)


def test_a_night_makes_a_blend_with_the_model_and_keeps_it(blended: Path, tmp_path: Path) -> None:
    quick = ALWAYS.replace("[tuning]", "[tuning]\nmax_samples = 60")
    project = listed.copied(blended, tmp_path / "project", quick)
    first = {row["stage"]: row["state"] for row in project.publish_due(refit=True).stages}
    assert list(first).index("finetune") < list(first).index("blend") < list(first).index("recommend")
    assert first["blend"] == "done"  # of the interactions that came after the first one
    later = {row["stage"]: row["state"] for row in case.reopened(project).publish_due(refit=False).stages}
    assert later["blend"] == "kept"
    alone = case.reopened(project, blend__use="never", gates__min_items=0.0)  # the model alone lists fewer items
    without = {row["stage"]: row["state"] for row in alone.publish_due(refit=False).stages}
    assert "blend" not in without
    assert without["recommend"] == "done"
    assert latest(project, "blend").run_id not in latest(alone, "recommend").inputs


def test_which_lists_are_served_is_the_verdicts_or_the_settings_say(blended: Path) -> None:
    verdict = Project.open(blended)
    is_better = bool(blend_report(verdict.workspace, latest(verdict, "blend"))["is_better"])
    chosen = {}
    for use in ("auto", "always", "never"):
        workspace = Project.open(blended, overrides={"blend.use": use}).workspace
        chosen[use] = {split: chosen_blend(workspace, workspace.lineage(), split) for split in ("serve", "test")}
    assert chosen["never"] == {"serve": None, "test": None}
    assert {found.served for found in chosen["always"].values() if found} == {"blend"}
    served = chosen["auto"]["serve"]
    assert (served is not None) == is_better
    scored = chosen["auto"]["test"]
    assert scored is not None
    assert scored.served == ("blend" if is_better else "model")


@pytest.mark.parametrize("part", ["transition", "neighbor", "text", "popularity", "recency"])
def test_a_setting_turns_a_part_off(blended: Path, part: str, tmp_path: Path) -> None:
    settings = ALWAYS.replace("[blend]", f"[blend]\n{part} = false")
    project = listed.copied(blended, tmp_path / "project", settings)
    names = [row["feature"] for row in project.blend()["weights"]]
    words = {"transition": "transition", "neighbor": "behavior", "text": "text", "recency": "age"}
    assert not [name for name in names if name.startswith(words.get(part, part)) and "within" not in name]
    assert "log p of codes" in names
    if part in ("transition", "neighbor"):
        rows = lists(project, project.recommend()).to_pylist()
        assert part not in {source for row in rows for source in row["sources"]}


def test_the_command_prints_weights_figures_and_verdict(blended: Path) -> None:
    result = CliRunner().invoke(cli, ["--project", str(blended), "blend"])
    assert result.exit_code == 0, result.stderr
    for word in ("transition of the latest item", "behavior of the history", "ndcg@10", "blend against model"):
        assert word in result.stdout
    assert result.stdout.splitlines()[-1].split() == [
        "recommend",
        "serves",
        "the",
        "blend",
        "(blend.use",
        "=",
        "always)",
    ]
    as_json = json.loads(CliRunner().invoke(cli, ["--project", str(blended), "blend", "--json"]).stdout)
    assert {row["method"] for row in as_json["figures"]} == {"model", "blend", "blend-without-model", "transition"}
    assert as_json["num_fitted"] <= as_json["num_users"] == case.NUM_USERS - 2 + 2
    assert as_json["run_id"] == latest(Project.open(blended), "blend").run_id  # reused


def test_a_model_that_has_seen_the_validation_items_takes_weights_fitted_before(
    project: Project, tmp_path: Path
) -> None:
    fitted = latest(project, "blend")
    text = ALWAYS.replace("[split]", '[split]\ntrain_cut = "[:-1]"')
    other = listed.copied(project.layout.root, tmp_path / "other", text)
    fit_all(other.workspace)
    record = other.workspace.run(other.blend()["run_id"])
    assert record.run_id != fitted.run_id
    assert fitted.run_id in record.inputs
    mine, before = (blend_report(other.workspace, run) for run in (record, fitted))
    assert mine["weights"] == before["weights"]
    assert mine["fitted_by"] == fitted.run_id
    other.recommend()
    assert other.publish().is_new  # the codes of this model alone, though the weights come from a model of other codes
    assert all(check.passed for check in other.check())
    apart = listed.copied(other.layout.root, tmp_path / "apart", text.replace("[blend]", "[blend]\ncandidates = 7"))
    message = (
        f"contains the validation items .* {fitted.run_id} for .* was fitted with blend.candidates = 60; fit a blend"
    )
    with pytest.raises(InputError, match=message):
        apart.blend()
    night = _Night(apart.workspace)
    night._blend(apart.workspace.lineage(), is_fitted=True)
    assert night.stages == []
