"""Damage in the folder of a run is found, and mended by computing the run again."""

import pytest

from semconv.runs.digests import damaged_files, replacing_file, write_complete
from semconv.runs.files import COMPLETE
from semconv_warehouse.project import Project
from tests.worlds.faults.damage import flip_a_bit
from tests.worlds.projects import rows
from tests.worlds.runs import Compute, request


def test_a_run_with_a_flipped_bit_is_made_again_from_what_is_whole(project: Project) -> None:
    compute = Compute()
    made = project.book.execute(request(), compute).record
    folder = project.book.folder(made)
    (folder / "shard-0").write_bytes(b"flipped")
    again = project.book.execute(request(), compute)
    assert not again.is_reused
    assert again.record.run_id == made.run_id
    assert compute.found == [[], []]
    assert (folder / "shard-0").read_bytes() == b""
    assert project.book.execute(request(), compute).is_reused
    assert rows(project, "SELECT count(*) FROM item_embedding") == [(1,)]


def test_a_damaged_run_whose_repetition_was_killed_still_knows_what_to_look_at(project: Project) -> None:
    made = project.book.execute(request(), Compute()).record
    folder = project.book.folder(made)
    (folder / "shard-0").write_bytes(b"flipped")
    with pytest.raises(KeyboardInterrupt):
        project.book.execute(request(), Compute(KeyboardInterrupt()))
    assert not (folder / COMPLETE).exists()
    done = Compute()
    assert not project.book.execute(request(), done).is_reused
    assert done.found == [["shard-0"]]  # of the killed one, not the damaged one
    assert (folder / "shard-0").read_bytes() == b""


def test_what_changes_by_itself_in_the_folder_of_a_run_is_no_damage(project: Project) -> None:
    folder = project.book.folder(project.book.execute(request(), Compute()).record)
    for name in ("lock", "training.svg", "steps.jsonl", "trie.safetensors"):
        (folder / name).write_bytes(b"later")
    (folder / "model").mkdir()
    (folder / "model" / "added.json").write_bytes(b"{}")
    assert damaged_files(folder) == []
    (folder / "shard-0").unlink()
    assert damaged_files(folder) == ["shard-0"]
    (folder / "checkpoint.safetensors").write_bytes(b"state")
    write_complete(folder)
    flip_a_bit(folder / "checkpoint.safetensors")  # from which a damaged model would be tuned again
    assert damaged_files(folder) == ["checkpoint.safetensors"]
    (folder / "checkpoint.safetensors").unlink()  # by a prune
    assert damaged_files(folder) == []
    assert damaged_files(folder, "model") == []


def test_a_file_that_was_damaged_before_a_change_that_is_meant_stays_damaged(project: Project) -> None:
    folder = project.book.folder(project.book.execute(request(), Compute()).record)
    path = folder / "shard-0"
    with replacing_file(path) as new:
        new.write_bytes(b"without somebody")
    assert damaged_files(folder) == []
    path.write_bytes(b"flipped")
    with replacing_file(path) as new:
        new.write_bytes(b"flipped, without somebody")
    assert damaged_files(folder) == ["shard-0"]
