"""``semconv run``: the nightly job, from new interactions to published lists."""

from __future__ import annotations

from collections import Counter

import click

from semconv_cli import output
from semconv_cli.options import Job, force_option, json_option
from semconv_cli.state import State, pass_state


@click.command("run", cls=Job, short_help="Run the stages that are due, publish, update Feast.")
@click.option("--refit", is_flag=True, help="Also recompute vectors, codes and the model.")
@force_option
@json_option
@pass_state
def run_command(state: State, refit: bool, force: bool, as_json: bool) -> None:
    """Run all stages that are due, publish the lists and update Feast. Run this command every night.

    Without --refit, the vectors, the codes of known items and the model stay the same. The command reports when a refit
    is due. If a gate fails, nothing is published and the command ends with exit code 1.
    """
    with state.open() as project:
        result = project.run(refit=refit, force=force)
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
