"""A published project whose next lists drop a user and items."""

from __future__ import annotations

from pathlib import Path

from semconv_warehouse.features.repository import create_feature_repo
from semconv_warehouse.publish.publishing import publish
from tests.worlds.published import (
    SERVE,
    add_recommend_run,
    add_run,
    item_codes,
    item_vectors,
    lists,
    make_project,
    user,
)


def make_template(root: Path) -> Path:
    """Publish recommend-1; recommend-2 has no list for u3, other codes, no vector for i7 and none for users."""
    layout, store = make_project(root)
    create_feature_repo(layout)
    add_run(store, "embed-2", "embed_behavior", tables={"item_embedding": item_vectors("embed-2", range(7))})
    add_run(
        store, "codebook-2", "codebook", inputs=["embed-2"], tables={"item_code": item_codes("codebook-2", range(7))}
    )
    add_recommend_run(store, "recommend-2", {name: items for name, items in lists(1).items() if name != user(3)})
    add_run(store, "recommend-2", "recommend", inputs=["codebook-2", "embed-2"], settings=SERVE)
    publish(layout, store, "recommend-1")
    return layout.root
