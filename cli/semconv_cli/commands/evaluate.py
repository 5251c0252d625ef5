"""``semconv evaluate``: the model and the baselines side by side."""

from __future__ import annotations

import click

from semconv_cli import figures, output
from semconv_cli.options import Job, json_option, setting
from semconv_cli.state import State, pass_state


@click.command("evaluate", cls=Job, short_help="Figures of the model and the baselines side by side.")
@click.option("--against", metavar="RUN", help="Compare with another evaluate run, by a paired bootstrap over users.")
@setting("--seen", "recommend.seen")
@setting("--max-users", "evaluate.max_users")
@setting("--bootstrap-samples", "evaluate.bootstrap_samples")
@json_option
@pass_state
def evaluate_command(state: State, against: str | None, as_json: bool) -> None:
    """Hit ratio and NDCG on the held-out last items, with intervals, beside the baselines."""
    with state.open() as project:
        rows = project.evaluate(against=against)
    state.note({"figures": len(rows)}, runs=sorted({row["run_id"] for row in rows if "run_id" in row}))
    if as_json:
        output.write_json(rows)
    else:
        figures.write_figures(rows)
