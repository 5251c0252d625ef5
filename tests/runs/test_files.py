"""The list of artifacts names every file that a run leaves, and what it says of each is true."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from semconv.artifacts import read_arrays
from semconv.columns import PACK, PEER, STAGES
from semconv.data.store import RunRecord
from semconv.runs import files
from semconv.runs.digests import read_complete
from semconv.runs.files import ARTIFACTS, Kind, find_artifact, kind_of, run_files, user_data_of
from semconv.runs.user_data import BlankedRows, IndexedRows, ParquetRows, Slices, UserArrays
from semconv_warehouse.project import Project
from tests.worlds.demo import SHAPE, Demo


@pytest.fixture(scope="module")
def runs(demo: Demo) -> list[tuple[RunRecord, Path]]:
    """The demo's runs with their folders."""
    project = Project.open(demo.folder)
    return [(run, project.book.folder(run)) for run in project.store.runs()]


def test_every_file_of_a_run_is_named_with_the_stage_that_wrote_it(runs: list[tuple[RunRecord, Path]]) -> None:
    assert {run.stage for run, _ in runs} == set(STAGES) - {PEER, PACK}
    unknown, wrong = [], []
    for run, folder in runs:
        for name in run_files(folder):
            artifact = find_artifact(name)
            if artifact is None:
                unknown.append(f"{run.stage}: {name}")
            elif run.stage not in artifact.stages:
                wrong.append(f"{run.stage}: {name}")
    assert unknown == [], "add an entry to semconv.runs.files.ARTIFACTS"
    assert wrong == [], "add the stage to the entry in semconv.runs.files.ARTIFACTS"


# Written with other settings than the demo's: behavior.source = dccf, codebook.method = rqvae, tuning.validation_users, tuning.history = items.
WITH_OTHER_SETTINGS = {"dccf.safetensors", "autoencoder.safetensors", "best.safetensors"}
OF_EXPERIMENTS = {"peer.safetensors", "peer_state.safetensors", "epochs.jsonl"}
OF_PACKS = {"pack.json", "pack_users.safetensors"}


def test_every_entry_names_a_file_that_a_run_leaves(runs: list[tuple[RunRecord, Path]]) -> None:
    found = {find_artifact(name) for _, folder in runs for name in run_files(folder)}
    assert {
        artifact.pattern for artifact in ARTIFACTS if artifact not in found
    } == WITH_OTHER_SETTINGS | OF_EXPERIMENTS | OF_PACKS


def test_each_name_has_one_entry() -> None:
    names = [artifact.pattern for artifact in ARTIFACTS]
    assert len(set(names)) == len(names)
    constants = {value for name, value in vars(files).items() if name.isupper() and isinstance(value, str)}
    assert constants - {"model"} <= set(names)  # the folder's entry is model/*


def test_results_and_training_states_have_checksums_and_nothing_else(runs: list[tuple[RunRecord, Path]]) -> None:
    for _, folder in runs:
        expected = {name for name in run_files(folder) if kind_of(name) in (Kind.RESULT, Kind.TRAINING_STATE)}
        assert set(read_complete(folder)["files"]) == expected


def test_files_with_user_ids_or_a_row_for_each_user_are_marked(runs: list[tuple[RunRecord, Path]]) -> None:
    marked = set(_files_with_users(runs))
    assert {"users.parquet", "part-00000.parquet", "table-user_embedding.parquet"} < marked
    assert {"vectors.safetensors", "tuned_on.safetensors", "states.safetensors"} < marked
    assert [name for name in sorted(marked) if user_data_of(name) is None] == []


def _files_with_users(runs: list[tuple[RunRecord, Path]]) -> Iterator[str]:
    for _, folder in runs:
        for name, path in run_files(folder).items():
            if name.endswith(".parquet") and "user_id" in pq.read_schema(path).names:
                yield name
            if name.endswith(".safetensors") and "/" not in name:
                arrays = read_arrays(path)
                lengths = {array.shape[0] for array in arrays.values() if array.ndim}
                # One row for each user, or one offset more; or fewer rows, of users that have some.
                if lengths & {SHAPE.users, SHAPE.users + 1} or any("user" in array for array in arrays):
                    yield name


def test_arrays_that_a_removal_names_are_in_the_file(runs: list[tuple[RunRecord, Path]]) -> None:
    for _, folder in runs:
        for name, path in run_files(folder).items():
            user_data = user_data_of(name)
            if isinstance(user_data, UserArrays):
                named = [value for value in dataclasses.astuple(user_data) if isinstance(value, str)]
                assert set(named) <= set(read_arrays(path)), name


def test_a_file_that_nobody_named_gets_a_checksum_and_is_searched_for_users() -> None:
    assert find_artifact("something.parquet") is None
    assert kind_of("something.parquet") is Kind.RESULT
    assert user_data_of("something.parquet") == ParquetRows()
    assert user_data_of("something.safetensors") is None


@pytest.mark.parametrize(
    ("user_data", "count", "left"),
    [
        (IndexedRows("index", ("values",)), 1, {"index": [4, 0], "values": [1, 3]}),
        (BlankedRows("index", "values"), 1, {"index": [4, 2, 0], "values": [1, 0, 3]}),
        (Slices("offsets", ("values",)), 2, {"offsets": [0, 1, 1, 1], "values": [1]}),
    ],
)
def test_users_two_and_five_are_taken_out_of_arrays(
    user_data: UserArrays, count: int, left: dict[str, list[int]]
) -> None:
    arrays = {"index": np.array([4, 2, 0]), "values": np.array([1, 2, 3]), "offsets": np.array([0, 1, 1, 3])}
    changed, number = user_data.without(arrays, np.array([2, 5]))
    assert number == count
    assert {name: changed[name].tolist() for name in left} == left
    assert {name: array.dtype for name, array in changed.items()} == {
        name: array.dtype for name, array in arrays.items()
    }
