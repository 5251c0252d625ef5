"""``semconv ingest``: read interactions, items and users, and report how many rows were added or rejected."""

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
_DIALECT = "semconv.dialect"  # key of the options in click's context


@click.group("ingest", cls=Group, short_help="Read interactions, items and users from files.")
def ingest_command() -> None:
    """Read interactions, items and users into the warehouse from Parquet, CSV or JSON, also compressed as .gz."""


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


def _say(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep an option about the text of files for :func:`_dialect`."""
    if value is not None:
        ctx.meta.setdefault(_DIALECT, {})[param.name] = value


def _dialect() -> dict[str, Any]:
    """Return what the options say about the text of files."""
    said: dict[str, Any] = click.get_current_context().meta.get(_DIALECT, {})
    return said


def _dialect_options(command: F) -> F:
    for option in (
        click.option(
            "--no-header",
            "has_header",
            flag_value=False,
            default=None,
            type=bool,
            callback=_say,
            expose_value=False,
            help="The first row of a CSV file is data. Name the columns by their position from 1, such as --map user_id=1.",
        ),
        click.option(
            "--date-format",
            metavar="FORM",
            callback=_say,
            expose_value=False,
            help="Read event_time in this form, such as '%d/%m/%Y %H:%M'. The signs are those of strftime.",
        ),
        click.option(
            "--encoding",
            metavar="NAME",
            callback=_say,
            expose_value=False,
            help="Read text files in this encoding, such as cp1252.  [default: UTF-8, or the one that the bytes show]",
        ),
        click.option(
            "--decimal",
            type=click.Choice([".", ","]),
            callback=_say,
            expose_value=False,
            help="The decimal sign of numbers in text.  [default: .]",
        ),
        click.option(
            "--delimiter",
            metavar="TEXT",
            callback=_say,
            expose_value=False,
            help="The text between two fields of a CSV file, such as ';', '\\t' or '::'. A file with another suffix than .csv is"
            " read as CSV then.  [default: comma; tab for .tsv]",
        ),
    ):
        command = option(command)
    return command


def _row_options(command: F) -> F:
    for option in (
        json_option,
        click.option(
            "--no-formulas",
            is_flag=True,
            callback=_needs_csv,
            help="With --rejected FILE.csv: put an apostrophe before each text that a spreadsheet would compute as a formula.",
        ),
        click.option(
            "--rejected",
            type=_FILE,
            metavar="FILE",
            is_eager=True,
            help="Write each rejected row, with the reason, to this file: CSV if its name ends with .csv, else JSON lines.",
        ),
    ):
        command = option(command)
    return command


def _needs_csv(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    rejected = ctx.params.get("rejected")
    if value and (rejected is None or rejected.suffix != ".csv"):
        raise click.UsageError("--no-formulas is for --rejected FILE.csv; give both", ctx)
    return value


def _needs_snapshot(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    if value and not ctx.params.get("snapshot"):
        raise click.UsageError("--force is for --snapshot; give both", ctx)
    return value


def _input_options(command: F) -> F:
    for option in (
        click.option(
            "--from-sql",
            nargs=2,
            metavar="URL QUERY",
            callback=_one_kind,
            help="Read the rows of a SELECT statement from a database instead of files. URL is the SQLAlchemy"
            " URL of the database. docs/data.md says how to keep passwords out of the URL.",
        ),
        click.argument("files", nargs=-1, type=_FILE, is_eager=True),
    ):
        command = option(command)
    return _dialect_options(command)


def _one_kind(ctx: click.Context, param: click.Parameter, query: tuple[str, str] | None) -> tuple[str, str] | None:
    if bool(ctx.params.get("files")) == (query is not None):
        raise click.UsageError("give either FILES or --from-sql URL QUERY", ctx)
    return query


def _map_option(command: F) -> F:
    return click.option(
        "--map",
        "mapping",
        multiple=True,
        callback=_mapping,
        metavar="OURS=THEIRS",
        help="Read semconv's column OURS from the input's column THEIRS, such as event_time=timestamp. A nested field"
        " is named with points, such as title=name.de. Repeatable.",
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
    help="Use the order of the rows in the file as the order of each user's interactions. The input must have neither"
    " event_time nor source_position.",
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
    no_formulas: bool,
    as_json: bool,
) -> None:
    """Add interactions to the warehouse. Each row of the input is one interaction or another event.

    Required columns: user_id, item_id, and event_time or source_position. Optional columns: rating, query, event_type.
    Rows that were ingested before change nothing. New rows of a known user extend the user's sequence.
    """
    with state.open() as project, project.inputs(files, from_sql, _dialect()) as inputs:
        report = project.ingest_interactions(
            inputs, mapping, order_by_file=order == "file", rejected=rejected, no_formulas=no_formulas
        )
    _print(state, report, as_json, rejected)


@ingest_command.command("items", cls=Job)
@_input_options
@_map_option
@click.option(
    "--snapshot",
    is_flag=True,
    is_eager=True,
    help="Treat the files as the whole catalogue, and mark all items that are not in the files as removed.",
)
@click.option(
    "--force",
    is_flag=True,
    callback=_needs_snapshot,
    help="With --snapshot: store the snapshot although it removes more items than the setting gates.max_removed allows.",
)
@_row_options
@pass_state
def ingest_items(
    state: State,
    files: tuple[Path, ...],
    from_sql: tuple[str, str] | None,
    mapping: dict[str, str],
    snapshot: bool,
    force: bool,
    rejected: Path | None,
    no_formulas: bool,
    as_json: bool,
) -> None:
    """Add items to the warehouse, or update them. Each row of the input is one item.

    Required column: item_id. Optional columns: title, description, brand, categories. All other columns except binary
    columns are stored as attributes of the item.
    """
    with state.open() as project, project.inputs(files, from_sql, _dialect()) as inputs:
        report = project.ingest_items(
            inputs, mapping, snapshot=snapshot, force=force, rejected=rejected, no_formulas=no_formulas
        )
    _print(state, report, as_json, rejected)


@ingest_command.command("users", cls=Job)
@_input_options
@_map_option
@_row_options
@pass_state
def ingest_users(
    state: State,
    files: tuple[Path, ...],
    from_sql: tuple[str, str] | None,
    mapping: dict[str, str],
    rejected: Path | None,
    no_formulas: bool,
    as_json: bool,
) -> None:
    """Add profiles of users to the warehouse, or update them. Each row of the input is one user.

    Required column: user_id. Optional column: market. All other columns except binary columns are stored as attributes
    of the user. A user without interactions is stored too.
    """
    with state.open() as project, project.inputs(files, from_sql, _dialect()) as inputs:
        report = project.ingest_users(inputs, mapping, rejected=rejected, no_formulas=no_formulas)
    _print(state, report, as_json, rejected)


@ingest_command.command("amazon", cls=Job)
@click.option(
    "--reviews", required=True, type=_FILE, metavar="FILE", help="Amazon's file with the reviews of one category."
)
@click.option(
    "--meta", required=True, type=_FILE, metavar="FILE", help="Amazon's file with the products of the same category."
)
@_row_options
@pass_state
def ingest_amazon(
    state: State, reviews: Path, meta: Path, rejected: Path | None, no_formulas: bool, as_json: bool
) -> None:
    """Read one category of the Amazon reviews of 2018.

    Each review becomes an interaction, with the review text as its query. Each product becomes an item.
    """
    with state.open() as project:
        report = project.ingest_amazon(reviews, meta, rejected=rejected, no_formulas=no_formulas)
    _print(state, report, as_json, rejected)


@ingest_command.command("movielens", cls=Job)
@click.argument("directory", type=_FILE)
@_row_options
@pass_state
def ingest_movielens(state: State, directory: Path, rejected: Path | None, no_formulas: bool, as_json: bool) -> None:
    """Read the folder of a MovieLens data set. Each rating becomes an interaction, and each movie becomes an item."""
    with state.open() as project:
        report = project.ingest_movielens(directory, rejected=rejected, no_formulas=no_formulas)
    _print(state, report, as_json, rejected)


@ingest_command.command("lcrec", cls=Job, short_help="Read a data set in the files that LC-Rec publishes.")
@click.argument("directory", type=_FILE)
@json_option
@pass_state
def ingest_lcrec(state: State, directory: Path, as_json: bool) -> None:
    """Read a data set in the files that LC-Rec publishes: NAME.inter.json, NAME.item.json and NAME.index.json.

    The files keep the order of each user's items, and have no dates. `semconv codebook load` loads the codes in
    NAME.index.json, which may be missing. If anything in a file is wrong, nothing is stored.
    """
    with state.open() as project:
        report = project.ingest_lcrec(directory)
    _print(state, report, as_json, None)
