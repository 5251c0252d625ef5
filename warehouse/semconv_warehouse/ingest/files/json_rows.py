"""Rows of a JSON file: one object a line, an array of objects, objects over several lines, or an object with one array."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl

from semconv_warehouse.ingest.files.dialect import Dialect, Input
from semconv_warehouse.ingest.files.json_elements import Elements, elements_of, objects
from semconv_warehouse.ingest.files.source import MOST_COLUMNS, REASON, RECORD, ROW, Source
from semconv_warehouse.ingest.files.text_files import Text, survey
from semconv_warehouse.ingest.values.json_values import MOST_LEVELS, is_too_deep, strict_json

TOO_DEEP = f"lists nested deeper than {MOST_LEVELS} levels"
_START = "__start"
_SAMPLED_LINES, _SAMPLED_CHARACTERS = 1000, 64 << 20
_BLOCK_ROWS, _BLOCK_BYTES = 50_000, 4 << 20


def json_source(path: Path, file: Input, dialect: Dialect, wanted: Collection[str]) -> Source:
    """Return the rows of a JSON file.

    Args:
        wanted: keys that a row needs, to tell a row from an object that holds the array of all rows.

    Raises:
        InputError: a row is too long, or bytes belong to another encoding than the dialect says.
    """
    text = survey(path, dialect.encoding)
    where = elements_of(text, wanted)
    remarks = [text.encoding.remark] if text.encoding.remark else []
    record = pl.col(RECORD)
    if where is None and text.encoding.is_utf8:
        lines = pl.scan_lines(path, name=RECORD, row_index_name=ROW, row_index_offset=1, glob=False)
        if text.encoding.mark:
            lines = lines.with_columns(record.str.strip_prefix("\ufeff"))
        source = Source(file, (), json_rows(lines), record, is_json=True, dialect=dialect, remarks=remarks)
    else:
        empty = json_rows(pl.LazyFrame(schema={ROW: pl.UInt32(), RECORD: pl.String()}))
        source = Source(
            file, (), empty, record, lambda: _blocks(text, where, path), is_json=True, dialect=dialect, remarks=remarks
        )
    return replace(source, columns=sampled_keys(source))


def _blocks(text: Text, where: Elements | None, path: Path) -> Iterator[pl.LazyFrame]:
    """Yield the rows in blocks of limited size."""
    number = 1
    for lines in _lines(text) if where is None else _grouped(objects(text.blocks(), where, path)):
        frame = pl.DataFrame({RECORD: [line.decode() for line in lines]}, {RECORD: pl.String})
        yield json_rows(frame.with_row_index(ROW, offset=number).lazy())
        number += len(lines)


def _lines(text: Text) -> Iterator[list[bytes]]:
    for block in text.rows(quoted=False):
        yield block.removesuffix(b"\n").split(b"\n")


def _grouped(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    group, size = list[bytes](), 0
    for line in lines:
        group.append(line)
        size += len(line)
        if size > _BLOCK_BYTES or len(group) == _BLOCK_ROWS:
            yield group
            group, size = [], 0
    if group:
        yield group


def json_rows(lines: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows of a source from texts of JSON objects: those with a text, each with REASON.

    Args:
        lines: the columns ROW and RECORD.
    """
    # As a column, because polars would parse the text again for each use of the expression.
    start = pl.col(RECORD).str.json_path_match("$").str.slice(0, 1).alias(_START)
    reason = (
        pl.when(is_too_deep(pl.col(RECORD)))
        .then(pl.lit(TOO_DEEP))
        .when(pl.col(_START).is_null())
        .then(pl.lit("malformed JSON"))
        .when(pl.col(_START) != "{")
        .then(pl.lit("no JSON object"))
        .alias(REASON)
    )
    filled = lines.filter(pl.col(RECORD).str.strip_chars() != "")
    return filled.with_columns(strict_json(pl.col(RECORD))).with_columns(start).with_columns(reason).drop(_START)


def sampled_keys(source: Source) -> tuple[str, ...]:
    """Return the keys of the first lines, in order of appearance."""
    keys: dict[str, None] = {}
    lines = characters = 0
    for batch in source.batches(lambda rows: rows.filter(pl.col(REASON).is_null()).select(RECORD).head(_SAMPLED_LINES)):
        for line in batch[RECORD]:
            if lines == _SAMPLED_LINES or characters > _SAMPLED_CHARACTERS or len(keys) > MOST_COLUMNS:
                return tuple(keys)
            lines, characters = lines + 1, characters + len(line)
            with contextlib.suppress(ValueError):
                keys.update(dict.fromkeys(json.loads(line)))
    return tuple(keys)
