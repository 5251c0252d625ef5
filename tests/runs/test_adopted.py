"""A project adopts a run of another project."""

from pathlib import Path

from semconv.runs.digests import damaged_files, replacing_file
from semconv_warehouse.project import Project
from tests.worlds.projects import Remarks, rows
from tests.worlds.runs import Compute, add_item, request


def test_an_adopted_run_is_reused_and_its_files_are_its_own(project: Project, tmp_path: Path) -> None:
    compute = Compute()
    run = project.book.execute(request(), compute).record
    source = project.book.folder(run)
    Project.init(tmp_path / "other", "")
    other = Project.open(tmp_path / "other", progress=Remarks())
    add_item(other, 0)
    other.book.adopt(run, source)
    other.book.adopt(run, source)  # a second time changes nothing
    adopted = other.book.execute(request(), compute)
    assert (adopted.is_reused, adopted.record.run_id, compute.calls) == (True, run.run_id, 1)
    assert rows(other, "SELECT run_id, item_id FROM item_embedding") == [(run.run_id, "i0")]
    folder = other.book.folder(run)
    assert folder.is_relative_to(tmp_path / "other")
    assert not damaged_files(folder)
    names = {path.name for path in source.iterdir()} - {"lock"}
    assert {path.name for path in folder.iterdir()} == names  # a lock belongs to one project
    with replacing_file(folder / "shard-0") as temporary:  # as when a user is erased
        temporary.write_text("changed")
    assert not damaged_files(source)
    assert not damaged_files(folder)


def test_a_half_adopted_run_is_completed(project: Project, tmp_path: Path) -> None:
    run = project.book.execute(request(), Compute()).record
    Project.init(tmp_path / "other", "")
    other = Project.open(tmp_path / "other", progress=Remarks())
    add_item(other, 0)
    other.store.start_run(run)  # killed after this, with some files
    other.book.folder(run).mkdir(parents=True)
    (other.book.folder(run) / "shard-0").write_text("half")
    other.book.adopt(run, project.book.folder(run))
    assert other.book.execute(request(), Compute()).is_reused
    assert rows(other, "SELECT status FROM run") == [("finished",)]
