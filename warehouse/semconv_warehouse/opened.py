"""Create, find and open a project folder, with its settings, storage and runs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import duckdb
from sqlalchemy.exc import DBAPIError

from semconv.artifacts import machine_errors, write_bytes
from semconv.errors import InputError, LockedError, SemconvError, SettingsError
from semconv.modes import PUBLIC_FILE, PUBLIC_FOLDER, make_folder
from semconv.progress import Progress, Silent
from semconv.runs.book import RunBook
from semconv.runs.workspace import Workspace
from semconv.settings.load import load_settings
from semconv.settings.tree import Settings
from semconv_warehouse.publish.publications import read_record
from semconv_warehouse.publish.publishing import reconcile
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout, find_project, require_usable
from semconv_warehouse.store.migrate import is_newest, migrate


class OpenedProject:
    """An open project folder. No connection to the warehouse stays open between calls."""

    def __init__(self, layout: ProjectLayout, settings: Settings, store: DuckDBStore, progress: Progress) -> None:
        self.layout = layout
        self.settings = settings
        self.store = store
        self.progress = progress
        self.overrides: Mapping[str, Any] = {}  # settings of the command line, by "section.key"

    @classmethod
    def open(
        cls,
        path: Path | None = None,
        *,
        overrides: Mapping[str, Any] | None = None,
        wait: float = 0.0,
        progress: Progress | None = None,
    ) -> Self:
        """Open the project at ``path``, or the one in the current folder or the nearest folder above it.

        Migrates the warehouse to the current schema, and completes the record of publications. If the warehouse is
        damaged or in use by another process, the project is opened without this. The served generation can then still be
        read, and everything that needs the warehouse raises the error.

        Raises:
            InputError: the folder is not a project.
            SettingsError: a setting is wrong.
        """
        layout = find_project(Path.cwd()) if path is None else ProjectLayout(path.resolve())
        if not layout.settings_file.is_file():
            raise InputError(f"{layout.root}: no semconv.toml in this folder; `semconv init` creates a project")
        require_usable(layout.root)
        settings = load_settings(layout.settings_file, overrides=overrides)
        store = DuckDBStore(layout, wait)
        progress = progress or Silent()
        if not layout.warehouse.exists():
            progress.say(f"{layout.warehouse}: missing, so an empty warehouse was created; ingest all data again")
        try:
            if not layout.warehouse.exists() or not _is_read_ahead(store):
                migrate(layout.warehouse, wait)
            reconcile(layout, store)
        except LockedError as error:
            if (
                not layout.warehouse.exists()
            ):  # another process is creating it; opening it for writing would create a second one
                store.refusal = error
        except SemconvError as error:
            store.refusal = error
        project = cls(layout, settings, store, progress)
        project.overrides = dict(overrides or {})
        return project

    @staticmethod
    def init(directory: Path, settings_text: str | None = None, *, preset: str | None = None) -> ProjectLayout:
        """Create a project folder with a settings file, an empty warehouse and the Feast definitions.

        Args:
            settings_text: content of the settings file; by default, every setting with its description.
            preset: name of the preset whose values the settings file gets; unused with ``settings_text``.

        Raises:
            SettingsError: the folder is a project already, or there is no preset of this name.
        """
        from semconv.settings.presets import read_preset
        from semconv.settings.text import settings_template
        from semconv_warehouse.features.repository import create_feature_repo

        text = settings_text or settings_template(None if preset is None else read_preset(preset))
        layout = ProjectLayout(directory.resolve())
        if layout.settings_file.exists():
            raise SettingsError(
                f"{layout.settings_file} exists, so this folder is a project already; choose another folder"
            )
        require_usable(layout.root)
        with machine_errors(directory):
            make_folder(layout.root, PUBLIC_FOLDER)
            for folder in (layout.data, layout.runs, layout.generations, layout.features):
                make_folder(folder)
        migrate(layout.warehouse)
        create_feature_repo(layout)
        write_bytes(layout.settings_file, text.encode(), PUBLIC_FILE)
        return layout

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace that stages work with: storage, runs, settings and progress."""
        return Workspace(self.store, self.book, self.settings, self.progress)

    @cached_property
    def book(self) -> RunBook:
        """The record of the project's runs."""
        return RunBook(self.store, self.layout.root, self.layout.runs, self.progress, self.store.wait)


def _is_read_ahead(store: DuckDBStore) -> bool:
    """Return whether the warehouse has the newest schema; if so, let the store keep what most commands ask for.

    The warehouse is opened once for all of this, because opening takes longer than reading.
    """
    with store.snapshot(), store.read() as connection:
        if not is_newest(connection, store.layout.warehouse):
            return False
        with contextlib.suppress(SemconvError, DBAPIError, duckdb.Error):  # raised again where the rows are needed
            store.runs()
            read_record(store)
    return True
