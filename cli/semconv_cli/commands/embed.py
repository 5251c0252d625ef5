"""``semconv embed``: compute behaviour vectors and text vectors."""

from __future__ import annotations

import click

from semconv_cli import runs
from semconv_cli.options import Group, Job, absolute, json_option, setting
from semconv_cli.state import State, pass_state


@click.group("embed", cls=Group)
def embed_command() -> None:
    """Compute behaviour vectors and text vectors of items."""


@embed_command.command("behavior", cls=Job)
@setting("--source", "behavior.source")
@setting("--vectors", "behavior.vectors", convert=absolute, metavar="FILE")
@setting("--dimensions", "behavior.dimensions")
@setting("--seed", "behavior.seed")
@json_option
@pass_state
def embed_behavior(state: State, as_json: bool) -> None:
    """Compute behaviour vectors of items and users from interactions.

    With --source given, the command reads item vectors from the file that --vectors names.
    """
    with state.open() as project:
        if "behavior.vectors" in state.options and project.settings.behavior.source != "given":
            raise click.UsageError("--vectors can be used only with --source given", click.get_current_context())
        record = project.embed_behavior()
    runs.write_run(state, record, as_json)


@embed_command.command("text", cls=Job)
@setting("--vectors", "text.vectors")
@setting("--dimensions", "text.dimensions")
@json_option
@pass_state
def embed_text(state: State, as_json: bool) -> None:
    """Compute text vectors of items from titles and descriptions.

    The setting text.vectors chooses what they are computed from. Items that come later, and questions in words, get their
    vectors in the same way.
    """
    with state.open() as project:
        record = project.embed_text()
    runs.write_run(state, record, as_json)
