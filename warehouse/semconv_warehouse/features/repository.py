"""Create the Feast repository of a project, register its definitions, and open its feature store.

Feast is imported inside the functions, because the import takes seconds. Everything that Feast prints is discarded,
because stdout is for data.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sqlite3
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from semconv.artifacts import machine_errors, write_bytes
from semconv.errors import InputError, LockedError, MachineError, SemconvError, SettingsError
from semconv.modes import PUBLIC_FILE, PUBLIC_FOLDER, closed_umask, make_folder
from semconv_warehouse.features.definitions import load_definitions
from semconv_warehouse.features.files import feature_store_yaml
from semconv_warehouse.features.repair import remove_damaged
from semconv_warehouse.store.layout import ProjectLayout, package_folder
from semconv_warehouse.store.locks import features_lock
from semconv_warehouse.store.secrets import secret_parts, without

# Settings of the Feast configuration that messages may show unless they are a URL; all others may hold a password.
_HARMLESS = {"database", "db_schema", "host", "path", "project", "provider", "registry", "type", "user"}

if TYPE_CHECKING:
    from feast import FeatureStore


def create_feature_repo(layout: ProjectLayout) -> None:
    """Copy the package's Feast repository into a project. Existing files are not changed."""
    with machine_errors(layout.feature_repo):
        make_folder(layout.feature_repo, PUBLIC_FOLDER)
        for source in package_folder("feature_repo").iterdir():
            target = layout.feature_repo / source.name
            if source.is_file() and not target.exists():
                write_bytes(target, source.read_bytes(), PUBLIC_FILE)


def apply(layout: ProjectLayout, wait: float = 0.0) -> dict[str, list[str]]:
    """Register the definitions of ``feature_repo`` with Feast, and remove definitions that its files no longer have.

    A damaged registry or online store is replaced by a new one.

    Returns:
        Names of the registered definitions by kind.

    Raises:
        SettingsError: the definitions or the yaml file are wrong.
        LockedError: another process still writes features after ``wait`` seconds.
    """
    with features_lock(layout, wait):
        return apply_locked(layout)


def apply_locked(layout: ProjectLayout) -> dict[str, list[str]]:
    """Do the work of :func:`apply` for a caller that holds the lock."""
    remove_damaged(layout)
    feast_store = open_store(layout)
    with feast_errors(layout, "apply"):
        definitions = load_definitions(layout.feature_repo)
        feast_store.apply(definitions.all, objects_to_delete=definitions.stale(feast_store), partial=False)
        feast_store.refresh_registry()
        return definitions.names()


def open_store(layout: ProjectLayout) -> FeatureStore:
    """Open the project's feature store; raise InputError or SettingsError if its yaml file is missing or wrong."""
    yaml = feature_store_yaml(layout)
    if not yaml.is_file():
        raise InputError(f"{yaml}: missing; `semconv init` copies it into a project")
    with feast_errors(layout, "open"):
        from feast import FeatureStore

        return FeatureStore(repo_path=str(layout.feature_repo))


@contextlib.contextmanager
def feast_errors(layout: ProjectLayout, action: str) -> Iterator[None]:
    """Discard what Feast prints in the block, and turn its exceptions into one-line errors that name ``action``."""
    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        warnings.catch_warnings(),
        closed_umask(),
    ):
        warnings.simplefilter("ignore")
        try:
            with machine_errors(layout.data):
                yield
        except SemconvError:
            raise
        except Exception as error:
            secrets = _secrets(layout)
            lines = without(str(error).strip(), secrets).splitlines() or [type(error).__name__]
            raise _translated(action, error, lines[0]) from _without_message(error)


def _secrets(layout: ProjectLayout) -> set[str]:
    """Return the values of the Feast configuration that messages must not show, as the yaml file or a library writes them."""
    import yaml

    try:
        text = feature_store_yaml(layout).read_text()
        settings = yaml.safe_load(os.path.expandvars(text))
    except (OSError, UnicodeError, yaml.YAMLError):
        settings = None
        text = ""
    names = {name for match in re.finditer(r"\$(?:\{(\w+)\}|(\w+))", text) for name in match.groups() if name}
    return secret_parts([os.environ[name] for name in names if name in os.environ] + list(_values(settings, "")))


def _values(settings: Any, name: str) -> Iterator[str]:
    """Yield all values of settings but the harmless ones."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield from _values(value, str(key))
    elif isinstance(settings, list):
        for value in settings:
            yield from _values(value, name)
    elif isinstance(settings, str) and (name not in _HARMLESS or "://" in settings):
        yield settings
    elif isinstance(settings, int | float) and "pass" in name.lower():  # a password of digits without quotes
        yield str(settings)


def _without_message(error: BaseException) -> Exception:
    """Return an exception with the traceback of another one, whose message may quote the Feast configuration."""
    shown = RuntimeError(f"{type(error).__name__}; its message is not shown, because it may quote a password")
    return shown.with_traceback(error.__traceback__)


def _translated(action: str, error: Exception, line: str) -> SemconvError:
    if isinstance(error, sqlite3.OperationalError):
        if "locked" in line:
            return LockedError("the online store is in use by another process; run the same command again")
        return MachineError(
            f"the online store cannot be read or written ({line}); check the disk and the permissions of its file"
        )
    if action == "get" or isinstance(error, sqlite3.DatabaseError):
        return InputError(
            f"feature_repo: Feast failed to {action} ({line}); `semconv features materialize` repairs its files"
        )
    kind = SettingsError if action in ("open", "apply") else InputError
    return kind(f"feature_repo: Feast failed to {action} ({line}); see feature_repo/feature_store.yaml")
