"""Ingest of public data sets in their original files: Amazon reviews 2018, MovieLens, and the files of LC-Rec."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl

from semconv.columns import (
    BRAND,
    CATEGORIES,
    DESCRIPTION,
    EVENT_TIME,
    ITEM_ID,
    QUERY,
    RATING,
    SOURCE_POSITION,
    TITLE,
    USER_ID,
)
from semconv.errors import InputError
from semconv_warehouse.ingest import interactions, items
from semconv_warehouse.ingest.lcrec import LcRecFiles, read_lcrec
from semconv_warehouse.ingest.merge import stored_order
from semconv_warehouse.ingest.readers import Dialect, Formatted, Input, Source, open_source
from semconv_warehouse.ingest.report import IngestReport, combined, rejected_file
from semconv_warehouse.ingest.spool import spool_folder
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
# The sets of 1 and 10 million ratings have no header; their columns are named by position.
_OLD_MOVIELENS: Final = Dialect(delimiter="::", has_header=False)
_OLD_RATINGS: Final = {USER_ID: "1", ITEM_ID: "2", RATING: "3", EVENT_TIME: "4"}
_OLD_MOVIES: Final = {ITEM_ID: "1", TITLE: "2", CATEGORIES: "3"}
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
    with spool_folder(store.layout.data) as folder:
        with rejected_file(rejected, [reviews, meta], store.layout.data, no_formulas=no_formulas) as rows:
            read = interactions.read_interactions(store, [reviews], mapping, rows, folder)
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
    """Add the ratings and the movies of a MovieLens folder in one transaction; genres become categories.

    The folder has ``ratings.csv`` and ``movies.csv``, or ``ratings.dat`` and ``movies.dat`` as in the sets of 1 and 10
    million ratings.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder; name the folder of ratings.csv and movies.csv")
    rating_file, movie_file, rating_columns, movie_columns = _movielens(directory)
    genres = pl.col(CATEGORIES).list.set_difference(pl.lit([_NO_GENRE]))
    genres = pl.when(genres.list.len() > 0).then(pl.col(CATEGORIES).list.filter(pl.element() != _NO_GENRE))
    with spool_folder(store.layout.data) as folder:
        with rejected_file(rejected, [movie_file, rating_file], store.layout.data, no_formulas=no_formulas) as rows:
            movies = items.read_items([movie_file], movie_columns, rows)
            ratings = interactions.read_interactions(store, [rating_file], rating_columns, rows, folder)
        movies = dataclasses.replace(movies, rows=movies.rows.with_columns(genres.alias(CATEGORIES)))
        return _merge(store, ratings, movies)


def _movielens(directory: Path) -> tuple[Input, Input, Mapping[str, str], Mapping[str, str]]:
    """Return the files of ratings and movies of a MovieLens folder, and the names of their columns."""
    if (directory / "ratings.dat").exists():
        files = [Formatted(directory / name, _OLD_MOVIELENS) for name in ("ratings.dat", "movies.dat")]
        return files[0], files[1], _OLD_RATINGS, _OLD_MOVIES
    if (directory / "u.data").exists():
        raise InputError(
            f"{directory}: the layout of MovieLens 100k, which this command does not read; docs/recipes.md has its commands"
        )
    return directory / "ratings.csv", directory / "movies.csv", _MOVIELENS_RATINGS, _MOVIELENS_MOVIES


def ingest_lcrec(store: DuckDBStore, directory: Path) -> IngestReport:
    """Add the only data set of LC-Rec in a folder in one transaction. Codes are checked, and stay in their file.

    Raises:
        InputError: the folder has no data set or several, a file is damaged, one file lacks items of another, a row
            cannot be used, or the sequences of the project are not ordered by position. The warehouse is unchanged then.
    """
    files = LcRecFiles.of(Path(directory))
    with store.read() as connection:
        fixed = stored_order(connection)
    if fixed not in (None, SOURCE_POSITION):
        raise InputError(
            f"{files.sequences}: gives each item a position and no time, but the sequences of this project are ordered by {fixed}"
            " since its first ingest; ingest the files into a new project"
        )
    data = read_lcrec(files)
    with spool_folder(store.layout.data) as folder:
        with rejected_file(None, [], store.layout.data) as rows:
            catalogue = items.read_items([data.items], {}, rows)
            read = interactions.read_interactions(store, [data.interactions], {}, rows, folder)
        if rows.counts:
            reason, number = rows.counts.most_common(1)[0]
            raise InputError(
                f"{directory}: {number:,} rows cannot be used ({reason}); download the files of the data set again"
            )
        odd = {
            **read.odd,
            "users with an empty list, which are left out": data.num_empty,
            'interactions that repeat an earlier one, which count if events.repeats = "keep"': data.num_repeats,
        }
        return dataclasses.replace(_merge(store, dataclasses.replace(read, odd=odd), catalogue), codes=data.codes)


def _merge(store: DuckDBStore, read: interactions.Interactions, catalogue: items.Items) -> IngestReport:
    with store.write() as connection:
        # Items first: otherwise the interactions would report these items as items without metadata.
        merged = items.merge(connection, catalogue)
        added = interactions.merge(connection, read)
        # These commands have no --map, so the user cannot do anything about unused columns.
        return combined([dataclasses.replace(added, unused_columns=()), merged])
