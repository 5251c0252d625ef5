"""The features that Feast serves: item vectors and codes, user vectors, top-K lists and profiles, each with its generation.

The sources are Parquet files that semconv exports, one per feature view and publication. The column event_timestamp has
the time of the publication. A row of nulls marks a user or an item that is no longer published.
"""

import glob
from datetime import timedelta
from pathlib import Path

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Array, Float32, Float64, Int64, PrimitiveFeastType, String

# An absolute path, because Feast resolves the relative paths of sources against two different folders.
FEATURES = Path(__file__).resolve().parents[1] / "data" / "features"


def _view(name: str, entity: Entity, features: dict[str, Array | PrimitiveFeastType]) -> FeatureView:
    schema = {entity.join_key: String, **features, "generation": Int64}
    # DuckDB reads the path as a pattern, but the folder of the project may hold a bracket or an asterisk.
    files = f"{glob.escape(str(FEATURES / name))}/*.parquet"
    source = FileSource(name=name, path=files, timestamp_field="event_timestamp")
    return FeatureView(
        name=name,
        entities=[entity],
        ttl=timedelta(0),  # a published row is valid until the next publication
        schema=[Field(name=column, dtype=kind) for column, kind in schema.items()],
        source=source,
        online=True,
    )


item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING)
user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)

# The vector has a feature view of its own, because a second array in a view breaks Feast's vector stores.
item_embedding = _view("item_embedding", item, {"vector": Array(Float32)})
item_code = _view("item_code", item, {"codes": Array(Int64), "semantic_id": String})
user_embedding = _view("user_embedding", user, {"vector": Array(Float32)})
user_top_k = _view("user_top_k", user, {"item_ids": Array(String), "scores": Array(Float64)})
# Attributes of `semconv ingest users` as JSON text. The view is in no feature service: ask for user_profile:market.
user_profile = _view("user_profile", user, {"market": String, "attributes": String})

item_v1 = FeatureService(name="item_v1", features=[item_embedding, item_code])
user_v1 = FeatureService(name="user_v1", features=[user_embedding, user_top_k])
