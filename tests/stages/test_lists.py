"""A recommend run as a job: whom it computes, what a damaged part costs, which input it refuses."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from semconv.data.store import RunRecord
from semconv.errors import InputError, MachineError, SettingsError
from semconv.search.trie_file import open_trie
from semconv.stages import stage_settings
from semconv.stages.lists.ray_start import require_answer
from semconv_cli.main import cli
from semconv_warehouse.project import Project
from tests.worlds import listed
from tests.worlds import projects as case
from tests.worlds.listed import COLD, HAS_ALL, NUM_SHARDS, NUM_USERS, SETTINGS, UNKNOWN, lists, parts

NARROW = SETTINGS.replace("[recommend]", '[recommend]\ndtype = "bfloat16"')


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return listed.make_tuned(tmp_path_factory.mktemp("lists") / "tuned")


@pytest.fixture(scope="module")
def served(tuned: Path) -> Path:
    """With the lists of all users; read alone."""
    project = listed.copied(tuned, tuned.parent / "served")
    project.recommend()
    return project.layout.root


@pytest.fixture
def project(served: Path, tmp_path: Path) -> Project:
    return listed.copied(served, tmp_path / "project")


def run_of(project: Project) -> RunRecord:
    return project.workspace.need("recommend")


def unfinished(project: Project) -> RunRecord:
    """Take the lists back to before the run was recorded, as after a kill behind the last part."""
    run = run_of(project)
    (project.book.folder(run) / "complete.json").unlink()
    with project.store.write() as connection:
        connection.exec_driver_sql("UPDATE run SET status = 'running' WHERE run_id = ?", (run.run_id,))
    return run


def remarks(project: Project) -> list[str]:
    assert isinstance(project.progress, case.Remarks)  # narrows the type for the next line; no check of the product
    return project.progress.said


def test_users_whom_the_model_cannot_read_get_the_fallback_and_k_stays_k(project: Project) -> None:
    table = lists(project, run_of(project)).to_pylist()
    assert len(parts(project, run_of(project))) == NUM_SHARDS
    counts = Counter(row["user_id"] for row in table)
    assert counts.pop(HAS_ALL) == len(UNKNOWN)  # nothing else is left for them
    assert len(counts) == NUM_USERS - 1
    assert set(counts.values()) == {10}
    odd = [row for row in table if row["user_id"] in (COLD, HAS_ALL)]
    assert {(*row["sources"], row["reason_item_id"]) for row in odd} == {("fallback", None)}
    assert {row["item_id"] for row in odd if row["user_id"] == HAS_ALL} == set(UNKNOWN)
    assert not {row["item_id"] for row in odd if row["user_id"] == COLD} & set(UNKNOWN)
    assert {tuple(row["sources"]) for row in table if row["user_id"] not in (COLD, HAS_ALL)} == {("model",)}


def test_a_filter_that_leaves_few_items_with_codes_still_fills_lists(project: Project) -> None:
    few = [f"i{number:03d}" for number in range(12)]
    run = project.recommend(where=f"item_id IN {(*few, *UNKNOWN)}")
    table = lists(project, run).to_pylist()
    history = {user: {f"i{number:03d}" for number in numbers} for user, numbers in case.histories().items()}
    counts = Counter(row["user_id"] for row in table)
    for user, have in history.items():
        assert counts[user] == min(10, len({*few, *UNKNOWN} - have)), user
        assert not {row["item_id"] for row in table if row["user_id"] == user} & have
    by_user = [row for row in table if row["user_id"] == "u000"]
    assert [row["rank"] for row in by_user] == list(range(1, len(by_user) + 1))


def test_what_is_finished_stays_and_the_rest_is_computed(project: Project) -> None:
    run = unfinished(project)
    before, rows, folder = parts(project, run), lists(project, run), project.book.folder(run)
    whole, other, label_of_4 = (folder / f"part-0000{place}.parquet" for place in (1, 3, 4))
    whole.write_bytes(whole.read_bytes()[:-100])
    other.unlink()
    label_of_4.write_bytes((folder / "part-00005.parquet").read_bytes())
    foreign = folder / "part-00077.parquet"
    pq.write_table(rows.slice(0, 3), foreign)
    again = case.reopened(project)
    assert again.recommend().run_id == run.run_id
    after = parts(project, run)
    assert {name for name in before if before[name] != after[name]} == {whole.name, other.name, label_of_4.name}
    assert after.keys() == before.keys()
    assert lists(project, run).equals(rows)
    said = [line for line in remarks(again) if "recomputing the lists of its users" in line]
    assert [Path(line.partition(":")[0]).name for line in said] == [whole.name, label_of_4.name, foreign.name]


def test_a_part_of_another_run_does_not_count(project: Project) -> None:
    run = run_of(project)
    shorter = case.reopened(project, recommend__top_k=9)
    other = shorter.recommend()
    source, target = shorter.book.folder(other) / "part-00002.parquet", project.book.folder(run) / "part-00002.parquet"
    rows = lists(project, run)
    unfinished_run = unfinished(case.reopened(project))
    assert unfinished_run.run_id == other.run_id  # the newest one
    source.write_bytes(target.read_bytes())
    again = case.reopened(project, recommend__top_k=9)
    assert again.recommend().run_id == other.run_id
    assert any(f"{source}: incomplete or of another run" in line for line in remarks(again))
    assert not lists(again, other).equals(rows)


def test_a_damaged_part_of_the_run_before_costs_its_users_alone(project: Project) -> None:
    rows, folder = lists(project, run_of(project)), project.book.folder(run_of(project))
    damaged = folder / "part-00003.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"1 of 21 parts are damaged or missing .part-00003.parquet."):
        project.publish()
    assert not project.layout.serving.exists()
    again = case.reopened(project)
    changed = again.recommend(only_changed=True)
    assert any(
        "part-00003.parquet" in line and "recomputing the lists of its 4 users" in line for line in remarks(again)
    )
    assert any(f"{NUM_USERS - 4} of {NUM_USERS} users are unchanged" in line for line in remarks(again))
    assert lists(again, changed).equals(rows)
    shutil.rmtree(folder)  # what the message says
    assert lists(again, again.recommend()).equals(rows)
    assert again.publish().is_new


def test_only_changed_finishes_the_rest_after_a_kill_too(project: Project) -> None:
    have = case.histories()["u005"]
    file = case.write_lines(project.layout.root / "more.jsonl", case.events({"u005": [(have[-1] + 1) % 60]}, start=99))
    project.ingest_interactions([file], {})
    project = case.reopened(project)
    run = project.recommend(only_changed=True)
    before, rows = parts(project, run), lists(project, run)
    unfinished(project)
    (project.book.folder(run) / "part-00001.parquet").unlink()  # of u005
    again = case.reopened(project)
    assert again.recommend(only_changed=True).run_id == run.run_id
    after = parts(again, run)
    assert {name for name in before if before[name] != after[name]} == {"part-00001.parquet"}
    assert lists(again, run).equals(rows)


def invoke(project: Project, *words: str) -> Result:
    return CliRunner().invoke(cli, ["--project", str(project.layout.root), "recommend", *words])


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--where", "title LIKE"], 2, "is not a condition on the table item"),
        (["--where", "no_such_column = 1"], 2, "is not a condition on the table item"),
        (["--where", "title"], 2, "not true or false for each item"),
        (["--where", "true; SELECT 1"], 2, "is not a condition"),
        (["--where", "title = 'nothing'"], 2, "allows no available item"),
        (["--set", "recommend.where=false"], 2, "(recommend.where) allows no available item"),
        (["--users", "unknown.txt"], 4, "2 of 3 users are unknown (nobody, u999)"),
        (["--users", "empty.txt"], 4, "contains no user id"),
        (["--users", "absent.txt"], 4, "no such file"),
        (["--engine", "spark"], 2, "'spark' is not one of"),
    ],
)
def test_bad_input_is_one_line_and_its_exit_code(
    served: Path, words: list[str], code: int, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("unknown.txt").write_text("u001\nnobody\nu999\n")
    Path("empty.txt").write_text("\n \n")
    result = invoke(Project.open(served), *words)
    assert result.exit_code == code, result.stderr
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_without_ray_the_engine_is_refused_in_one_line(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    result = invoke(Project.open(served), "--engine", "ray")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: recommend.engine = ray needs Ray")
    assert "pip install 'semconv[ray]'" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_the_engine_is_not_part_of_what_lists_are(served: Path) -> None:
    plain = Project.open(served)
    with_ray = Project.open(served, overrides={"recommend.engine": "ray", "recommend.ray_actors": 3})
    lineage = plain.workspace.lineage()
    ours, theirs = (stage_settings.recommend(each.workspace, lineage) for each in (plain, with_ray))
    assert ours == theirs


def test_the_command_goes_on_and_counts_users(served: Path, tmp_path: Path) -> None:
    project = listed.copied(served, tmp_path / "project")
    run = unfinished(project)
    for path in sorted(project.book.folder(run).glob("part-*"))[:2]:
        path.unlink()
    result = invoke(project, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["run_id"] == run.run_id
    assert f"recommend serve: {NUM_USERS} of {NUM_USERS} users in" in result.stderr


def test_the_code_trie_is_built_once_and_again_when_it_is_damaged(project: Project) -> None:
    before = lists(project, run_of(project))
    codebook = project.workspace.need("codebook")
    file = project.book.folder(codebook) / "trie.safetensors"
    built = file.stat().st_ino
    assert not [remark for remark in remarks(project) if "trie" in remark]
    project.recommend_query("a red lamp")
    assert file.stat().st_ino == built
    for damage in (file.read_bytes()[:-3], file.read_bytes()[:-3] + b"xyz", b""):
        file.write_bytes(damage)
        run = unfinished(project)
        for part in parts(project, run):
            (project.book.folder(run) / part).unlink()
        assert lists(project, project.recommend()).equals(before)
        assert any(str(file) in remark and "rebuilding it" in remark for remark in remarks(project))
        remarks(project).clear()
        open_trie(file)


def test_lists_in_bfloat16_are_a_run_of_their_own_and_much_alike(project: Project) -> None:
    before = run_of(project)
    narrow = listed.copied(project.layout.root, project.layout.root.parent / "narrow", NARROW)
    after = narrow.recommend()
    assert after.fingerprint != before.fingerprint
    wide_rows, narrow_rows = (
        {(user, item) for user, item in zip(rows["user_id"].to_pylist(), rows["item_id"].to_pylist(), strict=True)}
        for rows in (lists(project, before), lists(narrow, after))
    )
    assert len(wide_rows & narrow_rows) > 0.9 * len(wide_rows)


def test_a_question_is_answered_among_allowed_items(project: Project) -> None:
    everything = project.recommend_query("a red lamp")
    best = everything[0]["item_id"]
    assert best not in {row["item_id"] for row in project.recommend_query("a red lamp", where=f"item_id <> '{best}'")}
    few = ", ".join(repr(row["item_id"]) for row in everything[1:4])
    some = project.recommend_query("a red lamp", where=f"item_id IN ({few})")
    # Beams of another number are computed together, so the last digits of a score may differ.
    wanted = [{**row, "rank": rank} for rank, row in enumerate(everything[1:4], start=1)]
    assert [{**row, "score": 0} for row in some] == [{**row, "score": 0} for row in wanted]
    assert [row["score"] for row in some] == pytest.approx([row["score"] for row in wanted], abs=1e-5)
    with pytest.raises(SettingsError, match="allows no available item"):
        project.recommend_query("a red lamp", where="false")
    result = CliRunner().invoke(
        cli,
        [
            "--project",
            str(project.layout.root),
            "recommend",
            "--query",
            "a lamp",
            "--where",
            f"item_id = '{best}'",
            "--json",
        ],
    )
    assert result.exit_code == 0, result.stderr
    assert [row["item_id"] for row in json.loads(result.stdout)] == [best]


def test_a_cluster_that_does_not_answer_is_named_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        require_answer(address)
    with pytest.raises(MachineError, match=f"no Ray cluster answers at {address}"):
        require_answer(address)
    require_answer("")
    require_answer("auto")
