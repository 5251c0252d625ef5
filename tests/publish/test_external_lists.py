"""Lists of other programs: loaded whole, or refused with counts and examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from semconv.errors import InputError
from semconv.runs.digests import write_complete
from semconv.stages.lists.parts import part_paths
from semconv_warehouse.publish.external_lists import KnownIds, load_lists
from semconv_warehouse.publish.publishing import publish
from semconv_warehouse.serving.query import query
from tests.worlds.published import (
    NUM_ITEMS,
    NUM_USERS,
    SERVE,
    add_run,
    item,
    lists,
    make_project,
    recommendation_rows,
    user,
)

KNOWN = KnownIds([item(k) for k in range(NUM_ITEMS)], [user(u) for u in range(NUM_USERS)])


def load(folder: Path, *tables: pa.Table, part_rows: int = 1000) -> list[Path]:
    files = []
    for number, table in enumerate(tables):
        files.append(folder / f"given-{number}.parquet")
        pq.write_table(table, files[-1])
    load_lists(files, KNOWN, folder / "run", part_rows=part_rows)
    return part_paths(folder / "run")


def part(names: list[str] | None = None) -> pa.Table:
    return recommendation_rows({name: items for name, items in lists().items() if names is None or name in names})


def replaced(table: pa.Table, **columns: Any) -> pa.Table:
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    return table


@pytest.mark.parametrize("is_shuffled", [True, False])
@pytest.mark.parametrize(("part_rows", "num_files"), [(1000, 1), (6, 2), (4, 3), (1, 4)])
def test_parts_are_written_in_order_of_user_and_rank(
    tmp_path: Path, is_shuffled: bool, part_rows: int, num_files: int
) -> None:
    first, second = (
        (part(["u3", "u0"]), part(["u1", "u2"])) if is_shuffled else (part(["u2", "u3"]), part(["u0", "u1"]))
    )
    if is_shuffled:
        first = first.take(pa.array([5, 0, 3, 1, 4, 2]))
    parts = load(tmp_path, first, second, part_rows=part_rows)
    assert [path.name for path in parts] == [f"part-{number:05d}.parquet" for number in range(num_files)]
    assert sorted((tmp_path / "run").iterdir()) == parts
    written = [pq.read_table(path) for path in parts]
    assert pa.concat_tables(written).to_pylist() == part().to_pylist()
    users = [user for table in written for user in set(table["user_id"].to_pylist())]
    assert len(users) == len(set(users))  # all rows of a user are in one file


def test_loaded_lists_can_be_published(tmp_path: Path) -> None:
    layout, store = make_project(tmp_path / "project")
    pq.write_table(part(), tmp_path / "given.parquet")
    load_lists([tmp_path / "given.parquet"], KNOWN, layout.runs / "loaded")
    write_complete(layout.runs / "loaded")
    add_run(store, "loaded", "recommend", inputs=["codebook-1"], settings=SERVE)
    publish(layout, store, "loaded")
    assert query(layout, "FROM recommendation").drop_columns(["generation"]).to_pylist() == part().to_pylist()


def test_brackets_and_asterisks_in_names_are_no_patterns(tmp_path: Path) -> None:
    for folder in ("x[1]", "x1"):  # as a pattern, the first name means the second folder
        mine = ["u0", "u1"] if folder == "x1" else ["u2", "u3"]
        (tmp_path / folder).mkdir()
        for name, user_id in (("g[1]", mine[0]), ("g1", mine[1]), ("h*", mine[0]), ("hh", mine[1])):
            pq.write_table(part([user_id]), tmp_path / folder / f"{name}.parquet")
    for number, name in enumerate(("g[1]", "h*")):
        load_lists([tmp_path / "x[1]" / f"{name}.parquet"], KNOWN, tmp_path / "x[1]" / f"run-{number}")
        (found,) = part_paths(tmp_path / "x[1]" / f"run-{number}")
        assert set(pq.read_table(found)["user_id"].to_pylist()) == {"u2"}


@pytest.mark.parametrize("name", ["shop[1]", "shop*"])
def test_a_project_publishes_its_own_lists_whatever_its_folder_is_called(tmp_path: Path, name: str) -> None:
    for folder, users in ((name, ["u0", "u1"]), ("shop1", ["u2", "u3"])):
        layout, store = make_project(tmp_path / folder)
        pq.write_table(part(users), tmp_path / "given.parquet")
        load_lists([tmp_path / "given.parquet"], KNOWN, layout.runs / "loaded")
        write_complete(layout.runs / "loaded")
        add_run(store, "loaded", "recommend", inputs=["codebook-1"], settings=SERVE)
        publish(layout, store, "loaded")
        assert set(query(layout, "FROM recommendation")["user_id"].to_pylist()) == set(users)


def test_optional_columns_are_filled(tmp_path: Path) -> None:
    short = part(["u0"]).select(["user_id", "rank", "item_id", "score"])
    (path, other) = load(tmp_path, short, part(["u1"]), part_rows=3)
    assert set(map(str, pq.read_table(path).column("sources").to_pylist())) == {"['external']"}
    assert pq.read_table(path).column("reason_item_id").null_count == 3
    assert pq.read_table(other).column("sources").to_pylist() == [["model"]] * 3


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
@pytest.mark.parametrize("rank", [pa.int64(), pa.uint8()])
@pytest.mark.parametrize("score", [pa.float32(), pa.int32()])
def test_similar_types_are_accepted(tmp_path: Path, kind: pa.DataType, rank: pa.DataType, score: pa.DataType) -> None:
    table = part()
    cast = pa.table(
        {
            "user_id": table["user_id"].cast(pa.string()).dictionary_encode()
            if pa.types.is_dictionary(kind)
            else table["user_id"].cast(kind),
            "rank": table["rank"].cast(rank),
            "item_id": table["item_id"].cast(pa.large_string()),
            "score": table["score"].cast(score),
        }
    )
    (path,) = load(tmp_path, cast)
    written = pq.read_table(path)
    assert written.column("item_id").to_pylist() == table.column("item_id").to_pylist()
    assert written.schema.field("rank").type == pa.int32()
    assert written.schema.field("score").type == pa.float64()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (replaced(part(), user_id=[None, *part()["user_id"].to_pylist()[1:]]), "1 rows with an empty"),
        (replaced(part(), user_id=["nobody"] * 3 + part()["user_id"].to_pylist()[3:]), r"1 users unknown to the warehouse \(nobody\)"),
        (replaced(part(), item_id=["x", "y", *part()["item_id"].to_pylist()[2:]]), r"2 items unknown to the warehouse \(x; y\)"),
        (replaced(part(), reason_item_id=["z"] * 12), "1 reason items unknown"),
        (replaced(part(), score=[float("nan"), float("inf"), *range(10)]), "2 scores that are not finite"),
        (replaced(part(), rank=[0, 1, 2] * 4), r"4 users whose ranks .*u0 has \[0, 1, 2\]"),
        (replaced(part(), rank=[1, 2, 2] * 4), "4 users whose ranks"),
        (replaced(part(), rank=[1, 2, 2**40] * 4), "4 users whose ranks"),
        (replaced(part(), item_id=["i4"] * 12), "4 users with an item twice .*u0 has i4 3 times"),
        (part().drop_columns(["score"]), "column score is missing"),
        (replaced(part(), rank=["1"] * 12), "column rank is string, must be a whole number"),
        (replaced(part(), user_id=list(range(12))), "column user_id is int64, must be a string"),
        (replaced(part(), sources=["model"] * 12), "column sources is string, must be a list of strings"),
        (part().slice(0, 0), "no rows"),
    ],
)  # fmt: skip
def test_violations_are_counted_with_examples(tmp_path: Path, table: pa.Table, message: str) -> None:
    with pytest.raises(InputError, match=message) as failure:
        load(tmp_path, table)
    assert "\n" not in str(failure.value)
    assert not list(tmp_path.glob("run/*"))


def test_several_violations_come_in_one_line(tmp_path: Path) -> None:
    broken = replaced(part(), rank=[1, 2, 4] * 4, score=[float("nan")] * 12)
    with pytest.raises(InputError, match=r"12 scores .* \| 4 users whose ranks"):
        load(tmp_path, broken)


def test_a_user_in_two_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"1 users in more than one file \(u0 in .*given-0.* and .*given-1"):
        load(tmp_path, part(["u0", "u1"]).filter(pc.field("user_id") != "x"), part(["u0"]))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no files given"):
        load(tmp_path)
    for name, content, message in (
        ("missing", None, "no such file"),
        ("empty", b"", "not a readable"),
        ("text", b"user_id,rank", "not a readable"),
    ):
        path = tmp_path / f"{name}.parquet"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            load_lists([path], KNOWN, tmp_path / "run")


def test_a_file_named_twice(tmp_path: Path) -> None:
    pq.write_table(part(), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="twice"):
        load_lists([tmp_path / "a.parquet", tmp_path / "b" / ".." / "a.parquet"], KNOWN, tmp_path / "run")
