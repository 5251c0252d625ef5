"""Rank items with the SQL files in ``sql/baselines``, for one batch of users at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from numpy.typing import NDArray

from semconv.data.core import train_part
from semconv.data.histories import Histories
from semconv.data.interactions import event_weights
from semconv.data.store import UNKNOWN_TIME, BaselineRequest, Sequences, TopK
from semconv.errors import SettingsError
from semconv.evaluation.methods import Method, sql_method
from semconv.ragged import position_of, row_of
from semconv_warehouse.store.database import raw, registered
from semconv_warehouse.store.layout import package_folder
from semconv_warehouse.store.reading import read_arrow, read_sequences

# In a catalogue of 17,000 items one user has thousands of candidates. A batch of this size needs up to 100 MB.
USERS_A_BATCH: Final = 1024


def baseline_top_k(connection: sa.Connection, request: BaselineRequest) -> TopK:
    """Rank the items for every requested user who has a history under the split.

    A list is shorter than k only if fewer items may be listed. The connection may be read-only.

    Raises:
        SettingsError: the method has no SQL file, or the file lacks a requested parameter.
    """
    method = sql_method(request.method)
    inner = raw(connection)
    *tables, ranking = _statements(inner, method)
    values = {**_parameters(method, request), **_item_values(connection, request), "k": request.k}
    _create_rows(connection, request)
    once = [statement for statement in tables if "users" not in statement.named_parameters]
    per_batch = [statement for statement in tables if "users" in statement.named_parameters]
    for statement in once:
        inner.execute(statement, _values_of(statement, values))
    top = _empty(_users(connection, request), request.k)
    for start in range(0, len(top.users), USERS_A_BATCH):
        values["users"] = top.users[start : start + USERS_A_BATCH].tolist()
        for statement in per_batch:
            inner.execute(statement, _values_of(statement, values))
        _fill(top, read_arrow(connection, ranking.query, _values_of(ranking, values)))
    return top


def _parameters(method: Method, request: BaselineRequest) -> dict[str, Any]:
    """Return the parameters of the method's own SQL: its defaults, replaced by those of the request."""
    known = method.defaults()
    for name in request.parameters:
        if name not in known:
            raise SettingsError(f"baseline {method.name} has no parameter {name}; use {', '.join(known) or 'none'}")
    scoring = {} if method.ranking is None else asdict(method.ranking)
    return {**known, **request.parameters, **scoring}


def _statements(inner: duckdb.DuckDBPyConnection, method: Method) -> list[duckdb.Statement]:
    """Return the SQL statements of a method in order; the last one returns the lists."""
    named = ("sequences", method.sql_before, method.sql, "" if method.ranking is None else "best_of_scored")
    folder = package_folder("sql") / "baselines"
    texts = [(folder / f"{name}.sql").read_text() for name in named if name]
    return [statement for text in texts for statement in inner.extract_statements(text)]


def _values_of(statement: duckdb.Statement, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in statement.named_parameters}


def _item_values(connection: sa.Connection, request: BaselineRequest) -> dict[str, Any]:
    """Return the parameters that name the items that may be listed, and the behaviour vectors."""
    listed = request.items
    if listed is None and request.split == "serve":
        available = read_arrow(connection, "SELECT is_available FROM item ORDER BY item_index")
        listed = available["is_available"].to_numpy().astype(bool)
    return {
        "items": None if listed is None or listed.all() else np.flatnonzero(listed).tolist(),
        "vectors": request.vectors,
    }


def _create_rows(connection: sa.Connection, request: BaselineRequest) -> None:
    """Create the temporary tables that sequences.sql names, with the functions that split the arrays of all stages."""
    sequences = replace(read_sequences(connection, queries=False), cuts=request.cuts)
    if request.rules is not None:
        sequences = sequences.with_rules(request.rules)
    train = train_part(sequences, request.train_cut, 1, int(sequences.items.max(initial=-1)) + 1)
    histories = Histories.under(sequences, request.split, request.seen_days)
    users = np.flatnonzero(histories.lengths > 0).astype(np.int32)
    seen = _seen_rows(histories, users) if request.seen == "masked" else _seen_rows(histories, users[:0])
    tables = {
        "train_row": _train_rows(train),
        "history_row": _history_rows(histories, users, request),
        "seen_row": seen,
    }
    for name, rows in tables.items():
        with registered(connection, rows) as given:
            raw(connection).execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM {given}")  # noqa: S608


def _train_rows(train: Sequences) -> pa.Table:
    times = pa.array(train.times, pa.int64(), mask=train.times == UNKNOWN_TIME)
    return pa.table(
        {
            "user_index": row_of(train.lengths).astype(np.int32),
            "item_index": train.items,
            "position": position_of(train.lengths).astype(np.int32),
            "event_time": times.cast(pa.timestamp("us")),
            "weight": event_weights(train),
        }
    )


def _history_rows(histories: Histories, users: NDArray[np.int32], request: BaselineRequest) -> pa.Table:
    items, lengths = histories.latest(users, request.history_length)
    recency = np.repeat(lengths, lengths) - position_of(lengths) - 1
    return pa.table({"user_index": np.repeat(users, lengths), "item_index": items, "recency": recency.astype(np.int32)})


def _seen_rows(histories: Histories, users: NDArray[np.int32]) -> pa.Table:
    items, lengths = histories.flat_seen(users)
    keys = np.unique(np.repeat(users, lengths).astype(np.int64) << 32 | items)
    return pa.table({"user_index": (keys >> 32).astype(np.int32), "item_index": (keys & 0xFFFFFFFF).astype(np.int32)})


def _users(connection: sa.Connection, request: BaselineRequest) -> NDArray[np.int32]:
    table = read_arrow(connection, "SELECT DISTINCT user_index FROM history_row ORDER BY user_index")
    ranked: NDArray[np.int32] = table["user_index"].to_numpy().astype(np.int32)
    return ranked if request.users is None else ranked[np.isin(ranked, request.users)]


def _empty(users: NDArray[np.int32], k: int) -> TopK:
    return TopK(
        users,
        np.full((len(users), k), -1, dtype=np.int32),
        np.full((len(users), k), -np.inf, dtype=np.float32),
        np.zeros((len(users), k), dtype=bool),
    )


def _fill(top: TopK, rows: pa.Table) -> None:
    """Write the SQL result for one batch of users into the arrays of lists."""
    row = np.searchsorted(top.users, rows["user_index"].to_numpy())
    column = rows["rank"].to_numpy() - 1
    top.items[row, column] = rows["item_index"].to_numpy()
    top.scores[row, column] = rows["score"].to_numpy()
    if top.is_filler is not None and "is_filler" in rows.column_names:
        top.is_filler[row, column] = rows["is_filler"].to_numpy()
