"""Strange ids, texts, times and numbers, and files with them in every format that ingest reads."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

# The blanks of polars: Unicode's White_Space. Python's strip() also removes four control characters.
BLANKS = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
NASTY = (
    "'; DROP TABLE item; --", '"quoted"', "o'brien", 'a"b', "back\\slash", "\\", "x" * 10_000, "é", "e\u0301",
    "\U0001f469\u200d\U0001f467", "\u202eright to left", "\ufeffmark", "a\x00b", "\x00", "a\tb", "a\nb", "a\r\nb", "a,b", "a;b", "a|b", "<a_17>",
    "<b>bold</b>", "&amp;", "%s", "%(x)s", ":name", "$1", "?", "{}", "{0}", "../../etc/passwd", "\ue000", "\u2028inside", "\x85", "\x1c", "\x7f",
    "NaN", "nan", "null", "NULL", "None", "inf", "-0", "007", "1e5", "1.0", "true", "2020-01-01", "9" * 40, "--help", "-", "SELECT 1",
    "K\u0130\u0131ſ", "\U00010348", "\uffff", "\u0378",
)  # fmt: skip
EMPTY = ("", " ", "\t", "\u3000", "\xa0 ")

texts = st.one_of(st.sampled_from(NASTY), st.text(st.characters(exclude_categories=("Cs",)), max_size=20))
ids = texts.filter(lambda text: text.strip(BLANKS) != "")
numbers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(width=64), st.sampled_from([0, -1, 2**62, 1e300, -0.0]))
moments = st.one_of(
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),  # noqa: DTZ001
    st.sampled_from([datetime(1969, 12, 31, 23, 59, 59), datetime(2262, 4, 12), datetime(2500, 1, 1)]),  # noqa: DTZ001
)
time_values = st.one_of(
    numbers,
    moments.map(lambda moment: moment.isoformat()),
    moments.map(lambda moment: moment.strftime("%Y-%m-%d")),
    st.sampled_from(["NaT", "yesterday", "0000-00-00", "2020-13-45", "1600000000", "1600000000000000000", "1e9", "", None]),
    texts,
)  # fmt: skip
anything = st.one_of(st.none(), st.booleans(), numbers, texts, st.sampled_from(EMPTY), st.lists(texts, max_size=2))
records = st.fixed_dictionaries(
    {"user_id": st.one_of(ids, anything), "item_id": st.one_of(ids, anything), "event_time": time_values},
    optional={"rating": anything, "query": anything, "extra": anything},
)
items = st.fixed_dictionaries(
    {"item_id": st.one_of(ids, anything)},
    optional=dict.fromkeys(("title", "description", "brand", "categories", "size's"), anything),
)

_INTEGERS = st.integers(-(2**63), 2**63 - 1)
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_images = st.fixed_dictionaries({"bytes": st.binary(max_size=8), "path": texts})
# Columns of Parquet: a type and its values, also types that ingest cannot use.
_COLUMNS = (
    (pa.string(), texts),
    (pa.large_string(), st.one_of(texts, st.sampled_from(EMPTY))),
    (pa.dictionary(pa.int32(), pa.string()), texts),
    (pa.int64(), _INTEGERS),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.int8(), st.integers(-128, 127)),
    (pa.float64(), st.floats()),
    (pa.float32(), st.floats(width=32)),
    (pa.float16(), st.floats(width=16)),
    (pa.decimal128(20, 2), st.integers(-(10**17), 10**17).map(lambda value: Decimal(value) / 100)),
    (pa.timestamp("us"), _INTEGERS),
    (pa.timestamp("ns"), _INTEGERS),
    (pa.timestamp("ms"), _INTEGERS),
    (pa.timestamp("s"), st.integers(-(2**53), 2**53)),  # Parquet holds milliseconds
    (pa.timestamp("us", "Asia/Tokyo"), st.integers(-(2**55), 2**57)),
    (pa.date32(), st.integers(-(2**31), 2**31 - 1)),
    (pa.date64(), st.integers(-(10**7), 10**7).map(lambda day: day * 86_400_000)),
    (pa.time64("us"), st.integers(0, 86_399_999_999)),
    (pa.duration("us"), _INTEGERS),
    (pa.bool_(), st.booleans()),
    (pa.binary(), st.binary(max_size=8)),
    (pa.large_binary(), st.binary(max_size=8)),
    (pa.binary(3), st.binary(min_size=3, max_size=3)),
    (pa.list_(pa.binary()), st.lists(st.one_of(st.none(), st.binary(max_size=8)), max_size=2)),
    (_IMAGE, _images),
    (pa.list_(_IMAGE), st.lists(st.one_of(st.none(), _images), max_size=2)),
    (
        pa.map_(pa.string(), pa.binary()),
        st.dictionaries(texts, st.binary(max_size=8), max_size=2).map(lambda pairs: [*pairs.items()]),
    ),
    (pa.list_(pa.float16(), 2), st.lists(st.floats(width=16), min_size=2, max_size=2)),
    (pa.list_(pa.string()), st.lists(texts, max_size=2)),
    (pa.struct([("a", pa.int64())]), st.fixed_dictionaries({"a": st.integers(-5, 5)})),
    (pa.null(), st.none()),
)


@st.composite
def tables(draw: st.DrawFn, names: Sequence[str]) -> pa.Table:
    """A table for Parquet whose columns have random types, with nulls."""
    length = draw(st.integers(1, 5))
    arrays = {}
    for name in names:
        kind, values = draw(st.sampled_from(_COLUMNS))
        drawn = draw(st.lists(st.one_of(st.none(), values), min_size=length, max_size=length))
        # Times are drawn as numbers, because Python has none before year 1 or after 9999.
        as_number = {
            "timestamp": pa.int64(),
            "date32": pa.int32(),
            "date64": pa.int64(),
            "duration": pa.int64(),
            "time64": pa.int64(),
        }
        raw = next((number for prefix, number in as_number.items() if str(kind).startswith(prefix)), None)
        arrays[name] = pa.array(drawn, kind) if raw is None else pa.array(drawn, raw).cast(kind)
    return pa.table(arrays)


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write rows in the format of the suffix. All columns of a Parquet file are text."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=bool(len(rows) % 2)) + "\n" for row in rows), "utf-8")
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, names, restval="")
            writer.writeheader()
            writer.writerows(rows)
    else:
        columns = {name: [None if row.get(name) is None else str(row[name]) for row in rows] for name in names}
        pq.write_table(pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()}), path)
    return path


def write_ids(path: Path, users: Sequence[str]) -> Path:
    """Write user ids as a list of users: one a line, or the column ``user_id``."""
    if path.suffix == ".txt":
        path.write_text("".join(f"{user}\n" for user in users), "utf-8", newline="")
        return path
    return write(path, [{"user_id": user} for user in users])
