"""The entry point: global options, and the commands in the order in which data flows.

A command's module is imported when the command or the list of all commands is asked for; none of
them imports torch, transformers, peft, feast, polars, duckdb or sqlalchemy at its top.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

import semconv
from semconv_cli.errors import end_stderr, reported
from semconv_cli.log import Log, asked_form
from semconv_cli.options import Group, global_options
from semconv_cli.state import State

# Command -> module of semconv_cli.commands that defines it under the same name.
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
    "prune": "upkeep",
    "forget": "forget",
    "doctor": "upkeep",
    "sql": "sql",
}


class Root(Group):
    """The top command: loads a command when it is named, and reports every error in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order in which data flows."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"semconv_cli.commands.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the global options; a wrong one is reported here."""
        state = extra.setdefault("obj", State(log=Log(asked_form(args, os.environ))))
        with reported(state.log, lambda: False):
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the named command; whatever goes wrong is reported here, and a job's end is summed up."""
        state = ctx.ensure_object(State)
        try:
            with reported(state.log, lambda: state.verbose):
                result = super().invoke(ctx)
                sys.stdout.flush()  # a reader that went away shows here, not at exit
        except click.exceptions.Exit as end:
            state.end(end.exit_code)
            raise
        state.end(0)
        return result


@click.command(
    "semconv",
    cls=Root,
    params=global_options(hidden=False),
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
    epilog="The global options may also follow a command's name. Data goes to stdout, everything else to stderr.",
)
@click.version_option(semconv.__version__, message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Recommendations beside a SQL warehouse.

    Interactions and item text go in, top-K rows in SQL and features in Feast come out. Start with
    `semconv demo`, or with `semconv init` and `semconv ingest`, then `semconv run`.
    """


def main() -> None:
    """Run the command line and end the process with its exit code."""
    _quiet_libraries()
    try:
        cli(prog_name="semconv")
    except SystemExit:
        end_stderr()
        raise


def _quiet_libraries() -> None:
    """Keep the bars and advice of libraries off stderr, where ours are; a variable set by the user stays."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
