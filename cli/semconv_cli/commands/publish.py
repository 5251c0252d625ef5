"""``semconv publish``: put a generation in place."""

from __future__ import annotations

import click

from semconv_cli import output
from semconv_cli.options import Job, json_option
from semconv_cli.state import State, pass_state


@click.command("publish", cls=Job, short_help="Make the newest lists what SQL users see, or roll back.")
@click.option("--rollback", is_flag=True, help="Put the generation that was published before in place again.")
@json_option
@pass_state
def publish_command(state: State, rollback: bool, as_json: bool) -> None:
    """Check the newest lists and make them what SQL users see, at once and whole."""
    with state.open() as project:
        publication = project.rollback() if rollback else project.publish()
    state.note({"publication": publication.publication}, generation=publication.generation)
    if publication.is_new:
        state.remark("Feast follows with `semconv features materialize`")
    if as_json:
        output.write_json(publication)
    else:
        output.write_fields(output.plain(publication))
