"""Load publications into Feast's online store, say how current it is, and look up one id.

Feast is used for single ids only. No batch job reads from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from semconv.artifacts import machine_errors, read_json, remove_unfinished, write_bytes, write_json
from semconv.columns import ITEM_ID, USER_ID
from semconv.errors import InputError, SettingsError
from semconv.modes import OWNER_FILE
from semconv_warehouse.features.export import VIEWS, export_publications, exported_publications, has_rows
from semconv_warehouse.features.files import feature_store_yaml, key_file, marker_file, online_store_file
from semconv_warehouse.features.repair import remove_damaged
from semconv_warehouse.features.repository import apply_locked, feast_errors, open_store
from semconv_warehouse.publish.publications import Publication, publications
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.locks import features_lock

_KEY_BYTES = 32
_SERVICES = {ITEM_ID: "item_v1", USER_ID: "user_v1"}


def materialize(layout: ProjectLayout, store: DuckDBStore, *, again: bool = False) -> dict[str, Any]:
    """Export missing Parquet files, load new publications into the online store, and return :func:`status`.

    Only the publications after the last one that was loaded completely are read. A damaged registry, online store or
    Parquet file is replaced by a new one.

    Args:
        again: load all rows, for a server that may have lost its data.

    Raises:
        InputError: nothing is published yet.
        LockedError: another process writes features.
    """
    with features_lock(layout, store.wait):
        known = publications(store)  # read after acquiring the lock: another process may have published meanwhile
        if not known:
            raise InputError("nothing is published yet; `semconv publish` creates the first generation")
        try:
            _bring_up_to_date(layout, known, again=again)
        except (InputError, SettingsError):
            if not remove_damaged(layout, thoroughly=True):
                raise
            _bring_up_to_date(layout, known, again=again)
    return status(layout, store)


def _bring_up_to_date(layout: ProjectLayout, known: list[Publication], *, again: bool) -> None:
    remove_damaged(layout)
    remove_unfinished(layout.features)
    export_publications(layout, known)
    last, marker = known[-1], None if again else _read_marker(layout)
    since = datetime.fromisoformat(marker["published_at"]) if marker else None
    if since != last.published_at:
        _materialize_since(layout, since, last)
        write_json(marker_file(layout), {**_described(last), "online_store": _online_store(layout)})


def _materialize_since(layout: ProjectLayout, since: datetime | None, last: Publication) -> None:
    applied = apply_locked(
        layout
    )  # each time, because the sources have absolute paths, which change when a project is moved
    views = [view for view in VIEWS if view in applied["feature_views"] and has_rows(layout, view)]
    feast_store = open_store(layout)
    # Feast includes both ends of a time window, and publications are at least a second apart.
    start = since + timedelta(milliseconds=1) if since else datetime(1970, 1, 2, tzinfo=UTC)
    with feast_errors(layout, "materialize"):
        feast_store.materialize(start, last.published_at, feature_views=views)


def status(layout: ProjectLayout, store: DuckDBStore) -> dict[str, Any]:
    """Return how many publications the online store is behind. Feast is not asked.

    Returns:
        ``published`` and ``materialized`` (publication, generation, published_at, or None), ``publications_behind``,
        ``is_current``, ``exported`` (view -> number of files).
    """
    known, marker = publications(store), _read_marker(layout)
    done = marker["published_at"] if marker else ""
    behind = sum(publication.published_at.isoformat() > done for publication in known)
    return {
        "published": _described(known[-1]) if known else None,
        "materialized": {name: marker[name] for name in ("publication", "generation", "published_at")}
        if marker
        else None,
        "publications_behind": behind,
        "is_current": behind == 0,
        "exported": {view: len(exported_publications(layout, view)) for view in VIEWS},
    }


def get_features(layout: ProjectLayout, *, user: str | None = None, item: str | None = None) -> dict[str, Any]:
    """Return the online features of one user or one item by view, each view with its generation.

    Raises:
        SettingsError: not exactly one of user and item is given.
        InputError: the online store is empty or does not know the id.
    """
    if (user is None) == (item is None):
        raise SettingsError("give exactly one of user and item")
    key, value = (USER_ID, user) if item is None else (ITEM_ID, item)
    if not _is_known_as_filled(layout):
        raise InputError("the online store is empty; `semconv features materialize` fills it")
    feast_store = open_store(layout)
    with feast_errors(layout, "get"):
        service = feast_store.get_feature_service(_SERVICES[key])
        answer = feast_store.get_online_features(service, [{key: value}], full_feature_names=True).to_dict()
    views: dict[str, dict[str, Any]] = {}
    for name, values in answer.items():
        view, _, feature = name.partition("__")
        if feature:
            views.setdefault(view, {})[feature] = values[0]
    if all(feature is None for features in views.values() for feature in features.values()):
        raise InputError(
            f"{key.removesuffix('_id')} {value!r} has no features in the online store; `semconv features status` tells how current it is"
        )
    # Feast returns the features of a view in no fixed order.
    return {key: value, **{view: dict(sorted(features.items())) for view, features in views.items()}}


def materialized_publication(layout: ProjectLayout) -> int | None:
    """Return the last publication that was loaded completely, into any online store; None if there is none."""
    with contextlib.suppress(InputError):
        return int(read_json(marker_file(layout))["publication"])
    return None


def _read_marker(layout: ProjectLayout) -> dict[str, Any] | None:
    """Return the last publication in the online store that the yaml file names now; None if it is unknown."""
    try:
        marker: dict[str, Any] = read_json(marker_file(layout))
    except InputError:  # missing or damaged
        return None
    if not key_file(layout).exists():
        return None
    return marker if marker.get("online_store") == _online_store(layout) else None


def _is_known_as_filled(layout: ProjectLayout) -> bool:
    """Return whether the marker is one of the present online store. A reader who may not read the key cannot tell."""
    path = key_file(layout)
    if path.exists() and not os.access(path, os.R_OK):
        return marker_file(layout).exists()
    return _read_marker(layout) is not None


def _described(publication: Publication) -> dict[str, Any]:
    return {
        "publication": publication.publication,
        "generation": publication.generation,
        "published_at": publication.published_at.isoformat(),
    }


def _online_store(layout: ProjectLayout) -> str:
    """Return a keyed hash that identifies the online store: of the yaml file and the inode of the default SQLite file.

    The expanded yaml file may hold a password. Without the key, nobody can try passwords against the hash.
    """
    yaml, file = feature_store_yaml(layout), online_store_file(layout)
    try:
        text = os.path.expandvars(yaml.read_text())
    except FileNotFoundError as error:
        raise InputError(f"{yaml}: missing; `semconv init` copies it into a project") from error
    identity = f"{text}\0{file.stat().st_ino if file.is_file() else ''}"
    return hmac.new(_key(layout), identity.encode(), hashlib.sha256).hexdigest()


def _key(layout: ProjectLayout) -> bytes:
    """Return the key of the project's marker. If it is missing or damaged, a new one is made, and all rows are loaded."""
    path = key_file(layout)
    with machine_errors(path):
        with contextlib.suppress(FileNotFoundError):
            key = path.read_bytes()
            if len(key) == _KEY_BYTES:
                return key
        key = secrets.token_bytes(_KEY_BYTES)
        write_bytes(path, key, OWNER_FILE)
        return key
