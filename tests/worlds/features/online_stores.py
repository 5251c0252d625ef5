"""The tests of any online store: what a materialize brings online, and what it leaves there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving.online_stores import use_online_store
from semconv.errors import InputError
from semconv_warehouse.features import online
from semconv_warehouse.features.export import export_features, feature_file
from semconv_warehouse.publish.publications import publications
from semconv_warehouse.publish.publishing import publish, rollback
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds.command import KILLED, Commands
from tests.worlds.published import (
    SERVE,
    Project,
    add_recommend_run,
    copy_project,
    lists,
    user,
)

# A materialize that is killed after it has filled the online store and before it has written the marker.
_KILLED = """
import os, signal, sys
from pathlib import Path
from semconv_warehouse.features import online
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.duckdb_store import DuckDBStore

online.write_json = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
layout = ProjectLayout(Path(sys.argv[1]))
online.materialize(layout, DuckDBStore(layout))
"""
NOTHING = {"item_ids": None, "scores": None, "generation": None}


def top_k(layout: ProjectLayout, user_id: str) -> dict[str, Any]:
    found: dict[str, Any] = online.get_features(layout, user=user_id)["user_top_k"]
    return found


class OnlineStoreBehaviour:
    """The tests of one online store; a file gives it as the fixtures ``template`` and ``online_store``, a block of yaml."""

    @pytest.fixture
    def project(self, template: Path, online_store: str, tmp_path: Path, request: pytest.FixtureRequest) -> Project:
        """A project with its own Feast project name, as projects on a shared server need."""
        layout, store = copy_project(template, tmp_path / "project")
        yaml = layout.feature_repo / "feature_store.yaml"
        use_online_store(yaml, online_store)
        yaml.write_text(yaml.read_text().replace("project: semconv", f"project: p{abs(hash(request.node.name))}"))
        return layout, store

    def test_vectors_codes_and_top_k_arrive_with_their_generation(self, project: Project) -> None:
        layout, store = project
        assert online.materialize(layout, store)["is_current"]
        assert online.get_features(layout, user="u3") == {
            "user_id": "u3",
            "user_embedding": {"vector": [3.0, 1.0], "generation": 1},
            "user_top_k": {"item_ids": ["i4", "i5", "i6"], "scores": [-1.0, -2.0, -3.0], "generation": 1},
        }
        assert online.get_features(layout, item="i8") == {
            "item_id": "i8",
            "item_embedding": {"vector": None, "generation": None},
            "item_code": {"codes": [2, 0], "semantic_id": "<a_2><b_0>", "generation": 1},
        }
        assert online.get_features(layout, item="i0")["item_embedding"] == {"vector": [1.0, 0.0], "generation": 1}

    def test_dropped_ids_answer_null_and_a_rollback_brings_them_back(
        self, project: Project, capfd: pytest.CaptureFixture[str]
    ) -> None:
        layout, store = project
        online.materialize(layout, store)
        publish(layout, store, "recommend-2")
        assert top_k(layout, "u1")["generation"] == 1  # generation 2 is published and not yet online
        online.materialize(layout, store)
        assert top_k(layout, "u1") == {"item_ids": ["i3", "i4", "i5"], "scores": [-1.0, -2.0, -3.0], "generation": 2}
        with pytest.raises(InputError, match="user 'u3' has no features"):  # neither list nor vector any more
            online.get_features(layout, user="u3")
        with pytest.raises(InputError, match="item 'i8' has no features"):  # it has no codes any more
            online.get_features(layout, item="i8")
        rollback(layout, store)
        online.materialize(layout, store)
        assert top_k(layout, "u3") == {"item_ids": ["i4", "i5", "i6"], "scores": [-1.0, -2.0, -3.0], "generation": 1}
        assert online.get_features(layout, item="i8")["item_code"]["generation"] == 1
        times = [entry.published_at for entry in publications(store)]
        assert times == sorted(set(times))
        assert len(times) == 3
        assert capfd.readouterr().out == ""  # prints of Feast would mix with a command's data

    def test_a_publication_that_was_skipped_leaves_no_stale_row(self, project: Project) -> None:
        layout, store = project
        online.materialize(layout, store)
        publish(layout, store, "recommend-2")  # drops u3, and is never materialized
        add_recommend_run(
            store,
            "recommend-3",
            {name: items for name, items in lists().items() if name != user(3)},
            settings={**SERVE, "again": True},
        )
        publish(layout, store, "recommend-3")
        online.materialize(layout, store)
        assert top_k(layout, "u3") == NOTHING
        assert top_k(layout, "u2")["generation"] == 3

    def test_materialize_reads_only_new_publications(self, project: Project) -> None:
        layout, store = project
        online.materialize(layout, store)
        first = feature_file(layout, "user_top_k", 1)
        publish(layout, store, "recommend-2")
        export_features(layout, store)
        first.write_bytes(b"no Parquet any more")
        first.rename(first.with_suffix(".gone"))
        assert online.materialize(layout, store)["is_current"]
        assert top_k(layout, "u1")["generation"] == 2

    def test_a_killed_materialize_is_repeated(self, commands: Commands, project: Project) -> None:
        layout, store = project
        done = commands.program(_KILLED, layout.root)
        assert done.status == KILLED, done.stderr
        assert online.status(layout, store)["materialized"] is None
        assert online.materialize(layout, store)["is_current"]
        assert top_k(layout, "u1")["generation"] == 1
