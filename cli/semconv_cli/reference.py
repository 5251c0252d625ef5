"""The generated pages of the documentation: the command reference, the settings, and SQL.

``python -m semconv_cli.reference docs`` writes them; with ``--check`` it changes nothing and exits
with 1 when a page is not what the program says today.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from semconv.artifacts import write_bytes
from semconv.errors import CheckFailedError
from semconv.settings.text import settings_page
from semconv_cli import output
from semconv_cli.errors import reported
from semconv_cli.log import Log
from semconv_cli.main import cli
from semconv_cli.sql_page import sql_page

_WIDTH = 100
_INTRODUCTION = """\
# Command reference

Every command is `semconv COMMAND`, the same as `python -m semconv_cli COMMAND`. It works on the project folder at or
above the current one. Data goes to stdout, everything else to stderr; progress bars are drawn on a terminal only.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | it ran, but a check failed |
| 2 | wrong usage or settings |
| 3 | the warehouse or a run is held by another process |
| 4 | an input or an artifact is missing or invalid |
| 5 | the machine refused: disk, permission, memory |
| 130 | interrupted; the same command goes on where it stopped |
| 141 | the reader of stdout went away |

An error is one line on stderr; `-v` shows the traceback too.
"""


def command_contexts() -> Iterator[click.Context]:
    """A context of every command, groups before their members, in the order of the help."""
    yield from _walk(click.Context(cli, info_name="semconv", terminal_width=_WIDTH, max_content_width=_WIDTH))


def command_page() -> str:
    """``docs/cli.md``: the help of every command."""
    parts = [_INTRODUCTION]
    for context in command_contexts():
        depth = "#" * min(3, context.command_path.count(" ") + 2)
        parts.append(f"{depth} {context.command_path}\n\n```text\n{context.get_help().rstrip()}\n```\n")
    return "\n".join(parts)


def pages() -> dict[str, str]:
    """File name -> content of every generated page."""
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
@click.option("--check", is_flag=True, help="Change nothing; fail when a page is out of date.")
def reference_command(directory: Path, check: bool) -> None:
    """Write the generated documentation pages into DIRECTORY."""
    with reported(Log(), lambda: False):
        old = [name for name, text in pages().items() if not _is(directory / name, text)]
        if check and old:
            raise CheckFailedError(f"out of date in {directory}: {', '.join(old)}; `make docs` writes them")
        for name in old:
            write_bytes(directory / name, pages()[name].encode())
            output.write(f"{directory / name}")


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text() == text


if __name__ == "__main__":
    reference_command()
