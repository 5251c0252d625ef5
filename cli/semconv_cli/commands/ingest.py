"""``semconv ingest``: read files into the warehouse and report what became of each row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from semconv_cli import output
from semconv_cli.options import Group, Job, json_option
from semconv_cli.state import State, pass_state

if TYPE_CHECKING:
    from semconv_warehouse.ingest import IngestReport

F = TypeVar("F", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path)


@click.group("ingest", cls=Group, short_help="Read interactions and items from files.")
def ingest_command() -> None:
    """Read interactions and items: Parquet, CSV or JSON lines, also .gz."""


def _mapping(ctx: click.Context, param: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    mapping: dict[str, str] = {}
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs):
            raise click.BadParameter(f"{pair!r} is not OURS=THEIRS, such as event_time=timestamp", ctx, param)
        if ours in mapping:
            raise click.BadParameter(f"{ours} is mapped twice; give each column once", ctx, param)
        mapping[ours] = theirs
    return mapping


def _row_options(command: F) -> F:
    for option in (
        json_option,
        click.option(
            "--rejected", type=_FILE, metavar="FILE", help="Write the rejected rows and their reasons to this file."
        ),
    ):
        command = option(command)
    return command


def _input_options(command: F) -> F:
    for option in (
        click.option(
            "--from-sql",
            nargs=2,
            metavar="URL QUERY",
            callback=_one_kind,
            help="Read the rows of a SELECT through SQLAlchemy instead of files. See the documentation for passwords.",
        ),
        click.argument("files", nargs=-1, type=_FILE, is_eager=True),
    ):
        command = option(command)
    return command


def _one_kind(ctx: click.Context, param: click.Parameter, query: tuple[str, str] | None) -> tuple[str, str] | None:
    if bool(ctx.params.get("files")) == (query is not None):
        raise click.UsageError("give FILES, or --from-sql URL QUERY", ctx)
    return query


def _map_option(command: F) -> F:
    return click.option(
        "--map",
        "mapping",
        multiple=True,
        callback=_mapping,
        metavar="OURS=THEIRS",
        help="Read our column OURS from the file's column THEIRS, as in event_time=timestamp; repeatable.",
    )(command)


def _print(state: State, report: IngestReport, as_json: bool, rejected: Path | None) -> None:
    names = ("read", "added", "updated", "duplicate", "removed", "restored")
    state.note({**{name: getattr(report, name) for name in names}, "rejected": sum(report.rejected.values())})
    if as_json:
        output.write_json(report.to_dict())
    else:
        output.write("\n".join(report.summary()))
    if rejected is not None and report.rejected:
        state.remark(f"rejected rows: {rejected}")


@ingest_command.command("interactions", cls=Job)
@_input_options
@_map_option
@click.option(
    "--order",
    type=click.Choice(["file"]),
    help="Order each user's interactions as in the file, if it has neither event_time nor source_position.",
)
@_row_options
@pass_state
def ingest_interactions(
    state: State,
    files: tuple[Path, ...],
    from_sql: tuple[str, str] | None,
    mapping: dict[str, str],
    order: str | None,
    rejected: Path | None,
    as_json: bool,
) -> None:
    """Add interactions, one a row. Required columns: user_id, item_id, and event_time or source_position. Optional: rating, query.

    A row that was ingested before changes nothing. New rows of a known user extend the user's sequence.
    """
    with state.open() as project, project.inputs(files, from_sql) as inputs:
        report = project.ingest_interactions(inputs, mapping, order_by_file=order == "file", rejected=rejected)
    _print(state, report, as_json, rejected)


@ingest_command.command("items", cls=Job)
@_input_options
@_map_option
@click.option("--snapshot", is_flag=True, help="The files are the whole catalogue: mark all other items as removed.")
@_row_options
@pass_state
def ingest_items(
    state: State,
    files: tuple[Path, ...],
    from_sql: tuple[str, str] | None,
    mapping: dict[str, str],
    snapshot: bool,
    rejected: Path | None,
    as_json: bool,
) -> None:
    """Add or update items, one a row. Required column: item_id. Optional: title, description, brand, categories.

    Other columns are kept as attributes, except those of bytes.
    """
    with state.open() as project, project.inputs(files, from_sql) as inputs:
        report = project.ingest_items(inputs, mapping, snapshot=snapshot, rejected=rejected)
    _print(state, report, as_json, rejected)


@ingest_command.command("amazon", cls=Job)
@click.option("--reviews", required=True, type=_FILE, metavar="FILE", help="Reviews of one category, 2018 edition.")
@click.option("--meta", required=True, type=_FILE, metavar="FILE", help="Product metadata of the same category.")
@_row_options
@pass_state
def ingest_amazon(state: State, reviews: Path, meta: Path, rejected: Path | None, as_json: bool) -> None:
    """Read one category of the Amazon reviews of 2018. Reviews become interactions with queries, metadata becomes items."""
    with state.open() as project:
        report = project.ingest_amazon(reviews, meta, rejected=rejected)
    _print(state, report, as_json, rejected)


@ingest_command.command("movielens", cls=Job)
@click.argument("directory", type=_FILE)
@_row_options
@pass_state
def ingest_movielens(state: State, directory: Path, rejected: Path | None, as_json: bool) -> None:
    """Read a MovieLens folder. Ratings become interactions, movies become items."""
    with state.open() as project:
        report = project.ingest_movielens(directory, rejected=rejected)
    _print(state, report, as_json, rejected)
