"""Generate three pages of the documentation: commands, settings and SQL.

``python -m semconv_cli.reference docs`` writes the pages. With ``--check`` the command changes nothing, and fails if a
page is out of date.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from semconv.artifacts import write_bytes
from semconv.errors import CheckFailedError
from semconv.modes import PUBLIC_FILE
from semconv.settings.text import settings_page
from semconv_cli import output
from semconv_cli.errors import EXIT_CODES, report_errors
from semconv_cli.log import Log
from semconv_cli.main import cli
from semconv_cli.sql_page import sql_page

_WIDTH = 100
_INTRODUCTION = """\
# Command reference

`semconv COMMAND` and `python -m semconv_cli COMMAND` do the same. A command works on the project in the current folder
or in the nearest folder above it. Data goes to stdout, everything else to stderr. Progress bars are shown on a terminal
only.

| exit code | meaning |
|---|---|
{exit_codes}

An error is one line on stderr. `-v` shows the traceback too.
"""


def command_contexts() -> Iterator[click.Context]:
    """Yield a click context for every command, in the order of the help. A group of commands comes before its commands."""
    yield from _walk(click.Context(cli, info_name="semconv", terminal_width=_WIDTH, max_content_width=_WIDTH))


def command_page() -> str:
    """Return ``docs/cli.md``: the exit codes and the help of every command."""
    exit_codes = "\n".join(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items())
    parts = [_INTRODUCTION.replace("{exit_codes}", exit_codes)]
    for context in command_contexts():
        depth = "#" * min(3, context.command_path.count(" ") + 2)
        parts.append(f"{depth} {context.command_path}\n\n```text\n{context.get_help().rstrip()}\n```\n")
    return "\n".join(parts)


def pages() -> dict[str, str]:
    """Return the text of every generated page by its file name."""
    return {"cli.md": command_page(), "settings.md": settings_page(), "sql.md": sql_page()}


def _walk(context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            assert command is not None, name
            yield from _walk(
                click.Context(command, info_name=name, parent=context, terminal_width=_WIDTH, max_content_width=_WIDTH)
            )


@click.command("reference")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--check", is_flag=True, help="Change nothing, and fail if a page is out of date.")
def reference_command(directory: Path, check: bool) -> None:
    """Write the generated pages of the documentation into DIRECTORY."""
    with report_errors(Log(), lambda: False):
        outdated = {directory / name: text for name, text in pages().items() if _read(directory / name) != text}
        if check and outdated:
            names = ", ".join(path.name for path in outdated)
            raise CheckFailedError(f"{directory}: these pages are out of date: {names}; `make docs` writes them")
        for path, text in outdated.items():
            write_bytes(path, text.encode(), PUBLIC_FILE)
            output.write(str(path))


def _read(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


if __name__ == "__main__":
    reference_command()
