"""Vectors that the user already has: what is refused by name, and what the users' vectors are."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from semconv.behavior.given import check_given
from semconv.behavior.vectors import BehaviorVectors
from semconv.errors import InputError
from semconv_cli.main import cli
from tests.worlds import projects as case
from tests.worlds.sequences import sequences_of

IDS = [f"item-{i}" for i in range(10)]


def test_users_are_the_mean_of_their_items() -> None:
    items = np.array([[1.0, 0.0], [0.0, 1.0], [4.0, 2.0]])
    vectors = check_given(np.array([2, 5, 7]), items, sequences_of([[2, 5], [9], [], [7, 9]]), IDS)
    assert vectors.source == "given"
    assert vectors.user_index.tolist() == [0, 3]
    np.testing.assert_allclose(vectors.user_vectors / vectors.scale, [[0.5, 0.5], [4.0, 2.0]], rtol=1e-5)


def test_rows_come_out_in_item_order() -> None:
    vectors = check_given(np.array([7, 2]), np.array([[1.0, 0.0], [0.0, 3.0]]), sequences_of([]), IDS)
    assert vectors.item_index.tolist() == [2, 7]
    np.testing.assert_allclose(vectors.item_vectors / vectors.scale + vectors.mean, [[0, 3], [1, 0]], atol=1e-5)


def test_lists_are_as_good_as_an_array() -> None:
    rows = [[1.0, 2.0], [3.0, 5.0]]
    a, b = (check_given(np.array([0, 1]), vectors, sequences_of([]), IDS) for vectors in (rows, np.array(rows)))
    np.testing.assert_array_equal(a.item_vectors, b.item_vectors)


@pytest.mark.parametrize(
    ("index", "rows", "message"),
    [
        ([], [], "none of the given .* item"),
        ([1, 2, 3], [[1, 2], [np.nan, 2], [3, np.inf]], "2 of 3 .* NaN or infinite values: item-2, item-3"),
        ([1, 2, 3], [[1, 2], [1, 2, 3], [1, 2]], "1 of 3 .* not have 2 numbers like most: item-2"),
        ([4, 4, 5], [[1, 2], [1, 2], [1, 2]], "1 of 3 .* an item that has several: item-4;"),
        ([4, 4, 4], [[1, 2], [1, 2], [1, 2]], "2 of 3 .* an item that has several: item-4;"),
        ([0, 1], [[], []], "of the same length"),
        ([0, 1], [[1.0, 2.0]], "2 items but 1"),
    ],
)
def test_refuses_by_name(index: list[int], rows: list[list[float]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_given(np.array(index, dtype=np.int64), rows, sequences_of([]), IDS)


def test_only_the_first_offenders_are_named() -> None:
    with pytest.raises(InputError, match=r"10 of 10 .*: item-0, item-1, item-2, \.\.\."):
        check_given(np.arange(10), np.full((10, 2), np.nan), sequences_of([]), IDS)


def test_source_survives_the_file(tmp_path) -> None:
    check_given(np.array([0, 1]), np.eye(2), sequences_of([]), IDS).save(tmp_path / "v.safetensors")
    assert BehaviorVectors.load(tmp_path / "v.safetensors").source == "given"


def embed(root: Path, *args: str, code: int) -> Result:
    result = CliRunner().invoke(cli, ["--project", str(root), "embed", "behavior", "--json", *args])
    assert result.exit_code == code, result.stderr
    return result


def test_the_command_says_what_the_file_and_the_catalogue_lack(tmp_path: Path) -> None:
    root = case.make_project(tmp_path / "project").layout.root
    ids = [*(case.item_id(number) for number in range(case.NUM_ITEMS - 2)), "unheard-of"]
    file, rows = tmp_path / "vectors.parquet", np.random.default_rng(0).normal(size=(len(ids), 6))
    pq.write_table(pa.table({"item_id": ids, "vector": rows.tolist()}), file)
    assert "--vectors can be used only with --source given" in embed(root, "--vectors", str(file), code=2).stderr
    result = embed(root, "--source", "given", "--vectors", str(file), code=0)
    assert f"{file}: 1 items of the file are not in the catalogue and were left out" in result.stderr
    assert (
        f"{file}: 2 items of the catalogue have no vector in the file; those with text get codes from their text"
        in result.stderr
    )
    vectors = BehaviorVectors.load(root / json.loads(result.stdout)["artifact_path"] / "vectors.safetensors")
    assert (vectors.source, vectors.item_vectors.shape) == ("given", (len(ids) - 1, 6))
