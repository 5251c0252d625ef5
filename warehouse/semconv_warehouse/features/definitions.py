"""Load the definitions of a Feast repository without changing the working directory.

Feast's own loader changes the working directory, and keeps the imported modules under their bare names. A second
project in the same process would then get the definitions of the first project.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feast import FeatureStore


@dataclass(frozen=True)
class Definitions:
    """The Feast objects that the files of a repository define."""

    entities: list[Any]
    feature_views: list[Any]
    feature_services: list[Any]
    others: list[Any]  # data sources and on-demand views

    @property
    def all(self) -> list[Any]:
        """All objects, in the order in which Feast must register them."""
        return [*self.others, *self.entities, *self.feature_views, *self.feature_services]

    def names(self) -> dict[str, list[str]]:
        """Return the names of the objects by kind."""
        kinds = ("entities", "feature_views", "feature_services")
        return {kind: sorted(thing.name for thing in getattr(self, kind)) for kind in kinds}

    def stale(self, store: FeatureStore) -> list[Any]:
        """Return the registered objects that are no longer defined in a file."""
        names = self.names()
        registered = {
            "feature_services": store.list_feature_services(),
            "feature_views": store.list_feature_views(),
            "entities": [entity for entity in store.list_entities() if not entity.name.startswith("__")],
        }
        return [thing for kind, things in registered.items() for thing in things if thing.name not in names[kind]]


def load_definitions(repository: Path) -> Definitions:
    """Import all files of a Feast repository and return their Feast objects. Errors in a file are raised unchanged."""
    from feast import Entity, FeatureService, FeatureView
    from feast.data_source import DataSource
    from feast.on_demand_feature_view import OnDemandFeatureView
    from feast.repo_operations import get_repo_files

    repository = repository.resolve()
    names = [".".join(path.relative_to(repository).with_suffix("").parts) for path in get_repo_files(repository)]
    with _importable(repository, names):
        modules = [importlib.import_module(name) for name in names]
    things = {id(thing): thing for module in modules for thing in vars(module).values()}.values()
    return Definitions(
        entities=[thing for thing in things if isinstance(thing, Entity)],
        feature_views=[thing for thing in things if isinstance(thing, FeatureView)],
        feature_services=[thing for thing in things if isinstance(thing, FeatureService)],
        others=[thing for thing in things if isinstance(thing, DataSource | OnDemandFeatureView)],
    )


@contextmanager
def _importable(repository: Path, names: list[str]) -> Iterator[None]:
    """During the block, put the repository first on the import path, and hide other modules with the same names."""
    hidden = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.path.insert(0, str(repository))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(repository))
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(hidden)
