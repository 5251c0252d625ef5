"""``semconv show``: print one user or one item of the served generation, statistics of the data, or the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from semconv.settings.presets import preset_names
from semconv_cli import output
from semconv_cli.options import Group, json_option
from semconv_cli.state import State, pass_state


@click.group("show", cls=Group)
def show_command() -> None:
    """Show a user, an item, figures of the data, or the settings."""


@show_command.command("user")
@click.argument("user_id")
@json_option
@pass_state
def show_user(state: State, user_id: str, as_json: bool) -> None:
    """Show the history and the top-K list of the user USER_ID."""
    with state.open() as project:
        user = project.show_user(user_id)
    _write(user, as_json)


@show_command.command("item")
@click.argument("item_id")
@json_option
@pass_state
def show_item(state: State, item_id: str, as_json: bool) -> None:
    """Show the text, codes and similar items of the item ITEM_ID."""
    with state.open() as project:
        item = project.show_item(item_id)
    _write(item, as_json)


@show_command.command("data")
@json_option
@pass_state
def show_data(state: State, as_json: bool) -> None:
    """Show counts of users, items and interactions.

    They are those of the paper's Table 2.

    Only users and items with interactions count. long_user_share is the share of the users with more than 20
    interactions. paper_data_set names the data set of the paper that has the same counts.
    """
    with state.open() as project:
        statistics = project.show_data()
    _write(statistics, as_json)


@show_command.command("settings")
@click.option(
    "--preset",
    type=click.Choice(preset_names()),
    help="Compare the settings with this preset. The table then has only settings of the preset; those that differ come"
    " first.",
)
@json_option
@pass_state
def show_settings(state: State, preset: str | None, as_json: bool) -> None:
    """Show every setting with its value and its source.

    The source of a value is the default, semconv.toml, an environment variable, or the command line.
    """
    with state.open() as project:
        rows = project.show_settings(preset)
    output.write_rows(rows, form="json" if as_json else "table")
    if preset is not None:
        state.remark(f"{sum(row['differs'] for row in rows)} of {len(rows)} settings differ from the preset {preset}")


def _write(record: Mapping[str, Any], as_json: bool) -> None:
    """Print the single values of a record first, then each of its lists of records as a table."""
    if as_json:
        output.write_json(record)
        return
    tables = {name: value for name, value in record.items() if isinstance(value, list) and _is_table(value)}
    output.write_fields({name: value for name, value in record.items() if name not in tables})
    for name, rows in tables.items():
        output.write(f"\n{name.replace('_', ' ')}")
        output.write_rows(rows)


def _is_table(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(row, Mapping) for row in value)
