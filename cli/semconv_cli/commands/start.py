"""``semconv demo`` and ``semconv init``: create a project."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from semconv.settings.presets import preset_names
from semconv_cli import output
from semconv_cli.options import Command, Job, json_option
from semconv_cli.state import State, pass_state

_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_WITH_MODEL = "paper-llm"  # the preset for a pretrained backbone, which the user must choose


@click.command("init", cls=Command, short_help="Create a project: settings file and Feast definitions.")
@click.argument("directory", type=_DIRECTORY, default=".")
@click.option(
    "--preset",
    type=click.Choice(preset_names()),
    help="Give semconv.toml the settings of the paper: paper for the built-in backbone, paper-llm for a pretrained"
    " backbone that is tuned with LoRA. Without this option, all settings have their defaults.",
)
@pass_state
def init_command(state: State, directory: Path, preset: str | None) -> None:
    """Create a project in DIRECTORY: semconv.toml, which describes every setting, and the Feast definitions."""
    from semconv_warehouse.project import Project

    layout = Project.init(directory, preset=preset)
    output.write(str(layout.root))
    choose = " && semconv backbone use MODEL" if preset == _WITH_MODEL else ""
    state.remark(
        f"next: cd {shlex.quote(str(directory))} && semconv ingest items FILE && semconv ingest interactions FILE{choose} && semconv run"
    )


@click.command("demo", cls=Job, short_help="Create a demo project and run every stage on it.")
@click.argument("directory", type=_DIRECTORY, default="demo")
@json_option
@pass_state
def demo_command(state: State, directory: Path, as_json: bool) -> None:
    """Create a project with generated items and users, run every stage on it, and print the results."""
    with state.capture_output():
        from semconv_warehouse.demo.demo import run_demo

        result = run_demo(directory, state.progress())
    if as_json:
        output.write_json(result)
    else:
        output.write(result.text())
