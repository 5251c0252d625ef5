"""``semconv evaluate``: measure the model and the baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from semconv_cli import figures, output
from semconv_cli.options import Job, held_out_option, html_option, json_option, setting
from semconv_cli.state import State, pass_state


@click.command("evaluate", cls=Job, short_help="Measure the model and the baselines.")
@held_out_option
@click.option(
    "--against",
    metavar="RUN",
    help="Compare with this earlier evaluate run, by a paired bootstrap over the same users.",
)
@click.option(
    "--segments",
    is_flag=True,
    help="Also print metrics by history length, by popularity of the held-out item, and for warm and cold items.",
)
@click.option(
    "--questions",
    is_flag=True,
    help="Measure the answers to questions in words instead, on held-out queries of users (docs/questions.md).",
)
@html_option
@setting("--seen", "recommend.seen")
@setting("--max-users", "evaluate.max_users")
@setting("--bootstrap-samples", "evaluate.bootstrap_samples")
@json_option
@pass_state
def evaluate_command(
    state: State,
    split: Literal["test", "valid"],
    against: str | None,
    segments: bool,
    questions: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Measure hit ratio and NDCG of the model and the baselines on held-out items.

    With --json, the command also prints MRR, coverage, novelty, diversity, the share of fallback items, all segments,
    and the settings of each method. The file users.parquet in the folder of the evaluate run has a row per user and
    method. docs/evaluation.md defines all metrics.
    """
    if questions and (against is not None or segments or html is not None):
        raise click.UsageError("--questions can be combined only with --split and --json")
    with state.open() as project:
        if questions:
            rows = [row for row in project.evaluate_questions() if row["split"] == split]
        else:
            rows = project.evaluate(against=against, split=split, html=html)
    state.note({"figures": len(rows)}, runs=sorted({row["run_id"] for row in rows if "run_id" in row}))
    if as_json:
        output.write_json(rows)
    elif questions:
        figures.write_questions(rows)
    elif against is not None:
        figures.write_differences(rows)
    else:
        figures.write_figures(rows, segments=segments)
    if html is not None:
        state.remark(f"wrote {html}")
