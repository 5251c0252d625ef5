"""The definitions in the files of a Feast repository, loaded without changing the working directory.

Feast's own loader changes to the repository and keeps the imported modules under their bare names. A second project in
the same process would then get the definitions of the first.
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
    """The Feast objects of a repository."""

    entities: list[Any]
    feature_views: list[Any]
    feature_services: list[Any]
    others: list[Any]  # data sources and on-demand views

    @property
    def all(self) -> list[Any]:
        """All objects, in an order in which Feast can register them."""
        return [*self.others, *self.entities, *self.feature_views, *self.feature_services]

    def names(self) -> dict[str, list[str]]:
        """Return the names of the objects by kind."""
        kinds = ("entities", "feature_views", "feature_services")
        return {kind: sorted(thing.name for thing in getattr(self, kind)) for kind in kinds}

    def stale(self, store: FeatureStore) -> list[Any]:
        """Return the registered objects that no file defines any more."""
        names = self.names()
        registered = {
            "feature_services": store.list_feature_services(),
            "feature_views": store.list_feature_views(),
            "entities": [entity for entity in store.list_entities() if not entity.name.startswith("__")],
        }
        return [thing for kind, things in registered.items() for thing in things if thing.name not in names[kind]]


def load_definitions(repository: Path) -> Definitions:
    """Import every file of the repository and collect its Feast objects; an error of such a file is raised as it is."""
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
    """Put the repository first on the import path and hide imported modules of the same names, inside the block."""
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
