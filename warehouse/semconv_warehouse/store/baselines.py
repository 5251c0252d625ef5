"""Rank items with the SQL files in ``sql/baselines``, for one batch of users at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from numpy.typing import NDArray

from semconv.data.splits import CUT_AT_END, HISTORY_WITHOUT, MIN_EVALUATED_LENGTH
from semconv.data.store import BaselineRequest, TopK
from semconv.errors import SettingsError
from semconv.evaluation.methods import Method, sql_method
from semconv_warehouse.store.database import raw
from semconv_warehouse.store.layout import package_folder
from semconv_warehouse.store.reading import read_arrow

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
    values = {**_parameters(method, request), **_split_values(connection, request), "k": request.k}
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
    files = ["sequences", method.sql, *([] if method.ranking is None else ["best_of_scored"])]
    folder = package_folder("sql") / "baselines"
    return [statement for file in files for statement in inner.extract_statements((folder / f"{file}.sql").read_text())]


def _values_of(statement: duckdb.Statement, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in statement.named_parameters}


def _split_values(connection: sa.Connection, request: BaselineRequest) -> dict[str, Any]:
    """Return the parameters of sequences.sql, from ``semconv.data.splits``, so that SQL and arrays split alike."""
    listed, cuts = request.items, request.cuts
    if listed is None and request.split == "serve":
        available = read_arrow(connection, "SELECT is_available FROM item ORDER BY item_index")
        listed = available["is_available"].to_numpy().astype(bool)
    return {
        "train_without": CUT_AT_END[request.train_cut],
        "history_without": HISTORY_WITHOUT[request.split],
        "evaluated_from": 1 if request.split == "serve" else MIN_EVALUATED_LENGTH,
        "is_temporal": cuts is not None,
        "train_before": None if cuts is None else cuts.of_training(request.train_cut),
        "history_before": None if cuts is None else cuts.of_history(request.split),
        "target_before": cuts.test if cuts is not None and request.split == "valid" else None,
        "history_length": request.history_length,
        "mask_seen": request.seen == "masked",
        "items": None if listed is None or listed.all() else np.flatnonzero(listed).tolist(),
        "vectors": request.vectors,
    }


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
