"""Hundreds of files that nobody would write, through ingest."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semconv_warehouse.opened import OpenedProject
from tests.worlds.faults import bad_inputs as bad
from tests.worlds.faults.ingest_checks import WILD, bounded, check_ingest, check_table


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    layout = OpenedProject.init(tmp_path_factory.mktemp("bad") / "empty", "")
    yield layout.root
    for path in layout.root.parent.glob("p*"):
        shutil.rmtree(path)


@pytest.mark.parametrize("kind", WILD)
@bounded(300)
@given(data=st.data())
def test_many_wild_rows(empty: Path, tmp_path: Path, kind: str, data: st.DataObject) -> None:
    suffix, rows = data.draw(WILD[kind])
    check_ingest(empty, kind, bad.write(tmp_path / f"x.{suffix}", rows))


@bounded(300)
@given(table=bad.tables(["user_id", "item_id", "event_time", "rating", "query"]))
def test_many_columns_of_every_type(empty: Path, tmp_path: Path, table: Any) -> None:
    check_table(empty, tmp_path, "interactions", table)


@bounded(200)
@given(table=bad.tables(["item_id", "title", "categories", "size's \" name"]))
def test_many_item_columns_of_every_type(empty: Path, tmp_path: Path, table: Any) -> None:
    check_table(empty, tmp_path, "items", table)


@bounded(200)
@given(
    content=st.binary(min_size=1, max_size=400),
    suffix=st.sampled_from(["jsonl", "csv", "parquet", "csv.gz", "jsonl.gz"]),
)
def test_files_that_are_not_what_their_name_says(empty: Path, tmp_path: Path, content: bytes, suffix: str) -> None:
    file = tmp_path / f"x.{suffix}"
    file.write_bytes(content)
    check_ingest(empty, "interactions", file)
