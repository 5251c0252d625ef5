"""What Feast needs of us: apply the definitions, bring its online store up to the last publication, look one id up.

Feast is imported inside the calls (it takes seconds). What it prints is caught, so that standard
output stays data. Nothing here is on a batch job's way: Feast's Python layer is for single keys.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import sqlite3
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from semconv.artifacts import machine_errors, read_json, remove_unfinished, write_json
from semconv.errors import InputError, LockedError, MachineError, SemconvError, SettingsError
from semconv_warehouse.features.export import VIEWS, export_publications, exported_publications
from semconv_warehouse.features.objects import load_objects
from semconv_warehouse.features.repair import MARKER, remove_damaged
from semconv_warehouse.publish.publish import Publication, publications
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout, package_folder
from semconv_warehouse.store.locks import features_lock

if TYPE_CHECKING:
    from feast import FeatureStore

_SERVICES = {"item_id": "item_v1", "user_id": "user_v1"}
_YAML = "feature_store.yaml"


def create_feature_repo(layout: ProjectLayout) -> None:
    """Copy the package's Feast definitions into a project; files that are there stay as they are."""
    with machine_errors(layout.feature_repo):
        layout.feature_repo.mkdir(parents=True, exist_ok=True)
        for source in package_folder("feature_repo").iterdir():
            target = layout.feature_repo / source.name
            if source.is_file() and not target.exists():
                shutil.copyfile(source, target)


def export_features(layout: ProjectLayout, store: DuckDBStore) -> list[int]:
    """Write the Parquet files of publications that have none yet; returns these publications."""
    with features_lock(layout, store.wait):
        return export_publications(layout, publications(store))


def apply(layout: ProjectLayout, wait: float = 0.0) -> dict[str, list[str]]:
    """Bring Feast's registry in line with ``feature_repo``; returns names by kind, what left the files is removed.

    A registry or an online store that is damaged is made anew.

    Raises:
        SettingsError: the definitions or the yaml are wrong.
        LockedError: a materialize or another apply is at work after ``wait`` seconds.
    """
    with features_lock(layout, wait):
        return _apply(layout)


def _apply(layout: ProjectLayout) -> dict[str, list[str]]:
    """The same for who holds the lock: a registry that is being written looks damaged."""
    remove_damaged(layout)
    feast_store = open_store(layout)
    with feast_errors(layout, "apply"):
        objects = load_objects(layout.feature_repo)
        feast_store.apply(objects.all, objects_to_delete=objects.stale(feast_store), partial=False)
        feast_store.refresh_registry()
        return objects.names()


def materialize(layout: ProjectLayout, store: DuckDBStore, *, again: bool = False) -> dict[str, Any]:
    """Export what is missing and bring the online store up to the last publication; returns :func:`status`.

    Reads only what was published since the last materialize that finished; one that was killed is repeated. Damaged
    files are made anew: the registry, the online store, Parquet files that Feast reads.

    Args:
        again: fill the store from nothing, whatever is known of it: a server may have lost its data unseen.

    Raises:
        InputError: nothing is published yet.
        LockedError: another materialize is at work.
    """
    with features_lock(layout, store.wait):
        known = publications(store)  # of now, and not of before what was waited for
        if not known:
            raise InputError("nothing is published yet; `semconv publish` puts the first generation in place")
        try:
            _bring_up_to(layout, known, again=again)
        except (InputError, SettingsError):
            if not remove_damaged(layout, thoroughly=True):
                raise
            _bring_up_to(layout, known, again=again)
    return status(layout, store)


def _bring_up_to(layout: ProjectLayout, known: list[Publication], *, again: bool) -> None:
    remove_damaged(layout)
    remove_unfinished(layout.features)
    export_publications(layout, known)
    last, marker = known[-1], None if again else _read_marker(layout)
    since = datetime.fromisoformat(marker["published_at"]) if marker else None
    if since != last.published_at:
        _materialize_since(layout, since, last)
        write_json(layout.features / MARKER, _marker(layout, last))


def status(layout: ProjectLayout, store: DuckDBStore) -> dict[str, Any]:
    """How far the online store is behind what is published; Feast is not asked.

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
    """The online features of one user or one item, by view; each view says its generation.

    Raises:
        SettingsError: not exactly one of user and item is given.
        InputError: the online store does not know the id, or nothing was materialized yet.
    """
    if (user is None) == (item is None):
        raise SettingsError("name one user or one item")
    key, value = ("user_id", user) if item is None else ("item_id", item)
    if _read_marker(layout) is None:
        raise InputError("the online store is empty; `semconv features materialize` fills it")
    feast_store = open_store(layout)
    with feast_errors(layout, "get"):
        service = feast_store.get_feature_service(_SERVICES[key])
        answer = feast_store.get_online_features(service, [{key: value}], full_feature_names=True).to_dict()
    found: dict[str, Any] = {key: value}
    for name, values in answer.items():
        view, _, feature = name.partition("__")
        if feature:
            found.setdefault(view, {})[feature] = values[0]
    found = {
        name: dict(sorted(part.items())) if name != key else part for name, part in found.items()
    }  # Feast has no order
    views = [content for name, content in found.items() if name != key]
    if all(feature is None for content in views for feature in content.values()):
        raise InputError(
            f"{key.removesuffix('_id')} {value!r} has no features online; `semconv features status` tells how current they are"
        )
    return found


def _materialize_since(layout: ProjectLayout, since: datetime | None, last: Publication) -> None:
    applied = _apply(layout)  # every time, because sources are absolute paths, which a moved project changes
    views = [view for view in VIEWS if view in applied["feature_views"]]
    feast_store = open_store(layout)
    # Publications are whole seconds apart and Feast's window includes both ends.
    start = since + timedelta(milliseconds=1) if since else datetime(1970, 1, 2, tzinfo=UTC)
    with feast_errors(layout, "materialize"):
        feast_store.materialize(start, last.published_at, feature_views=views)


def open_store(layout: ProjectLayout) -> FeatureStore:
    """Feast, as the project's own repository says; what it prints is swallowed."""
    if not (layout.feature_repo / _YAML).is_file():
        raise InputError(f"{layout.feature_repo / _YAML}: missing; `semconv init` copies it into a project")
    with feast_errors(layout, "open"):
        from feast import FeatureStore

        return FeatureStore(repo_path=str(layout.feature_repo))


@contextlib.contextmanager
def feast_errors(layout: ProjectLayout, what: str) -> Iterator[None]:
    """Catch what Feast prints and turn what it raises into one line."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with machine_errors(layout.data):
                yield
        except SemconvError:
            raise
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise _translated(what, error, lines[0]) from error


def _translated(what: str, error: Exception, line: str) -> SemconvError:
    if isinstance(error, sqlite3.OperationalError):
        if "locked" in line:
            return LockedError("the online store is in use by another process; run the same command again")
        return MachineError(f"the online store cannot be read or written ({line}); check the disk and the file's mode")
    if what == "get" or isinstance(error, sqlite3.DatabaseError):
        return InputError(
            f"feature_repo: Feast failed to {what} ({line}); `semconv features materialize` mends its files"
        )
    kind = SettingsError if what in ("open", "apply") else InputError
    return kind(f"feature_repo: Feast failed to {what} ({line}); see feature_repo/{_YAML}")


def _marker(layout: ProjectLayout, publication: Publication) -> dict[str, Any]:
    return {**_described(publication), "online_store": _online_store(layout)}


def _read_marker(layout: ProjectLayout) -> dict[str, Any] | None:
    """The last publication that was materialized whole into the online store that the yaml names now."""
    try:
        marker: dict[str, Any] = read_json(layout.features / MARKER)
    except InputError:  # missing or damaged: nothing says what the online store holds
        return None
    return marker if marker.get("online_store") == _online_store(layout) else None


def materialized_publication(layout: ProjectLayout) -> int | None:
    """The last publication that was materialized whole, into whichever online store; None when none ever was."""
    with contextlib.suppress(InputError):
        return int(read_json(layout.features / MARKER)["publication"])
    return None


def _described(publication: Publication) -> dict[str, Any]:
    return {
        "publication": publication.publication,
        "generation": publication.generation,
        "published_at": publication.published_at.isoformat(),
    }


def _online_store(layout: ProjectLayout) -> str:
    """What tells one online store from another: the yaml that names it and, for the default, that it is the same file."""
    path, file = layout.feature_repo / _YAML, layout.data / "online_store.db"
    try:
        text = os.path.expandvars(path.read_text())
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing; `semconv init` copies it into a project") from error
    identity = f"{text}\0{file.stat().st_ino if file.is_file() else ''}"
    return hashlib.sha256(identity.encode()).hexdigest()
