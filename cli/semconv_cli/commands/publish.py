"""``semconv publish``: publish the newest lists, or serve the previous generation again."""

from __future__ import annotations

import click

from semconv_cli import output
from semconv_cli.options import Job, force_option, json_option
from semconv_cli.state import State, pass_state


@click.command("publish", cls=Job, short_help="Serve the newest lists to SQL readers, or roll back.")
@click.option("--rollback", is_flag=True, help="Serve the previous generation again, instead of publishing new lists.")
@force_option
@json_option
@pass_state
def publish_command(state: State, rollback: bool, force: bool, as_json: bool) -> None:
    """Check the newest lists and publish them as a generation.

    SQL readers see either the old generation or the new one, never a mixture of both. Gates compare the new lists with
    the published ones first (docs/operations.md).
    """
    if rollback and force:
        raise click.UsageError("--rollback passes no gates, so leave out --force")
    with state.open() as project:
        publication = project.rollback() if rollback else project.publish(force=force)
    state.note({"publication": publication.publication}, generation=publication.generation)
    if publication.is_new:
        state.remark("to update Feast too, run `semconv features materialize`")
    output.write_result(publication, as_json)
