"""``semconv prompts``: export the training samples."""

from __future__ import annotations

from pathlib import Path

import click

from semconv_cli import output
from semconv_cli.options import Group, Job, json_option, setting
from semconv_cli.state import State, pass_state


@click.group("prompts", cls=Group)
def prompts_command() -> None:
    """Export the prompts that the backbone is trained on."""


@prompts_command.command("export", cls=Job)
@click.option(
    "--epoch",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Number of the epoch whose samples are exported; the first epoch is 0.",
)
@click.option(
    "--output",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("prompts.jsonl"),
    show_default=True,
    help="Write to this file, as Parquet if its name ends in .parquet, and as JSON lines otherwise.",
)
@setting("--negatives", "tasks.negatives")
@json_option
@pass_state
def prompts_export(state: State, epoch: int, path: Path, as_json: bool) -> None:
    """Write the training samples of one epoch to a file. Each row of the file has task, prompt, label, user_id and
    item_id.
    """
    with state.open() as project:
        counts = project.export_prompts(path, epoch=epoch)
    state.note(counts)
    output.write_result(counts, as_json)
