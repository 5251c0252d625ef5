"""An online store that semconv does not know by name, as Redis or PostgreSQL would be."""

from typing import Literal

from feast.infra.online_stores.sqlite import SqliteOnlineStore, SqliteOnlineStoreConfig


class RenamedSqliteOnlineStoreConfig(SqliteOnlineStoreConfig):
    type: Literal["renamed_store.RenamedSqliteOnlineStore"] = "renamed_store.RenamedSqliteOnlineStore"  # type: ignore[assignment]


class RenamedSqliteOnlineStore(SqliteOnlineStore):
    pass
