"""Codes made elsewhere: what of a file is refused, how shared codes are told apart, and a project that lives on them."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from semconv.errors import InputError
from semconv.settings.codebook import CodebookSettings
from semconv.stages.codes.code_file import read_codes
from semconv.tokenization.code_set import CodeSet
from semconv.tokenization.external import external_code_set
from semconv_cli.main import cli
from semconv_warehouse.project import Project
from tests.worlds import projects as case
from tests.worlds.faults.damage import flip_a_bit


def write(path: Path, ids: Any, codes: Any) -> Path:
    pq.write_table(pa.table({"item_id": ids, "codes": codes}), path)
    return path


def test_rows_come_in_the_order_of_the_catalogue(tmp_path: Path) -> None:
    path = write(tmp_path / "c.parquet", ["c", "x", "a"], [[5, 6], [1, 2], [3, 4]])
    found = read_codes(path, ["a", "b", "c"])
    assert found.item_index.tolist() == [0, 2]
    assert found.codes.tolist() == [[3, 4], [5, 6]]
    assert (found.num_unknown, found.num_codes) == (1, 7)


@pytest.mark.parametrize("kind", [pa.list_(pa.uint8()), pa.large_list(pa.int64()), pa.list_(pa.int16(), 2)])
def test_every_kind_of_list_and_ids_that_are_numbers(tmp_path: Path, kind: pa.DataType) -> None:
    path = write(tmp_path / "c.parquet", pa.array([7, 8]), pa.array([[0, 1], [1, 1]], kind))
    assert read_codes(path, ["8", "7"]).codes.tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize(
    ("ids", "codes", "message"),
    [
        (["a", "b"], [[1], [1, 2]], r"same number of codes, but the file has items with \[1, 2\] codes"),
        (["a"], [[1] * 7], r"each item has 7 codes; give each item between 1 and 6"),
        (["a"], pa.array([[]], pa.list_(pa.int64())), r"each item has 0 codes"),
        (["a", "a", "b"], [[1], [2], [3]], r"1 items occur more than once, the first is a"),
        (["x"], [[1]], r"no item of the catalogue"),
        (["a", "b"], [[1, 2], [3, -1]], r"between 0 and 65535, but 1 items .* b with \[3, -1\]"),
        (["a"], [[65536]], r"between 0 and 65535"),
        (["a"], pa.array([[2**63]], pa.list_(pa.uint64())), r"a code is too large"),
        (["a"], [["red"]], r"column codes has the type list<.*string>, but must be a list of whole numbers"),
        (["a"], [[1.5]], r"must be a list of whole numbers"),
        (["a"], [1], r"column codes has the type int64, but must be a list"),
        ([1.5], [[1]], r"column item_id has the type double"),
        (["a", "b"], [[1], None], r"1 rows have no codes"),
        (["a", None], [[1], [2]], r"1 rows have no item_id"),
        (["a", "b"], [[1, 1], [1, None]], r"1 codes are null"),
        (pa.array([], pa.string()), pa.array([], pa.list_(pa.int64())), r"no rows"),
    ],
)
def test_a_file_that_is_refused_says_why_in_one_line(tmp_path: Path, ids: Any, codes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_codes(write(tmp_path / "c.parquet", ids, codes), ["a", "b"])
    assert "\n" not in str(caught.value)


def test_files_that_are_no_such_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_codes(tmp_path / "none.parquet", ["a"])
    (tmp_path / "t.parquet").write_text("no table")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        read_codes(tmp_path / "t.parquet", ["a"])
    pq.write_table(pa.table({"item_id": ["a"]}), tmp_path / "m.parquet")
    with pytest.raises(InputError, match=r"column codes is missing"):
        read_codes(tmp_path / "m.parquet", ["a"])


def test_a_file_of_code_tokens_is_read_as_lc_rec_publishes_it(tmp_path: Path) -> None:
    path = tmp_path / "Games.index.json"
    path.write_text('{"1": ["<a_3>", "<b_0>"], "7": ["<a_0>", "<b_255>"], "0": ["<a_1>", "<b_2>"]}')
    found = read_codes(path, ["0", "1", "2"])
    assert (found.item_index.tolist(), found.codes.tolist()) == ([0, 1], [[1, 2], [3, 0]])
    assert (found.num_unknown, found.num_codes) == (1, 4)
    for text, message in (
        ('{"0": ["<a_70000>"]}', "between 0 and 65535"),
        ('{"0": ["<a_1>"], "1": ["<a_1>", "<b_1>"]}', "item 0 has 1 codes, but item 1 has 2"),
        ('{"0": ["<a_1>"', "no valid JSON"),
        ('{"8": ["<a_1>"]}', "no item of the catalogue"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_codes(path, ["0", "1"])
    with pytest.raises(InputError, match="no such file"):
        read_codes(tmp_path / "none.json", ["0"])


def loaded(codes: list[list[int]], popularity: list[int], **settings: Any) -> CodeSet:
    rows = np.array(codes, dtype=np.uint16)
    shape = CodebookSettings(levels=rows.shape[1], codes=4, **settings)
    return external_code_set(np.arange(len(rows), dtype=np.int32), rows, np.array(popularity), shape)


def test_shared_codes_go_to_the_lowest_free_code_of_the_last_level_the_least_popular_first() -> None:
    code_set = loaded([[1, 2], [1, 2], [1, 2], [1, 0], [3, 3]], [5, 1, 9, 0, 0])
    assert code_set.codes.tolist() == [[1, 3], [1, 1], [1, 2], [1, 0], [3, 3]]  # row 1 first: 1, then row 0: 3
    assert code_set.is_reassigned.tolist() == [True, True, False, False, False]
    assert not code_set.has_books
    assert (code_set.figures["moved_items"], code_set.figures["collision_share_before"]) == (2, 0.6)


def test_a_full_last_level_moves_the_level_before_to_its_lowest_with_room() -> None:
    full = [[0, 0], [0, 1], [0, 2], [0, 3], [0, 3]]
    assert loaded(full, [1, 1, 1, 2, 1]).codes.tolist() == [*full[:4], [1, 0]]


def test_kept_collisions_stay_and_too_many_items_are_refused() -> None:
    shared = [[1], [1], [1], [1], [2]]
    assert loaded(shared, [0] * 5, collisions="keep").codes.tolist() == shared
    with pytest.raises(
        InputError, match=r"5 items cannot all have different codes with 1 levels of 4 codes; .*collisions=keep"
    ):
        loaded(shared, [0] * 5)


def test_a_saved_set_without_books_is_read_back(tmp_path: Path) -> None:
    code_set = loaded([[1, 2], [1, 2]], [1, 2])
    code_set.save(tmp_path)
    back = CodeSet.load(tmp_path)
    np.testing.assert_array_equal(back.codes, code_set.codes)
    assert back.books.shape == (2, 4, 0)
    assert back.figures == code_set.figures


# A project


def invoke(project: Project, *args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["--project", str(project.layout.root), *args])
    assert result.exit_code == code, result.stderr
    return result


def read(project: Project, *args: str) -> Any:
    return json.loads(invoke(project, *args, "--json").stdout)


def foreign_codes(project: Project, items: int = case.NUM_ITEMS) -> Path:
    """Three levels of five codes, every tenth item with the codes of the one before, and one unknown item."""
    codes = list(itertools.islice(itertools.product(range(5), repeat=3), items))
    codes = [codes[n - 1] if n % 10 == 9 else row for n, row in enumerate(codes)]
    ids = [f"i{number:03d}" for number in range(items)]
    return write(project.layout.root / "inputs" / f"codes-{items}.parquet", [*ids, "nowhere"], [*codes, (4, 4, 4)])


def codes_of(project: Project, run_id: str) -> dict[str, str]:
    return dict(case.rows(project, f"SELECT item_id, semantic_id FROM item_code WHERE code_set_run_id = '{run_id}'"))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose first model was tuned on codes that were loaded, by a nightly run."""
    project = case.make_project(tmp_path_factory.mktemp("loaded") / "project")
    file = foreign_codes(project, 58)
    said = invoke(project, "codebook", "load", str(file)).stderr  # makes the behaviour vectors, too
    assert "1 items of the file are not in the catalogue" in said
    assert "2 servable items, 2 of them with interactions, have no codes in the file" in said
    assert "5 items had the same codes as another item; each was given the lowest free code" in said
    stages = case.reopened(project).publish_due(refit=False).stages
    assert {row["stage"]: row["state"] for row in stages} == {
        "backbone": "done",
        "embed_behavior": "reused",
        "codebook": "reused",
        "finetune": "done",
        "recommend": "done",
        "evaluate": "done",
    }
    return project.layout.root


@pytest.fixture
def project(published: Path, tmp_path: Path) -> Project:
    shutil.copytree(published, tmp_path / "project")
    return Project.open(tmp_path / "project", progress=case.Remarks())


def test_codes_are_the_files_and_lists_hold_items_with_codes_alone(project: Project) -> None:
    run = project.workspace.need("codebook")
    assert run.settings == {"codebook": {"levels": 3, "codes": 5, "collisions": "resolve"}, "is_loaded": True}
    codes = codes_of(project, run.run_id)
    assert len(codes) == 58
    assert codes["i007"] == "<a_0><b_1><c_2>"  # 7 in base 5
    assert len(set(codes.values())) == 58
    assert case.rows(project, "SELECT DISTINCT vector_source FROM item_code") == [("given",)]
    listed = {row["item_id"] for row in read(project, "sql", "SELECT DISTINCT item_id FROM recommendation")}
    assert listed <= set(codes)
    assert len(listed) >= 10
    assert not [result for result in project.check() if result.num_rows]
    assert {row["method"] for row in project.evaluate()} >= {"model", "transition"}
    assert project.recommend_query("a red lamp")


def test_the_report_on_loaded_codes_says_all_but_what_books_would_tell(project: Project, tmp_path: Path) -> None:
    report = read(project, "codebook", "report", "--html", str(tmp_path / "page.html"))
    assert (report["items"], report["items_without_codes"], report["moved_items"]) == (58, 2, 5)
    assert report["collisions"][-1] == {
        "levels": 3, "share_before": pytest.approx(10 / 58), "share_after": 0.0, "moved_share": pytest.approx(5 / 58)
    }  # fmt: skip
    assert [row["name"] for row in report["refit"]["drift"]] == ["train_interactions"]
    assert "reconstruction_error" not in report["levels"][0]
    assert len(report["variance_within"]) == 3
    assert "Code report" in (tmp_path / "page.html").read_text()
    assert "unused codes" in invoke(project, "codebook", "report").stdout


def test_new_items_wait_for_a_new_file(project: Project) -> None:
    assert "2 new items get no codes" in invoke(project, "codebook", "assign").stderr
    assert (
        "run `semconv codebook load` with a file that has codes for them"
        in invoke(project, "codebook", "assign").stderr
    )
    first = project.workspace.need("codebook")
    before = codes_of(project, first.run_id)
    second = read(project, "codebook", "load", str(foreign_codes(project)))
    assert second["run_id"] != first.run_id
    assert len(codes_of(project, second["run_id"])) == case.NUM_ITEMS
    assert codes_of(project, first.run_id) == before
    night = case.reopened(project)
    stages = night.publish_due(refit=False).stages
    assert {row["run_id"] for row in stages if row["stage"] == "codebook"} == {first.run_id}
    assert (
        f"{second['run_id']} is not used yet: the current model stays in use; `semconv run --refit` tunes a new model with it"
        in night.progress.said
    )


def test_the_same_file_is_the_same_set_and_other_content_another(project: Project) -> None:
    first = project.workspace.need("codebook")
    file = foreign_codes(project, 58)
    assert read(project, "codebook", "load", str(file))["run_id"] == first.run_id
    copied = shutil.copy(file, project.layout.root / "copy.parquet")
    assert read(project, "codebook", "load", str(copied))["run_id"] == first.run_id
    ids, codes = pq.read_table(file).to_pydict().values()
    write(file, ids, [codes[1], codes[0], *codes[2:]])
    assert read(project, "codebook", "load", str(file))["run_id"] != first.run_id


def test_damaged_codes_and_vectors_under_a_loaded_set_are_made_again_by_the_named_commands(project: Project) -> None:
    codes = project.book.folder(project.workspace.need("codebook")) / "codes.safetensors"
    vectors = project.book.folder(project.workspace.need("embed_behavior")) / "vectors.safetensors"
    whole = codes.read_bytes(), vectors.read_bytes()
    for path in (codes, vectors):
        flip_a_bit(path)
        line = invoke(project, "recommend", "--split", "valid", code=4).stderr
        assert f"{path.name}: damaged or missing" in line if path is codes else str(codes) in line
        assert "`semconv embed behavior`, then `semconv codebook load FILE`, then `semconv run --refit`" in line
    invoke(project, "embed", "behavior")
    invoke(project, "codebook", "load", str(project.layout.root / "inputs" / "codes-58.parquet"))
    assert (codes.read_bytes(), vectors.read_bytes()) == whole
    invoke(project, "recommend", "--split", "valid")


@pytest.mark.slow
def test_loaded_codes_stay_through_a_refit_until_a_fit_replaces_them(project: Project) -> None:
    first = project.workspace.need("codebook")
    before, lists = codes_of(project, first.run_id), read(project, "sql", "SELECT * FROM current_item_code")
    stages = case.reopened(project, tuning__epochs=2).publish_due(refit=True).stages
    assert {row["stage"]: row["state"] for row in stages}["finetune"] == "done"
    assert case.reopened(project).workspace.code_lineage().codebook.run_id == first.run_id
    invoke(project, "embed", "text")
    fitted = read(project, "codebook", "fit")
    # A set beside the old one: what was tuned on that keeps its codes and works.
    case.reopened(project).publish_due(refit=False)
    after = read(project, "sql", "SELECT * FROM current_item_code")
    assert [row["semantic_id"] for row in after] == [row["semantic_id"] for row in lists]
    assert codes_of(project, first.run_id) == before
    assert "<a_" in codes_of(project, fitted["run_id"])["i001"]
    assert case.reopened(project).recommend_query("a red lamp")
    model = case.reopened(project).finetune()
    assert fitted["run_id"] in model.inputs


@pytest.mark.parametrize("start", ["codebook", "mlp3"])
def test_token_rows_cannot_start_from_books_that_nobody_has(project: Project, start: str) -> None:
    said = invoke(project, "--set", f"tuning.code_start={start}", "finetune", code=2).stderr
    assert f"tuning.code_start = {start} needs code vectors" in said
    assert said.count("\n") == 1
    prompts = project.layout.root / "prompts.jsonl"  # which start from no rows
    invoke(project, "--set", f"tuning.code_start={start}", "prompts", "export", "--output", str(prompts))
    assert "<a_" in prompts.read_text()


def test_kept_collisions_are_listed_and_published_as_they_are(project: Project) -> None:
    kept = case.reopened(project, codebook__collisions="keep", tuning__max_samples=60)
    run = kept.codebook_load(foreign_codes(project, 58))
    assert len(set(codes_of(project, run.run_id).values())) == 53
    kept.finetune()
    kept.recommend()
    assert kept.publish().is_new
    assert not [result for result in kept.check() if result.num_rows]


def test_a_refused_file_leaves_no_run_and_exits_with_4(project: Project) -> None:
    runs = project.runs()
    bad = write(project.layout.root / "bad.parquet", ["i001", "i001"], [[1], [2]])
    said = invoke(project, "codebook", "load", str(bad), code=4).stderr
    assert "i001" in said
    assert said.count("\n") == 1
    assert project.runs() == runs
