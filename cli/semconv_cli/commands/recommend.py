"""``semconv recommend``: top-K for every user, for one question, or made elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from semconv.columns import Split
from semconv_cli import output, runs
from semconv_cli.options import DefaultGroup, Job, json_option, setting
from semconv_cli.state import State, pass_state

_FILE = click.Path(path_type=Path)


@click.group(
    "recommend", cls=DefaultGroup, invoke_without_command=True, short_help="Compute the top-K of every user, or of one."
)
@setting("--top-k", "recommend.top_k")
@setting("--beams", "recommend.beams")
@setting("--seen", "recommend.seen")
@setting("--engine", "recommend.engine")
@setting("--ray-actors", "recommend.ray_actors")
@click.option("--users", "users_file", type=_FILE, metavar="FILE", help="Only these users, one user_id a line.")
@click.option("--only-changed", is_flag=True, help="Only users whose list may be another than the published one.")
@click.option(
    "--split",
    type=click.Choice(["serve", "valid", "test"]),
    default="serve",
    show_default=True,
    help="serve sees whole histories and can be published; valid and test hold items out, to be evaluated.",
)
@click.option(
    "--where",
    metavar="SQL",
    help="A condition on the table item, for this run or this question; such a run cannot be published.",
)
@click.option("--query", metavar="TEXT", help="Answer one question on screen.")
@click.option("--user", "user_id", metavar="USER", help="With --query: whose history to consider.")
@json_option
@click.pass_context
def recommend_command(
    ctx: click.Context,
    users_file: Path | None,
    only_changed: bool,
    split: Split,
    where: str | None,
    query: str | None,
    user_id: str | None,
    as_json: bool,
) -> None:
    """Compute the top-K of every user; a killed run goes on where it stopped."""
    selects = users_file is not None or only_changed or where is not None or split != "serve"
    if ctx.invoked_subcommand is not None:
        if selects or query is not None or user_id is not None:
            raise click.UsageError(f"recommend {ctx.invoked_subcommand} takes none of these options", ctx)
        return
    state = ctx.ensure_object(State)
    if query is None:
        if user_id is not None:
            raise click.UsageError("--user goes with --query; for lists of some users give --users FILE", ctx)
        state.begin(ctx.command_path)
        with state.open() as project:
            record = project.recommend(split=split, users_file=users_file, only_changed=only_changed, where=where)
        runs.write_run(state, record, as_json)
        return
    if users_file is not None or only_changed or split != "serve":
        raise click.UsageError("--query answers one question; of the other options it takes --user and --where", ctx)
    with state.open() as project:
        rows = project.recommend_query(query, user_id, where)
    output.write_rows(rows, form="json" if as_json else "table", columns=["rank", "item_id", "title", "score"])


@recommend_command.command("load", cls=Job)
@click.argument("files", nargs=-1, required=True, type=_FILE)
@json_option
@pass_state
def recommend_load(state: State, files: tuple[Path, ...], as_json: bool) -> None:
    """Take lists made elsewhere as a run. Parquet parts of user_id, rank, item_id, score; validated."""
    with state.open() as project:
        record = project.recommend_load(files)
    runs.write_run(state, record, as_json)
