"""The entry point of the command line: global options, and all commands in the order of the data flow.

The module of a command is imported only when the command runs or the help lists all commands. To start fast, no module
imports torch, transformers, peft, feast, polars, duckdb or sqlalchemy at its top.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

import semconv
from semconv_cli.errors import close_stderr, report_errors
from semconv_cli.log import Log, requested_form
from semconv_cli.options import Group, global_options
from semconv_cli.state import State

# Command -> module of semconv_cli.commands that defines it as `<command>_command`.
COMMANDS = {
    "demo": "start",
    "init": "start",
    "ingest": "ingest",
    "backbone": "backbone",
    "embed": "embed",
    "codebook": "codebook",
    "prompts": "prompts",
    "finetune": "finetune",
    "blend": "blend",
    "recommend": "recommend",
    "evaluate": "evaluate",
    "experiment": "experiment",
    "publish": "publish",
    "features": "features",
    "run": "run",
    "show": "show",
    "runs": "records",
    "generations": "records",
    "check": "upkeep",
    "discard": "upkeep",
    "prune": "upkeep",
    "forget": "forget",
    "doctor": "upkeep",
    "sql": "sql",
}


class Root(Group):
    """The command `semconv`, which imports a command's module only when needed and reports errors in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the data flow."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module that defines a command, and return the command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"semconv_cli.commands.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the global options, and report wrong options as errors."""
        state = extra.setdefault("obj", State(log=Log(requested_form(args, os.environ))))
        with report_errors(state.log, lambda: False):
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the named command, report its errors, and write the summary if it was a job."""
        state = ctx.ensure_object(State)
        try:
            with report_errors(state.log, lambda: state.verbose):
                result = super().invoke(ctx)
                sys.stdout.flush()  # raises here, not at exit, when nobody reads stdout any more
        except click.exceptions.Exit as end:
            state.end_job(end.exit_code)
            raise
        state.end_job(0)
        return result


@click.command(
    "semconv",
    cls=Root,
    params=global_options(hidden=False),
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
    epilog="These options may also follow the name of a command. Data goes to stdout, everything else to stderr.",
)
@click.version_option(semconv.__version__, message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Recommend items to every user of a shop.

    semconv reads interactions and item texts, and writes a list of the best K items for every user, as SQL tables and
    as Feast features. Start with `semconv demo`, or with `semconv init`, `semconv ingest` and `semconv run`.
    """


def main() -> None:
    """Run the command line and exit with its exit code."""
    _quiet_libraries()
    try:
        cli(prog_name="semconv")
    except SystemExit:
        close_stderr()
        raise


def _quiet_libraries() -> None:
    """Turn off progress bars and advice of libraries, unless the user has set their environment variables."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
