"""Parquet for Feast: one file a view and a publication, with tombstones for ids that are gone.

Every file holds the whole view. ``event_timestamp`` is the time of the publication, so the latest
row of an id is what is served, also after a rollback.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from semconv.artifacts import atomic_path
from semconv_warehouse.publish.generation import open_generation
from semconv_warehouse.publish.generation_files import generation_path
from semconv_warehouse.publish.publish import Publication
from semconv_warehouse.store.database import database_errors
from semconv_warehouse.store.layout import ProjectLayout


@dataclass(frozen=True)
class ExportedView:
    """One feature view: its key, its features with their types, and its rows in a generation file."""

    key: str
    features: Mapping[str, str]
    rows: str


# Codes as INTEGER[]: Feast turns a small unsigned list with NULL rows beside it into floats.
VIEWS: Mapping[str, ExportedView] = {
    "item_embedding": ExportedView(
        "item_id", {"vector": "FLOAT[]"}, "SELECT item_id, vector::FLOAT[] AS vector, generation FROM item_embedding"
    ),
    "item_code": ExportedView(
        "item_id",
        {"codes": "INTEGER[]", "semantic_id": "VARCHAR"},
        "SELECT item_id, codes::INTEGER[] AS codes, semantic_id, generation FROM item_code",
    ),
    "user_embedding": ExportedView(
        "user_id", {"vector": "FLOAT[]"}, "SELECT user_id, vector::FLOAT[] AS vector, generation FROM user_embedding"
    ),
    "user_top_k": ExportedView(
        "user_id",
        {"item_ids": "VARCHAR[]", "scores": "DOUBLE[]"},
        "SELECT user_id, list(item_id ORDER BY rank) AS item_ids, list(score ORDER BY rank) AS scores,"
        " any_value(generation) AS generation FROM recommendation GROUP BY user_id",
    ),
}


def feature_file(layout: ProjectLayout, view: str, publication: int) -> Path:
    """``features/item_code/000003.parquet``."""
    return layout.features / view / f"{publication:06d}.parquet"


def feature_files(layout: ProjectLayout, publication: int) -> list[Path]:
    """The files of all views of one publication, whether they are there or not."""
    return [feature_file(layout, view, publication) for view in VIEWS]


def exported_publications(layout: ProjectLayout, view: str) -> list[int]:
    """Publications that a view has a file of, in order."""
    return sorted(int(path.stem) for path in (layout.features / view).glob("*.parquet") if path.stem.isdecimal())


def export_publications(layout: ProjectLayout, publications: Iterable[Publication]) -> list[int]:
    """Write the missing files of publications, in order; those of a pruned generation are left out.

    So are publications before the first that has all its files: theirs were pruned.

    Returns:
        The publications that files were written for.
    """
    written = []
    known = list(publications)
    first = next((place for place, entry in enumerate(known) if _is_whole(layout, entry)), 0)
    for publication in known[first:]:
        source = generation_path(layout, publication.generation)
        missing = [
            view for view in VIEWS if not _is_exported(feature_file(layout, view, publication.publication), publication)
        ]
        if missing and source == layout.generation_file(publication.generation):
            for view in missing:
                _export(layout, view, publication, source)
            written.append(publication.publication)
    return written


def _is_whole(layout: ProjectLayout, publication: Publication) -> bool:
    return all(_is_exported(file, publication) for file in feature_files(layout, publication.publication))


def _is_exported(file: Path, publication: Publication) -> bool:
    """Whether the file is of this publication, and not of one with its number from before the warehouse was made anew."""
    if not file.exists():
        return False
    try:
        metadata = pq.read_metadata(file)
    except (pa.ArrowException, OSError):  # cut short or overwritten
        return False
    column = metadata.schema.names.index("event_timestamp") if metadata.num_rows else 0
    times = {
        metadata.row_group(group).column(column).statistics.max
        for group in range(metadata.num_row_groups)
        if metadata.num_rows
    }
    return times <= {publication.published_at.replace(tzinfo=None)}


def _export(layout: ProjectLayout, name: str, publication: Publication, source: Path) -> None:
    view = VIEWS[name]
    before = [number for number in exported_publications(layout, name) if number < publication.publication]
    rows = view.rows
    files: dict[str, object] = {}
    if before:
        # Names and types of this module, never values from outside.
        nothing = ", ".join(f"NULL::{kind} AS {feature}" for feature, kind in view.features.items())
        rows += (
            f" UNION ALL BY NAME SELECT {view.key}, {nothing}, NULL::BIGINT AS generation FROM read_parquet($before)"  # noqa: S608
            f" WHERE generation IS NOT NULL AND {view.key} NOT IN (SELECT {view.key} FROM ({view.rows}))"
        )
        files["before"] = str(feature_file(layout, name, before[-1]))
    statement = f"SELECT *, $published_at::TIMESTAMP AS event_timestamp FROM ({rows}) ORDER BY {view.key}"  # noqa: S608
    target = feature_file(layout, name, publication.publication)
    with open_generation(source) as connection, database_errors(target), atomic_path(target) as temporary:
        values = {"published_at": publication.published_at.replace(tzinfo=None), **files}
        _write_parquet(connection, statement, values, temporary)


def _write_parquet(
    connection: duckdb.DuckDBPyConnection, statement: str, values: Mapping[str, object], path: Path
) -> None:
    connection.sql(statement, params=dict(values)).write_parquet(str(path), compression="zstd")
