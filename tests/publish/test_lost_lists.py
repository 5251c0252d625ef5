"""Published lists that are lost or damaged: new lists are still compared with something, or are not published."""

from __future__ import annotations

from pathlib import Path

import pytest

from semconv_warehouse.project import Project
from semconv_warehouse.publish.publications import Publication, Record
from tests.worlds.gated import done, forced, make_gated, refused, semconv, write_lists

FEW = ("u000", "u001")
ALL_GATES = ["min_users", "min_items", "min_length"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_gated(tmp_path / "project")


def damage(file: Path) -> None:
    """Overwrite most of a file in place, also below its other names."""
    file.chmod(0o600)
    with file.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"\xff" * (file.stat().st_size - 8192))


@pytest.mark.parametrize("loss", ["damaged", "missing"])
def test_a_partial_list_is_not_published_when_all_files_are_lost(root: Path, tmp_path: Path, loss: str) -> None:
    layout = Project.open(root).layout
    done(root, "recommend", "load", write_lists(tmp_path / "few.parquet", FEW, length=1))
    if loss == "damaged":
        damage(layout.serving)
        (root / "data" / "generations" / "000001.duckdb").unlink()
    else:
        for file in (layout.serving, *layout.generations.glob("*.duckdb")):
            file.unlink()
    result = semconv(root, "publish")
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert [line.split()[2].rstrip(":") for line in lines] == ALL_GATES
    assert all("all files of the published lists are missing or damaged" in line for line in lines)
    assert not list(layout.generations.glob("000002*"))
    done(root, "publish", "--force")
    assert forced(root)[2] == ALL_GATES


def test_new_lists_are_compared_with_the_newest_undamaged_generation(root: Path, tmp_path: Path) -> None:
    done(root, "recommend", "load", write_lists(tmp_path / "all.parquet", shift=7))
    assert done(root, "publish")["generation"] == 2
    damage(root / "data" / "serving.duckdb")
    done(root, "recommend", "load", write_lists(tmp_path / "few.parquet", FEW))
    lines = refused(root, "publish")
    assert "2 of 80 users with served lists have a new list" in lines[0]
    done(root, "recommend", "load", write_lists(tmp_path / "all.parquet", shift=3))
    assert done(root, "publish")["forced"] == []


def test_the_last_lists_are_served_again_if_only_the_served_file_is_missing(root: Path, tmp_path: Path) -> None:
    done(root, "recommend", "load", write_lists(tmp_path / "few.parquet", FEW))
    assert done(root, "publish", "--force")["generation"] == 2
    (root / "data" / "serving.duckdb").unlink()
    assert done(root, "publish")["generation"] == 2  # what was served last


def test_lists_that_were_left_are_not_compared_with_themselves(root: Path, tmp_path: Path) -> None:
    done(root, "recommend", "load", write_lists(tmp_path / "few.parquet", FEW))
    done(root, "publish", "--force")
    assert done(root, "publish", "--rollback")["generation"] == 1
    (root / "data" / "serving.duckdb").unlink()
    result = semconv(root, "publish")  # the newest lists are those of two users again
    assert result.exit_code == 1
    assert "2 of 80 users with served lists have a new list" in result.stderr


@pytest.mark.parametrize("loss", ["damaged", "missing"])
def test_lists_for_some_users_need_the_lists_of_the_others(root: Path, tmp_path: Path, loss: str) -> None:
    serving = root / "data" / "serving.duckdb"
    done(root, "recommend", "load", "--merge", write_lists(tmp_path / "few.parquet", FEW, shift=5))
    if loss == "damaged":
        damage(serving)
    else:
        for file in (serving, *serving.parent.glob("generations/*.duckdb")):
            file.unlink()
    result = semconv(root, "publish", "--force")
    assert result.exit_code == 4
    assert ".duckdb: missing or damaged, so the lists of the users without a new list cannot be kept" in result.stderr
    assert "warehouse" not in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("served", "existing", "before"),
    [
        ([1], [1], None),
        ([1, 2], [1, 2], 1),
        ([1, 2, 1], [1, 2], None),  # a rollback from 2
        ([1, 2, 1, 3], [1, 2, 3], 1),  # not 2, which was left
        ([1, 2, 3, 2, 4], [1, 2, 3, 4], 2),
        ([1, 2, 3], [1, 3], 1),  # 2 was pruned
        ([1, 2, 3], [3], None),
        ([], [], None),
    ],
)
def test_a_rollback_goes_to_what_was_served_before(served: list[int], existing: list[int], before: int | None) -> None:
    moment = Publication(0, 0, None)  # type: ignore[arg-type]
    record = Record({}, [Publication(n, generation, moment.published_at) for n, generation in enumerate(served, 1)])
    assert record.before_served(existing) == before


def test_a_rollback_skips_a_generation_that_was_rolled_back(root: Path, tmp_path: Path) -> None:
    for shift, generation in ((7, 2), (9, 3)):
        done(root, "recommend", "load", write_lists(tmp_path / "all.parquet", shift=shift))
        assert done(root, "publish")["generation"] == generation
        assert done(root, "publish", "--rollback")["generation"] == 1
    assert semconv(root, "publish", "--rollback").exit_code == 4
