"""``semconv evaluate``: the model and the baselines side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from semconv_cli import figures, output
from semconv_cli.options import Job, json_option, setting
from semconv_cli.state import State, pass_state


@click.command("evaluate", cls=Job, short_help="Figures of the model and the baselines side by side.")
@click.option(
    "--split",
    type=click.Choice(["test", "valid"]),
    default="test",
    show_default=True,
    help="Which held-out item is the target; choose on valid, report on test.",
)
@click.option("--against", metavar="RUN", help="Compare with another evaluate run, by a paired bootstrap over users.")
@click.option(
    "--segments", is_flag=True, help="Also by history length, popularity of the target, warm and cold targets."
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write tables, curves, segments, example users and what changed since the last run as one page, too.",
)
@setting("--seen", "recommend.seen")
@setting("--max-users", "evaluate.max_users")
@setting("--bootstrap-samples", "evaluate.bootstrap_samples")
@json_option
@pass_state
def evaluate_command(
    state: State, split: Literal["test", "valid"], against: str | None, segments: bool, html: Path | None, as_json: bool
) -> None:
    """Hit ratio and NDCG on held-out items, with intervals, beside the baselines.

    --json has every figure: MRR, coverage, novelty, diversity, share of fallback, all segments, the protocol of every
    row. The run's folder has users.parquet, a row a user and method. docs/evaluation.md defines all of it.
    """
    with state.open() as project:
        rows = project.evaluate(against=against, split=split, html=html)
    state.note({"figures": len(rows)}, runs=sorted({row["run_id"] for row in rows if "run_id" in row}))
    if as_json:
        output.write_json(rows)
    elif against is not None:
        figures.write_differences(rows)
    else:
        figures.write_figures(rows, segments=segments)
    if html is not None:
        state.remark(f"wrote {html}")
