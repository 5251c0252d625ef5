"""The paths of Feast's files in a project."""

from __future__ import annotations

from pathlib import Path

from semconv_warehouse.store.layout import ProjectLayout


def feature_store_yaml(layout: ProjectLayout) -> Path:
    """Return the path of the Feast configuration, which the user edits to choose the online store."""
    return layout.feature_repo / "feature_store.yaml"


def registry_file(layout: ProjectLayout) -> Path:
    """Return the path of the default registry of Feast."""
    return layout.data / "registry.db"


def online_store_file(layout: ProjectLayout) -> Path:
    """Return the path of the default online store, a SQLite file."""
    return layout.data / "online_store.db"


def key_file(layout: ProjectLayout) -> Path:
    """Return the path of the random key with which the marker's hash of the Feast configuration is made."""
    return layout.features / "marker.key"


def marker_file(layout: ProjectLayout) -> Path:
    """Return the path of the file that names the last loaded publication. Without it, materialize loads all rows."""
    return layout.features / "materialized.json"
