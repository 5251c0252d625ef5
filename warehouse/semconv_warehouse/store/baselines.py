"""Rankings written as SQL: every file of ``sql/baselines`` run over the warehouse, users in batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from numpy.typing import NDArray

from semconv.data.splits import CUT_AT_END, HISTORY_WITHOUT, MIN_EVALUATED_LENGTH
from semconv.data.store import BaselineRequest, TopK
from semconv.errors import SettingsError
from semconv.settings.counter import CounterSettings
from semconv_warehouse.store.database import raw
from semconv_warehouse.store.layout import package_folder
from semconv_warehouse.store.reading import read_arrow

HALF_LIFE_DAYS: Final = 90.0
# A user of a catalogue of 17,000 items proposes thousands of candidates; so many users at a time stay within 100 MB.
USERS_A_BATCH: Final = 1024
# Rankings that leave scores for best_of_scored.sql: digits that they agree to, and what ranks below any of them.
_SCORES: Final[dict[str, dict[str, float]]] = {
    "transition": {"digits": 9, "filler_score": 0.0},
    "item_cosine": {"digits": 6, "filler_score": -2.0},
}


def default_parameters(name: str) -> dict[str, float]:
    """Parameters of one baseline and their defaults; SettingsError for an unknown baseline."""
    counter = CounterSettings()
    known: dict[str, dict[str, float]] = {
        "popularity": {},
        "recent_popularity": {"half_life_days": HALF_LIFE_DAYS},
        "transition": dataclasses.asdict(counter),
        "item_cosine": {"history_decay": counter.history_decay},
    }
    if name not in known:
        raise SettingsError(f"unknown baseline {name}; known are {', '.join(known)}")
    return known[name]


def baseline_top_k(connection: sa.Connection, request: BaselineRequest) -> TopK:
    """Rank the items for every user who is asked for and has a history under the split.

    Lists are shorter than k only where fewer items may be listed. The connection may be read-only.

    Raises:
        SettingsError: an unknown baseline or parameter.
    """
    parameters = default_parameters(request.name)
    for key, value in request.parameters.items():
        if key not in parameters:
            raise SettingsError(
                f"baseline {request.name} has no parameter {key}; it has {', '.join(parameters) or 'none'}"
            )
        parameters[key] = value
    inner = raw(connection)
    statements = [*_statements(inner, "sequences"), *_statements(inner, request.name)]
    scores = _SCORES.get(request.name, {})
    if scores:
        statements += _statements(inner, "best_of_scored")
    *tables, ranking = statements
    once = [statement for statement in tables if "users" not in statement.named_parameters]
    of_users = [statement for statement in tables if "users" in statement.named_parameters]
    values: dict[str, Any] = {**parameters, **scores, **_split_values(connection, request), "k": request.k}
    for statement in once:
        inner.execute(statement, _values_of(statement, values))
    top = _empty(_users(connection, request), request.k)
    for start in range(0, len(top.users), USERS_A_BATCH):
        values["users"] = top.users[start : start + USERS_A_BATCH].tolist()
        for statement in of_users:
            inner.execute(statement, _values_of(statement, values))
        _fill(top, read_arrow(connection, ranking.query, _values_of(ranking, values)))
    return top


def _statements(inner: duckdb.DuckDBPyConnection, name: str) -> list[duckdb.Statement]:
    return inner.extract_statements((package_folder("sql") / "baselines" / f"{name}.sql").read_text())


def _values_of(statement: duckdb.Statement, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in statement.named_parameters}


def _split_values(connection: sa.Connection, request: BaselineRequest) -> dict[str, Any]:
    """What of ``semconv.data.splits`` the SQL is told, so that it and the arrays cannot disagree."""
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
    """Put rows of a ranking in their places."""
    row = np.searchsorted(top.users, rows["user_index"].to_numpy())
    column = rows["rank"].to_numpy() - 1
    top.items[row, column] = rows["item_index"].to_numpy()
    top.scores[row, column] = rows["score"].to_numpy()
    if top.is_filler is not None and "is_filler" in rows.column_names:
        top.is_filler[row, column] = rows["is_filler"].to_numpy()
