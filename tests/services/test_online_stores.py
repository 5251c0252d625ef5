"""What Feast brings online, on servers of Redis and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.serving.online_stores import ONLINE_STORES
from semconv.errors import InputError
from semconv_warehouse.features import online
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds.features.online_stores import OnlineStoreBehaviour, top_k
from tests.worlds.features.two_publications import make_template
from tests.worlds.published import (
    Project,
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template") / "project")


@pytest.fixture(scope="module", params=[name for name in ONLINE_STORES if name != "sqlite"])
def online_store(request: pytest.FixtureRequest) -> Iterator[str]:
    """The block of yaml, while its server runs."""
    with ONLINE_STORES[request.param]() as block:
        yield block


class TestServer(OnlineStoreBehaviour):
    def test_again_fills_a_server_that_lost_its_rows(self, project: Project) -> None:
        layout, store = project
        online.materialize(layout, store)
        lose_data(layout)
        with pytest.raises(InputError):
            online.get_features(layout, user="u1")
        assert online.materialize(layout, store)["is_current"]  # nothing tells that the server lost its rows
        with pytest.raises(InputError):
            online.get_features(layout, user="u1")
        assert online.materialize(layout, store, again=True)["is_current"]
        assert top_k(layout, "u1")["generation"] == 1


def lose_data(layout: ProjectLayout) -> None:
    """Remove rows and tables but not the registry, like a server that restarts without its data."""
    from feast import FeatureStore

    feast_store = FeatureStore(repo_path=str(layout.feature_repo))
    views, entities = feast_store.list_feature_views(), feast_store.list_entities()
    feast_store._get_provider().online_store.teardown(feast_store.config, views, entities)
