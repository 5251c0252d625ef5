"""``semconv run``: everything that is due."""

from __future__ import annotations

import click

from semconv_cli import output
from semconv_cli.options import Command, json_option
from semconv_cli.state import State, pass_state


@click.command("run", cls=Command, short_help="Do what is due, publish, hand the features to Feast.")
@click.option("--refit", is_flag=True, help="Redo embeddings, code books and tuning too.")
@json_option
@pass_state
def run_command(state: State, refit: bool, as_json: bool) -> None:
    """Do what is due, in order, then publish and hand the features to Feast; says what is stale but kept."""
    with state.open() as project:
        result = project.run(refit=refit)
    if as_json:
        output.write_json(result)
        return
    output.write_rows(result["stages"], columns=["stage", "state", "seconds", "run_id"])
    if publication := output.plain(result.get("publication")):
        state.remark("published generation {generation} at {published_at}".format(**publication))
