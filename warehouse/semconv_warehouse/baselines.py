"""Rankings written as SQL: every file of ``sql/baselines`` run over the warehouse, users in batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from numpy.typing import NDArray

from semconv.columns import TrainCut
from semconv.config import EvaluateSettings
from semconv.errors import SettingsError
from semconv.splits import MIN_EVALUATED_LENGTH, history_lengths, train_lengths
from semconv.store import BaselineRequest, TopK
from semconv_warehouse.database import raw
from semconv_warehouse.layout import package_folder
from semconv_warehouse.reading import read_arrow

HALF_LIFE_DAYS: Final = 90.0
# A user of a catalogue of 17,000 items proposes thousands of candidates; so many users at a time stay within 100 MB.
USERS_A_BATCH: Final = 1024
_LONG = np.array([MIN_EVALUATED_LENGTH], dtype=np.int64)


def default_parameters(name: str) -> dict[str, float]:
    """Parameters of one baseline and their defaults; SettingsError for an unknown baseline."""
    settings = EvaluateSettings()
    known: dict[str, dict[str, float]] = {
        "popularity": {},
        "recent_popularity": {"half_life_days": HALF_LIFE_DAYS},
        "transition": {
            "decay": settings.transition_decay,
            "symmetry": settings.transition_symmetry,
            "history_decay": settings.transition_history_decay,
            "alpha": settings.transition_alpha,
        },
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
    preparation = _statements(inner, "sequences")
    *tables, ranking = _statements(inner, request.name)
    values: dict[str, Any] = {**parameters, **_split_values(connection, request), "k": request.k}
    for statement in (*preparation, *tables):
        inner.execute(statement, _values_of(statement, values))
    users = _users(connection, request)
    parts = [
        read_arrow(connection, ranking.query, _values_of(ranking, {**values, "users": batch.tolist()}))
        for batch in _batches(users)
    ]
    return _as_top_k(users, parts, request.k)


def _statements(inner: duckdb.DuckDBPyConnection, name: str) -> list[duckdb.Statement]:
    return inner.extract_statements((package_folder("sql") / "baselines" / f"{name}.sql").read_text())


def _values_of(statement: duckdb.Statement, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in statement.named_parameters}


def _split_values(connection: sa.Connection, request: BaselineRequest) -> dict[str, Any]:
    cut: TrainCut = request.train_cut
    listed = request.items
    if listed is None and request.split == "serve":
        available = read_arrow(connection, "SELECT is_available FROM item ORDER BY item_index")
        listed = available["is_available"].to_numpy().astype(bool)
    return {
        # Asked of semconv.splits with a sequence that is just long enough, so that SQL and arrays cannot disagree.
        "train_without": MIN_EVALUATED_LENGTH - int(train_lengths(_LONG, cut)[0]),
        "history_without": MIN_EVALUATED_LENGTH - int(history_lengths(_LONG, request.split)[0]),
        "evaluated_from": 1 if request.split == "serve" else MIN_EVALUATED_LENGTH,
        "history_length": request.history_length,
        "mask_seen": request.seen == "masked",
        "items": None if listed is None or listed.all() else np.flatnonzero(listed).tolist(),
    }


def _users(connection: sa.Connection, request: BaselineRequest) -> NDArray[np.int32]:
    table = read_arrow(connection, "SELECT DISTINCT user_index FROM history_row ORDER BY user_index")
    ranked: NDArray[np.int32] = table["user_index"].to_numpy().astype(np.int32)
    return ranked if request.users is None else ranked[np.isin(ranked, request.users)]


def _batches(users: NDArray[np.int32]) -> Iterator[NDArray[np.int32]]:
    for start in range(0, len(users), USERS_A_BATCH):
        yield users[start : start + USERS_A_BATCH]


def _as_top_k(users: NDArray[np.int32], parts: list[pa.Table], k: int) -> TopK:
    items = np.full((len(users), k), -1, dtype=np.int32)
    scores = np.full((len(users), k), -np.inf, dtype=np.float32)
    for part in parts:
        row = np.searchsorted(users, part["user_index"].to_numpy())
        column = part["rank"].to_numpy() - 1
        items[row, column] = part["item_index"].to_numpy()
        scores[row, column] = part["score"].to_numpy()
    return TopK(users, items, scores)
