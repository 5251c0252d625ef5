"""The methods of a project that read interactions and items into its warehouse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semconv.data.event_rules import EventRules
from semconv_warehouse.showing import ShowingProject
from semconv_warehouse.store.leftovers import remove_leftovers

if TYPE_CHECKING:
    from semconv_warehouse.ingest import IngestReport
    from semconv_warehouse.ingest.readers import Input


class IngestingProject(ShowingProject):
    """An open project folder, with one method for each command of ``semconv ingest``."""

    @contextmanager
    def inputs(
        self, files: Sequence[Path], from_sql: tuple[str, str] | None = None, dialect: Mapping[str, Any] | None = None
    ) -> Iterator[Sequence[Input]]:
        """Give the inputs of an ingest: the files, or the rows of the query ``from_sql`` (URL, statement).

        The rows of a query are stored in ``data/`` during the block.

        Args:
            dialect: fields of :class:`~semconv_warehouse.ingest.files.dialect.Dialect` that the files do not show.

        Raises:
            SettingsError: a field of the dialect cannot be used.
        """
        remove_leftovers(self.layout)
        from semconv_warehouse.ingest.files.dialect import Dialect, Formatted
        from semconv_warehouse.ingest.sql_source import Query, spooled_query

        form = Dialect(**(dialect or {}))
        if from_sql is None:
            yield [Formatted(file, form) for file in files]
            return
        with spooled_query(Query(*from_sql), self.layout.data) as rows:
            yield [replace(rows, dialect=form)]

    def ingest_interactions(
        self,
        files: Sequence[Input],
        mapping: Mapping[str, str],
        *,
        order_by_file: bool = False,
        rejected: Path | None = None,
        no_formulas: bool = False,
    ) -> IngestReport:
        """Add events from Parquet, CSV or JSON lines; ``mapping`` is our column -> the input's column.

        The report names the event types that the settings give no weight.
        """
        remove_leftovers(self.layout)
        from semconv_warehouse import ingest

        report = ingest.ingest_interactions(
            self.store, files, mapping, order_by_file=order_by_file, rejected=rejected, no_formulas=no_formulas
        )
        rules = EventRules.of(self.settings.events.recorded())
        return replace(report, unlisted_types=tuple(rules.unlisted(list(report.types))))

    def ingest_items(
        self,
        files: Sequence[Input],
        mapping: Mapping[str, str],
        *,
        snapshot: bool = False,
        force: bool = False,
        rejected: Path | None = None,
        no_formulas: bool = False,
    ) -> IngestReport:
        """Add or update items; with ``snapshot``, items that the files lack are marked as removed.

        Args:
            force: store a snapshot that removes more items than ``gates.max_removed`` allows.

        Raises:
            GateFailedError: the snapshot would remove more items. No item is changed.
        """
        remove_leftovers(self.layout)
        from semconv_warehouse import ingest
        from semconv_warehouse.gates.gate import Guard

        guard = Guard(self.settings.gates, force, self.progress.say) if snapshot else False
        return ingest.ingest_items(
            self.store, files, mapping, snapshot=guard, rejected=rejected, no_formulas=no_formulas
        )

    def ingest_users(
        self,
        files: Sequence[Input],
        mapping: Mapping[str, str],
        *,
        rejected: Path | None = None,
        no_formulas: bool = False,
    ) -> IngestReport:
        """Add or update profiles of users: their market, and all other columns as attributes."""
        remove_leftovers(self.layout)
        from semconv_warehouse import ingest

        return ingest.ingest_users(self.store, files, mapping, rejected=rejected, no_formulas=no_formulas)

    def ingest_amazon(
        self, reviews: Path, meta: Path, *, rejected: Path | None = None, no_formulas: bool = False
    ) -> IngestReport:
        """Add the reviews and the metadata of one category of the Amazon reviews of 2018."""
        remove_leftovers(self.layout)
        from semconv_warehouse import ingest

        return ingest.ingest_amazon(self.store, reviews, meta, rejected=rejected, no_formulas=no_formulas)

    def ingest_movielens(
        self, directory: Path, *, rejected: Path | None = None, no_formulas: bool = False
    ) -> IngestReport:
        """Add a MovieLens folder with ratings.csv and movies.csv."""
        remove_leftovers(self.layout)
        from semconv_warehouse import ingest

        return ingest.ingest_movielens(self.store, directory, rejected=rejected, no_formulas=no_formulas)

    def ingest_lcrec(self, directory: Path) -> IngestReport:
        """Add the data set in a folder with the files NAME.inter.json and NAME.item.json, as LC-Rec publishes them."""
        remove_leftovers(self.layout)
        from semconv_warehouse import ingest

        return ingest.ingest_lcrec(self.store, directory)
