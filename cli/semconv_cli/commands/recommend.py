"""``semconv recommend``: compute lists for all users, answer one query, or load external lists."""

from __future__ import annotations

from pathlib import Path

import click

from semconv.columns import Split
from semconv_cli import output, runs
from semconv_cli.options import FILE, DefaultGroup, Job, json_option, setting
from semconv_cli.state import State, pass_state


@click.group(
    "recommend",
    cls=DefaultGroup,
    invoke_without_command=True,
    short_help="Compute the best K items for users or for a query.",
)
@setting("--top-k", "recommend.top_k")
@setting("--beams", "recommend.beams")
@setting("--seen", "recommend.seen")
@setting("--engine", "recommend.engine")
@setting("--ray-actors", "recommend.ray_actors")
@click.option(
    "--users",
    "users_file",
    type=FILE,
    metavar="FILE",
    help="Compute lists only for the users in this file, which has one user_id per line.",
)
@click.option("--only-changed", is_flag=True, help="Compute only lists that may differ from the published lists.")
@click.option(
    "--split",
    type=click.Choice(["serve", "valid", "test"]),
    default="serve",
    show_default=True,
    help="Purpose of the lists. serve computes lists to publish, from whole histories. valid and test compute lists to"
    " evaluate, without the held-out items.",
)
@click.option(
    "--where",
    metavar="SQL",
    help="Recommend only items that meet this SQL condition on the columns of the table item. Lists that were computed"
    " with this option cannot be published.",
)
@click.option(
    "--query",
    metavar="TEXT",
    help="Answer this question in words with items instead of computing lists (docs/questions.md).",
)
@click.option("--user", "user_id", metavar="USER", help="With --query, also use the history of this user.")
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
    """Compute the best K items for every user. To continue a killed job, run the same command again."""
    selects = users_file is not None or only_changed or split != "serve"
    if ctx.invoked_subcommand is not None:
        if selects or where is not None or query is not None or user_id is not None:
            raise click.UsageError(
                f"put the options of `recommend {ctx.invoked_subcommand}` after `{ctx.invoked_subcommand}`", ctx
            )
        return
    state = ctx.ensure_object(State)
    if query is None:
        if user_id is not None:
            raise click.UsageError(
                "--user can be used only with --query; to compute lists for some users only, give --users FILE", ctx
            )
        state.start_job(ctx.command_path)
        with state.open() as project:
            record = project.recommend(split=split, users_file=users_file, only_changed=only_changed, where=where)
        runs.write_run(state, record, as_json)
        return
    if selects:
        raise click.UsageError("--query can be combined only with --user and --where", ctx)
    with state.open() as project:
        rows = project.recommend_query(query, user_id, where)
    output.write_rows(rows, form="json" if as_json else "table", columns=["rank", "item_id", "title", "score"])


@recommend_command.command("load", cls=Job)
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option(
    "--merge", is_flag=True, help="When these lists are published, let all other users keep their published lists."
)
@json_option
@pass_state
def recommend_load(state: State, files: tuple[Path, ...], merge: bool, as_json: bool) -> None:
    """Load lists that another program computed. FILES are Parquet files of user_id, rank, item_id and score.

    Without --merge, users who are not in FILES have no list after the next publish.
    """
    with state.open() as project:
        record = project.recommend_load(files, merge=merge)
    runs.write_run(state, record, as_json)
