"""``semconv run``: the nightly job."""

from __future__ import annotations

from collections import Counter

import click

from semconv_cli import output
from semconv_cli.options import Job, json_option
from semconv_cli.state import State, pass_state


@click.command("run", cls=Job, short_help="Compute what is due, publish it and update Feast.")
@click.option("--refit", is_flag=True, help="Compute vectors, codes and the model again too.")
@json_option
@pass_state
def run_command(state: State, refit: bool, as_json: bool) -> None:
    """Run all stages that are due, publish the lists and update Feast. The command for every night.

    Vectors, codes and the model are kept until --refit. If they are outdated, the command reports this.
    """
    with state.open() as project:
        result = project.run(refit=refit)
    stages, publication = result["stages"], output.plain(result.get("publication"))
    if publication:
        states = Counter(row["state"].partition(" ")[0] for row in stages)
        runs = [row["run_id"] for row in stages if row["state"] == "done"]
        counts = {f"stages_{name}": number for name, number in states.items()}
        state.note(counts, runs=runs, generation=publication["generation"])
    if as_json:
        output.write_json(result)
        return
    output.write_rows(stages, columns=["stage", "state", "seconds", "run_id"])
    if publication:
        state.remark("published generation {generation} at {published_at}".format(**publication))
