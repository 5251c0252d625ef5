"""``semconv prompts``: what the backbone is tuned on, to look at."""

from __future__ import annotations

from pathlib import Path

import click

from semconv_cli import output
from semconv_cli.options import Group, Job, json_option, setting
from semconv_cli.state import State, pass_state


@click.group("prompts", cls=Group)
def prompts_command() -> None:
    """Look at the prompts that tune the backbone."""


@prompts_command.command("export", cls=Job)
@click.option("--epoch", type=click.IntRange(min=0), default=0, show_default=True, help="Whose wordings and negatives.")
@click.option(
    "--output",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("prompts.jsonl"),
    show_default=True,
    help="Where to; the name's ending chooses JSON lines or Parquet.",
)
@setting("--negatives", "tasks.negatives")
@json_option
@pass_state
def prompts_export(state: State, epoch: int, path: Path, as_json: bool) -> None:
    """Write one row a sample: task, prompt, label, user_id, item_id."""
    with state.open() as project:
        counts = project.export_prompts(path, epoch=epoch)
    state.note(counts)
    if as_json:
        output.write_json(counts)
    else:
        output.write_fields(counts)
