"""Export Parquet files for Feast: for each publication, one file per feature view.

A file holds all rows of the view, and a row of nulls for each id that the publication no longer has.
``event_timestamp`` is the time of the publication. So the latest row of an id is the served one, also after a rollback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from semconv.artifacts import atomic_path
from semconv.columns import RANK, USER_ID
from semconv.data.list_rows import LIST_COLUMNS
from semconv_warehouse.publish.generation_files import generation_path, open_generation
from semconv_warehouse.publish.publications import Publication, publications
from semconv_warehouse.store.database import database_errors, one_file, write_parquet
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.locks import features_lock


@dataclass(frozen=True)
class ExportedView:
    """One feature view: its key, the DuckDB types of its features, and the SQL query that reads its rows."""

    key: str
    features: Mapping[str, str]
    rows: str


def _user_top_k() -> ExportedView:
    columns = [column for column in LIST_COLUMNS if column.feature]
    lists = ", ".join(f"list({column.name} ORDER BY {RANK}) AS {column.feature}" for column in columns)
    return ExportedView(
        USER_ID,
        {column.feature: f"{column.sql_type}[]" for column in columns},
        f"SELECT {USER_ID}, {lists}, any_value(generation) AS generation FROM recommendation GROUP BY {USER_ID}",  # noqa: S608
    )


# Codes are INTEGER[], because Feast turns lists of small unsigned integers into floats if other rows are NULL.
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
    "user_top_k": _user_top_k(),
    "user_profile": ExportedView(
        "user_id",
        {"market": "VARCHAR", "attributes": "VARCHAR"},
        "SELECT user_id, market, attributes::VARCHAR AS attributes, generation FROM user_profile",
    ),
}
# A generation of an earlier version lacks the table of these views, and has no rows for them.
_LATER_TABLES = ("user_profile",)


def feature_file(layout: ProjectLayout, view: str, publication: int) -> Path:
    """Return the path of a view's file for a publication, such as ``features/item_code/000003.parquet``."""
    return layout.features / view / f"{publication:06d}.parquet"


def feature_files(layout: ProjectLayout, publication: int) -> list[Path]:
    """Return the paths of the files of a publication, whether they exist or not."""
    return [feature_file(layout, view, publication) for view in VIEWS]


def exported_publications(layout: ProjectLayout, view: str) -> list[int]:
    """Return the publications for which a view has a file, oldest first."""
    return sorted(int(path.stem) for path in (layout.features / view).glob("*.parquet") if path.stem.isdecimal())


def export_features(layout: ProjectLayout, store: DuckDBStore) -> list[int]:
    """Write the missing files of all publications, and return the publications that lacked files."""
    with features_lock(layout, store.wait):
        return export_publications(layout, publications(store))


def export_publications(layout: ProjectLayout, known: Sequence[Publication]) -> list[int]:
    """Do the work of :func:`export_features` for a caller that holds the lock.

    Args:
        known: every publication, oldest first. Publications of a pruned generation are left out. So are those before the
            first one that has all its files, because a prune has removed their files.
    """
    written = []
    first = next((index for index, entry in enumerate(known) if _has_all_files(layout, entry)), 0)
    for publication in known[first:]:
        source = generation_path(layout, publication.generation)
        missing = [
            view for view in VIEWS if not _is_exported(feature_file(layout, view, publication.publication), publication)
        ]
        if missing and source == layout.generation_file(publication.generation):
            with open_generation(source) as generation:
                for view in missing:
                    _export(layout, view, publication, generation)
            written.append(publication.publication)
    return written


def _has_all_files(layout: ProjectLayout, publication: Publication) -> bool:
    return all(_is_exported(file, publication) for file in feature_files(layout, publication.publication))


def _is_exported(file: Path, publication: Publication) -> bool:
    """Return whether a file belongs to this publication. A new warehouse counts publications from 1 again."""
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


def has_rows(layout: ProjectLayout, view: str) -> bool:
    """Return whether any exported file of a view has rows. Feast cannot load a view without any."""
    files = (feature_file(layout, view, number) for number in exported_publications(layout, view))
    return any(pq.read_metadata(file).num_rows for file in files)


def _rows(view: ExportedView, name: str, generation: duckdb.DuckDBPyConnection) -> str:
    """Return the SQL query for the rows of a view in a generation file; without rows if the file lacks the table."""
    if name in _LATER_TABLES:
        found = generation.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = $1", [name]).fetchall()
        if not found[0][0]:
            nulls = ", ".join(f"NULL::{kind} AS {feature}" for feature, kind in view.features.items())
            return f"SELECT NULL::VARCHAR AS {view.key}, {nulls}, NULL::BIGINT AS generation WHERE false"
    return view.rows


def _export(layout: ProjectLayout, name: str, publication: Publication, generation: duckdb.DuckDBPyConnection) -> None:
    view = VIEWS[name]
    before = [number for number in exported_publications(layout, name) if number < publication.publication]
    own = rows = _rows(view, name, generation)
    values: dict[str, object] = {"published_at": publication.published_at.replace(tzinfo=None)}
    if before:
        # Names and types of this module, never input of a user.
        nulls = ", ".join(f"NULL::{kind} AS {feature}" for feature, kind in view.features.items())
        rows += (
            f" UNION ALL BY NAME SELECT {view.key}, {nulls}, NULL::BIGINT AS generation FROM read_parquet($before)"  # noqa: S608
            f" WHERE generation IS NOT NULL AND {view.key} NOT IN (SELECT {view.key} FROM ({own}))"
        )
        values["before"] = one_file(feature_file(layout, name, before[-1]))
    statement = f"SELECT *, $published_at::TIMESTAMP AS event_timestamp FROM ({rows}) ORDER BY {view.key}"  # noqa: S608
    target = feature_file(layout, name, publication.publication)
    with database_errors(target), atomic_path(target) as temporary:
        write_parquet(generation.sql(statement, params=values), temporary)
