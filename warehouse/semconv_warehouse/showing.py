"""The methods of a project that show its data: users, items, settings, and SQL over the served generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from semconv_warehouse.opened import OpenedProject

if TYPE_CHECKING:
    import pyarrow as pa


class ShowingProject(OpenedProject):
    """An open project folder, with one method for each command that only shows data."""

    def show_user(self, user_id: str) -> dict[str, Any]:
        """Return the history and the top-K list of a user, with titles."""
        from semconv_warehouse.serving import show

        return show.show_user(self.layout, user_id)

    def show_item(self, item_id: str) -> dict[str, Any]:
        """Return the text, the codes and the similar items of an item."""
        from semconv_warehouse.serving import show

        return show.show_item(self.layout, item_id)

    def show_data(self) -> dict[str, Any]:
        """Return statistics of the interactions, and the data set of the paper that has the same counts."""
        from semconv.data.statistics import data_statistics
        from semconv_warehouse.experiments.published import paper_data_set

        with self.store.snapshot():
            found = data_statistics(self.store.sequences(), len(self.store.catalog()))
        return {**asdict(found), "paper_data_set": paper_data_set(found)}

    def show_settings(self, preset: str | None = None) -> list[dict[str, Any]]:
        """Return every setting with its value, its source and its default.

        Args:
            preset: return only the settings of this preset, each also with the preset's value, the source of that value,
                and whether the setting differs from the preset.

        Raises:
            SettingsError: there is no preset of this name.
        """
        from semconv.settings.load import setting_values
        from semconv.settings.presets import compared

        values = setting_values(self.layout.settings_file, overrides=self.overrides)
        if preset is None:
            return [asdict(row) for row in values]
        return [asdict(row) for row in compared(values, preset)]

    def sql(self, statement: str, *, limit: int | None = None, parameters: Mapping[str, str] | None = None) -> pa.Table:
        """Run a statement that reads the served generation; it gets a parameter with ``getvariable('name')``."""
        from semconv_warehouse.serving import query

        return query.query(self.layout, statement, limit, parameters)

    def sql_query(self, name: str, *, limit: int | None = None, parameters: Mapping[str, str]) -> pa.Table:
        """Run a query of the cookbook on the served generation."""
        from semconv_warehouse.serving.cookbook import cookbook_query

        return self.sql(cookbook_query(name, parameters).statement, limit=limit, parameters=parameters)
