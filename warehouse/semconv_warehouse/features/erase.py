"""Erase users from Feast's online store. Feast itself has no function for this.

In the default store, a SQLite file, the rows of a user are deleted and the file is compacted. In any other store, the
features of a user are overwritten with nulls. The key stays there, and the command reports this.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semconv.artifacts import machine_errors
from semconv.clock import utc_now
from semconv.columns import USER_ID
from semconv.errors import LockedError
from semconv_warehouse.features.export import VIEWS
from semconv_warehouse.features.files import online_store_file, registry_file
from semconv_warehouse.features.online import materialized_publication
from semconv_warehouse.features.repository import feast_errors, open_store
from semconv_warehouse.store.database import quote_identifier
from semconv_warehouse.store.layout import ProjectLayout

if TYPE_CHECKING:
    from feast import FeatureStore

_KEYS_AT_ONCE = 500
_TABLES = """
SELECT name FROM sqlite_master AS found
WHERE type = 'table' AND EXISTS (SELECT 1 FROM pragma_table_info(found.name) WHERE pragma_table_info.name = 'entity_key')
"""


def erase_online(layout: ProjectLayout, users: Sequence[str], *, dry_run: bool) -> tuple[int, str | None]:
    """Erase users from the online store.

    Returns:
        The number of users whose keys were deleted or whose features were overwritten (with ``dry_run``: would be), and
        a remark if the keys stay.

    Raises:
        LockedError: another process writes to the store.
        SettingsError, InputError: the online store of ``feature_store.yaml`` cannot be opened.
    """
    defaults = (online_store_file(layout), registry_file(layout))
    # A killed `materialize` has filled the store without a record of a loaded publication.
    if materialized_publication(layout) is None and not any(path.exists() for path in defaults):
        return 0, None
    feast_store = open_store(layout)
    with feast_errors(layout, "forget"):
        keys = [_key(feast_store, user) for user in users]
        # The default file may hold users of the time before another store was chosen.
        files = {online_store_file(layout), *_sqlite_files(feast_store)}
        deleted = set().union(*(_delete(path, keys, dry_run) for path in sorted(files) if path.exists()))
        if feast_store.config.online_store.type == "sqlite":
            return len(deleted), None
        if not dry_run:
            _empty(feast_store, users)
        kind = str(feast_store.config.online_store.type).rpartition(".")[2]
        return len(
            users
        ), f"the online store is {kind}: features were overwritten with nulls, but the user ids stay in it"


def _sqlite_files(feast_store: FeatureStore) -> list[Path]:
    """Return the file of the configured online store if it is a SQLite file."""
    from feast.infra.online_stores.sqlite import SqliteOnlineStore

    is_sqlite = feast_store.config.online_store.type == "sqlite"
    return [Path(SqliteOnlineStore._get_db_path(feast_store.config))] if is_sqlite else []


def _delete(path: Path, keys: Sequence[bytes], dry_run: bool) -> set[bytes]:
    """Delete the rows of some keys from all tables of a SQLite store, also from tables of views that are gone."""
    found: set[bytes] = set()
    with machine_errors(path), contextlib.closing(sqlite3.connect(path)) as connection:
        try:
            for (table,) in connection.execute(_TABLES).fetchall():
                for first in range(0, len(keys), _KEYS_AT_ONCE):
                    found |= _delete_keys(connection, table, keys[first : first + _KEYS_AT_ONCE], dry_run)
            connection.commit()
            if not dry_run:  # also if no row is found, because an earlier erase may have been killed before this line
                connection.execute("VACUUM")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            raise LockedError("the online store is in use by another process; run the same command again") from error
    return found


def _delete_keys(connection: sqlite3.Connection, table: str, keys: Sequence[bytes], dry_run: bool) -> set[bytes]:
    where = f"FROM {quote_identifier(table)} WHERE entity_key IN ({', '.join('?' * len(keys))})"
    found = {bytes(key) for (key,) in connection.execute(f"SELECT DISTINCT entity_key {where}", keys)}
    if found and not dry_run:
        connection.execute(f"DELETE {where}", keys)
    return found


def _key(feast_store: FeatureStore, user: str) -> bytes:
    from feast.infra.key_encoding_utils import serialize_entity_key

    version = feast_store.config.entity_key_serialization_version
    return bytes(serialize_entity_key(_entity(user), entity_key_serialization_version=version))


def _entity(user: str) -> Any:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    return EntityKey(join_keys=[USER_ID], entity_values=[Value(string_val=user)])


def _user_views(feast_store: FeatureStore) -> list[Any]:
    return [view for view in feast_store.list_feature_views() if view.join_keys == [USER_ID] and view.name in VIEWS]


def _empty(feast_store: FeatureStore, users: Sequence[str]) -> None:
    """Overwrite the features of users with nulls. Feast's own function refuses a data frame of nulls."""
    from feast.protos.feast.types.Value_pb2 import Value

    provider, now = feast_store._get_provider(), utc_now()
    for view in _user_views(feast_store):
        empty = {field.name: Value() for field in view.features}
        rows = [(_entity(user), empty, now, now) for user in users]
        provider.online_write_batch(feast_store.config, view, rows, None)
