"""``semconv features``: define the features in Feast, fill its online store, and look features up."""

from __future__ import annotations

import click

from semconv_cli import output
from semconv_cli.options import Group, Job, json_option
from semconv_cli.state import State, pass_state


@click.group("features", cls=Group)
def features_command() -> None:
    """Load vectors, codes and lists into Feast, and look them up."""


@features_command.command("apply", cls=Job)
@json_option
@pass_state
def features_apply(state: State, as_json: bool) -> None:
    """Register the definitions of the folder feature_repo with Feast."""
    with state.open() as project:
        result = project.features_apply()
    output.write_result(result, as_json)


@features_command.command("materialize", cls=Job)
@click.option(
    "--again", is_flag=True, help="Load all rows again, because the server of the online store lost its data."
)
@json_option
@pass_state
def features_materialize(state: State, again: bool, as_json: bool) -> None:
    """Load the published generation into Feast's online store."""
    with state.open() as project:
        result = project.features_materialize(again=again)
    state.note({"publications_behind": result["publications_behind"]}, generation=result["published"]["generation"])
    output.write_result(result, as_json)


@features_command.command("status")
@json_option
@pass_state
def features_status(state: State, as_json: bool) -> None:
    """Show whether Feast's online store has the newest publication.

    The command prints the last publication, and the last publication that was loaded into the online store.
    """
    with state.open() as project:
        result = project.features_status()
    output.write_result(result, as_json)


@features_command.command("get")
@click.option("--user", "user_id", metavar="USER", help="Look up the features of this user.")
@click.option("--item", "item_id", metavar="ITEM", help="Look up the features of this item.")
@json_option
@click.pass_context
def features_get(ctx: click.Context, user_id: str | None, item_id: str | None, as_json: bool) -> None:
    """Look up one user or one item in Feast's online store."""
    if (user_id is None) == (item_id is None):
        raise click.UsageError("give one of --user and --item", ctx)
    with ctx.ensure_object(State).open() as project:
        result = project.features_get(user=user_id, item=item_id)
    output.write_result(result, as_json)
