"""Ingest of two public data sets in their original files, which are Amazon reviews 2018 and MovieLens."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl

from semconv.columns import BRAND, CATEGORIES, DESCRIPTION, EVENT_TIME, ITEM_ID, QUERY, RATING, TITLE, USER_ID
from semconv.errors import InputError
from semconv_warehouse.ingest import interactions, items
from semconv_warehouse.ingest.readers import Source, open_source
from semconv_warehouse.ingest.report import IngestReport, combined, rejected_file
from semconv_warehouse.store.duckdb_store import DuckDBStore

_AMAZON_REVIEWS: Final = {USER_ID: "reviewerID", ITEM_ID: "asin", EVENT_TIME: "unixReviewTime"}
_AMAZON_META: Final = {
    ITEM_ID: "asin",
    TITLE: "title",
    DESCRIPTION: "description",
    BRAND: "brand",
    CATEGORIES: "category",
}
_MOVIELENS_RATINGS: Final = {USER_ID: "userId", ITEM_ID: "movieId", EVENT_TIME: "timestamp", RATING: "rating"}
_MOVIELENS_MOVIES: Final = {ITEM_ID: "movieId", TITLE: "title", CATEGORIES: "genres"}
_NO_GENRE = "(no genres listed)"


def ingest_amazon(
    store: DuckDBStore, reviews: Path, meta: Path, *, rejected: Path | None = None, no_formulas: bool = False
) -> IngestReport:
    """Add Amazon 2018 reviews and product metadata (JSON lines, plain or .gz) in one transaction.

    The query of an interaction is the summary and text of the review. Times are whole days, so interactions of one user
    on the same day keep the order of the file.
    """
    source, known = _amazon(reviews, _AMAZON_REVIEWS), _amazon(meta, {ITEM_ID: _AMAZON_META[ITEM_ID]})
    mapping = dict(_AMAZON_REVIEWS)
    if source.has("overall"):
        mapping[RATING] = "overall"
    if texts := [name for name in ("summary", "reviewText") if source.has(name)]:
        mapping[QUERY] = "+".join(texts)
    meta_mapping = {ours: theirs for ours, theirs in _AMAZON_META.items() if ours == ITEM_ID or known.has(theirs)}
    with rejected_file(rejected, no_formulas=no_formulas) as rows:
        read = interactions.read_interactions(store, [reviews], mapping, rows)
        catalogue = items.read_items([meta], meta_mapping, rows)
    return _merge(store, read, catalogue)


def _amazon(file: Path, needed: Mapping[str, str]) -> Source:
    source = open_source(Path(file))
    if missing := [name for name in needed.values() if not source.has(name)]:
        raise InputError(
            f"{file}: no column {', '.join(missing)}, so it is not a file of the Amazon reviews of 2018; "
            "read other files with `semconv ingest interactions` and `semconv ingest items`"
        )
    return source


def ingest_movielens(
    store: DuckDBStore, directory: Path, *, rejected: Path | None = None, no_formulas: bool = False
) -> IngestReport:
    """Add ``ratings.csv`` and ``movies.csv`` of a MovieLens folder in one transaction; genres become categories."""
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder; name the folder of ratings.csv and movies.csv")
    with rejected_file(rejected, no_formulas=no_formulas) as rows:
        movies = items.read_items([directory / "movies.csv"], _MOVIELENS_MOVIES, rows)
        ratings = interactions.read_interactions(store, [directory / "ratings.csv"], _MOVIELENS_RATINGS, rows)
    genres = pl.col(CATEGORIES).list.set_difference(pl.lit([_NO_GENRE]))
    genres = pl.when(genres.list.len() > 0).then(pl.col(CATEGORIES).list.filter(pl.element() != _NO_GENRE))
    movies = dataclasses.replace(movies, rows=movies.rows.with_columns(genres.alias(CATEGORIES)))
    return _merge(store, ratings, movies)


def _merge(store: DuckDBStore, read: interactions.Interactions, catalogue: items.Items) -> IngestReport:
    with store.write() as connection:
        # Items first: otherwise the interactions would report these items as items without metadata.
        merged = items.merge(connection, catalogue)
        added = interactions.merge(connection, read)
        # These commands have no --map, so the user cannot do anything about unused columns.
        return combined([dataclasses.replace(added, unused_columns=()), merged])
