"""Options that many commands share: global options, ``--json``, and options that override one setting."""

from __future__ import annotations

import dataclasses
import functools
import re
import types
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import click

from semconv.settings.tree import iter_options
from semconv_cli.log import FORMS, LOG_FORMAT_OPTION, LOG_FORMAT_VARIABLE
from semconv_cli.state import State

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)
_DURATION = re.compile(r"(\d{1,6}(?:\.\d+)?)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class _TakesGlobalOptions(click.Command):
    """A command that also accepts the global options after its name, but does not list them in its help."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters, then the global options."""
        return [*super().get_params(ctx), *global_options(hidden=True)]


class Command(_TakesGlobalOptions):
    """A command that reads a project."""


class Job(Command):
    """A command that works on a project and ends with a summary on stderr."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the command's options and start the job. A job with wrong options fails; --help starts no job."""
        above = parent if parent is not None else click.Context(self)
        state, path = above.ensure_object(State), f"{above.command_path} {info_name}"
        try:
            context = super().make_context(info_name, args, parent, **extra)
        except click.ClickException:
            state.start_job(path)
            raise
        state.start_job(path)
        return context


class Group(click.Group):
    """A group of commands. The help of the group lists its commands in the order in which the code defines them."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(self.commands)


class DefaultGroup(_TakesGlobalOptions, Group):
    """A group of commands that is also a command: it runs by itself if no subcommand is given."""


def global_options(*, hidden: bool) -> list[click.Parameter]:
    """Return the global options; the ``hidden`` ones may follow a command's name and read no environment variable."""

    def option(*names: str, help: str, variable: str = "", **attributes: Any) -> click.Option:  # noqa: A002
        return click.Option(
            names,
            help=f"{help}  [env: {variable}]" if variable else help,
            envvar=variable if variable and not hidden else None,
            callback=_store_global,
            expose_value=False,
            hidden=hidden,
            **attributes,
        )

    return [
        option(
            "--project",
            type=FILE,
            metavar="DIR",
            variable="SEMCONV_PROJECT",
            help="Project folder; by default the current folder, or the nearest folder above it that is a project.",
        ),
        option(
            "--wait",
            "wait_seconds",
            type=click.FloatRange(min=0),
            metavar="SECONDS",
            variable="SEMCONV_WAIT",
            help="Seconds to wait for another process that is using the warehouse or running the same job.",
        ),
        option(
            "--set",
            "settings",
            multiple=True,
            metavar="SECTION.KEY=VALUE",
            help="Override one setting for this command. Repeatable.",
        ),
        option(
            LOG_FORMAT_OPTION,
            type=click.Choice(FORMS),
            metavar="FORM",
            variable=LOG_FORMAT_VARIABLE,
            help="Format of the lines on stderr: text, or json with one JSON object per line.",
        ),
        option(
            "-q",
            "--quiet",
            is_flag=True,
            help="Write only errors to stderr (and, with --log-format json, the summary of a job).",
        ),
        option("-v", "--verbose", is_flag=True, help="Show the traceback of an error, and the warnings of libraries."),
    ]


def _store_global(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    state = ctx.ensure_object(State)
    if value in (None, (), False):  # not given here, but perhaps before the command's name
        return
    if param.name == "settings":
        state.settings.update(map(_setting_pair, value))
    elif param.name == "log_format":
        state.log.form = value
    else:
        setattr(state, str(param.name), value)


def _setting_pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or "." not in name:
        raise click.BadParameter(f"{text!r} is not SECTION.KEY=VALUE", param_hint="'--set'")
    return name.strip(), value.strip()


def setting(
    option: str, name: str, *, convert: Callable[[Any], Any] | None = None, metavar: str | None = None
) -> Callable[[F], F]:
    """Return a decorator that adds an option for a setting ``section.key``, with the setting's help and range."""
    field, hint = _settings()[name]
    if get_origin(hint) in (Union, types.UnionType):  # an option cannot unset a setting
        hint = next(part for part in get_args(hint) if part is not type(None))

    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if value is not None:
            ctx.ensure_object(State).options[name] = value if convert is None else convert(value)

    return click.option(
        f"{option}/--no-{option.removeprefix('--')}" if hint is bool else option,
        default=None,
        type=_click_type(hint, field),
        metavar=metavar or {int: "N", float: "X"}.get(hint),
        callback=callback,
        expose_value=False,
        help=f"{field.metadata['doc']}  [setting: {name}]",
    )


@functools.cache
def _settings() -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    return {f"{section}.{field.name}": (field, hint) for section, field, hint in iter_options()}


def _click_type(hint: Any, field: dataclasses.Field[Any]) -> Any:
    if get_origin(hint) is Literal:
        return click.Choice(get_args(hint))
    low, high = field.metadata["low"], field.metadata["high"]
    if hint is int:
        return click.IntRange(low, high)
    if hint is float:
        return click.FloatRange(low, high)
    return hint


def absolute(path: str) -> str:
    """Return ``path`` as an absolute path. A relative path on the command line is relative to the current folder."""
    return str(Path(path).expanduser().resolve())


class Duration(click.ParamType[timedelta]):
    """The type of options that take a time span such as ``90s``, ``30m``, ``36h`` or ``7d``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Convert the text of a time span to a timedelta."""
        match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            self.fail(f"{value!r} is not a time span such as 30m, 36h or 7d", param, ctx)
        return timedelta(**{_UNITS[match.group(2)]: float(match.group(1))})


json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
force_option = click.option(
    "--force",
    is_flag=True,
    help="Go on although a gate of the section [gates] fails. `semconv generations` shows which gates were overridden.",
)
html_option = click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write the report to this file, as an HTML page.",
)
held_out_option = click.option(
    "--split",
    type=click.Choice(["test", "valid"]),
    default="test",
    show_default=True,
    help="Held-out item of each user that the methods must predict. Compare settings on valid, and report final results on test.",
)
