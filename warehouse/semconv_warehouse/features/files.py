"""Paths of Feast's files in a project."""

from __future__ import annotations

from pathlib import Path

from semconv_warehouse.store.layout import ProjectLayout


def feature_store_yaml(layout: ProjectLayout) -> Path:
    """Return the user's Feast configuration, which names the online store."""
    return layout.feature_repo / "feature_store.yaml"


def registry_file(layout: ProjectLayout) -> Path:
    """Return the default registry."""
    return layout.data / "registry.db"


def online_store_file(layout: ProjectLayout) -> Path:
    """Return the default online store, a SQLite file."""
    return layout.data / "online_store.db"


def marker_file(layout: ProjectLayout) -> Path:
    """Return the file that names the last publication that was materialized; without it, materialize starts over."""
    return layout.features / "materialized.json"
