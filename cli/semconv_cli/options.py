"""Options that many commands share: the global ones, ``--json``, and flags that stand for a setting."""

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
from semconv_cli.log import FORMS
from semconv_cli.state import State

F = TypeVar("F", bound=Callable[..., Any])
_DURATION = re.compile(r"(\d{1,6}(?:\.\d+)?)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Command(click.Command):
    """A command that takes the global options after its name too, without listing them in its help."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own parameters, then the global options."""
        return [*super().get_params(ctx), *global_options(hidden=True)]


class Job(Command):
    """A command that works on a project: its end is one summary line on stderr."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the command's options; wrong ones end the job, a call for help begins none."""
        above = parent if parent is not None else click.Context(self)
        state, path = above.ensure_object(State), f"{above.command_path} {info_name}"
        try:
            context = super().make_context(info_name, args, parent, **extra)
        except click.ClickException:
            state.begin(path)
            raise
        state.begin(path)
        return context


class Group(click.Group):
    """A group whose commands are :class:`Command`; its help lists them in the order in which data flows."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Command names in the order in which they were added."""
        return list(self.commands)


class DefaultGroup(Group):
    """A group that is a command by itself when no subcommand is named; takes the global options too."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The group's own parameters, then the global options."""
        return [*super().get_params(ctx), *global_options(hidden=True)]


def global_options(*, hidden: bool) -> list[click.Parameter]:
    """The global options; hidden copies follow a command's name and read no environment variable."""

    def make(*names: str, store: Callable[[State, Any], None], env: str | None = None, **attrs: Any) -> click.Option:
        def callback(ctx: click.Context, param: click.Parameter, value: Any) -> None:
            if value not in (None, (), False):
                store(ctx.ensure_object(State), value)

        envvar = None if hidden else env
        return click.Option(names, callback=callback, expose_value=False, hidden=hidden, envvar=envvar, **attrs)

    return [
        make(
            "--project",
            store=lambda state, value: setattr(state, "project", value),
            env="SEMCONV_PROJECT",
            type=click.Path(path_type=Path),
            metavar="DIR",
            help="The project folder; without it the nearest one at or above the current folder.  [env: SEMCONV_PROJECT]",
        ),
        make(
            "--wait",
            store=lambda state, value: setattr(state, "wait_seconds", value),
            env="SEMCONV_WAIT",
            type=click.FloatRange(min=0),
            metavar="SECONDS",
            help="How long to wait for a warehouse or a job that another process holds.  [env: SEMCONV_WAIT]",
        ),
        make(
            "--set",
            store=_store_settings,
            multiple=True,
            metavar="SECTION.KEY=VALUE",
            help="Override a setting of semconv.toml for this command; repeatable.",
        ),
        make(
            "--log-format",
            store=lambda state, value: setattr(state.log, "form", value),
            env="SEMCONV_LOG_FORMAT",
            type=click.Choice(FORMS),
            metavar="FORM",
            help="What stderr gets: text, or json with one object a line and a summary at the end of a job.  [env: SEMCONV_LOG_FORMAT]",
        ),
        make(
            "-q",
            "--quiet",
            store=lambda state, value: setattr(state, "quiet", True),
            is_flag=True,
            help="No progress and no remarks on stderr; as JSON, errors and summaries stay.",
        ),
        make(
            "-v",
            "--verbose",
            store=lambda state, value: setattr(state, "verbose", True),
            is_flag=True,
            help="Show the traceback of an error and the warnings of libraries.",
        ),
    ]


def _store_settings(state: State, pairs: tuple[str, ...]) -> None:
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or "." not in name:
            raise click.BadParameter(f"{pair!r} is not SECTION.KEY=VALUE", param_hint="'--set'")
        state.settings[name.strip()] = value.strip()


def setting(
    flag: str, name: str, *, convert: Callable[[Any], Any] | None = None, metavar: str | None = None
) -> Callable[[F], F]:
    """A flag that overrides the setting ``section.key``; help, type and range are the setting's own."""
    field, hint = _options()[name]
    if get_origin(hint) in (Union, types.UnionType):  # an unset setting has no flag value
        hint = next(part for part in get_args(hint) if part is not type(None))

    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if value is not None:
            ctx.ensure_object(State).flags[name] = value if convert is None else convert(value)

    return click.option(
        f"{flag}/--no-{flag.removeprefix('--')}" if hint is bool else flag,
        default=None,
        type=_click_type(hint, field),
        metavar=metavar or {int: "N", float: "X"}.get(hint),
        callback=callback,
        expose_value=False,
        help=f"{field.metadata['doc']}  [setting: {name}]",
    )


@functools.cache
def _options() -> dict[str, tuple[dataclasses.Field[Any], Any]]:
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
    """A path typed on the command line counts from the current folder; in semconv.toml, from the project."""
    return str(Path(path).expanduser().resolve())


class Duration(click.ParamType[timedelta]):
    """A time span as people write it: ``90s``, ``30m``, ``36h``, ``7d``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The text as a timedelta."""
        found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
        if found is None:
            self.fail(f"{value!r} is not a time span such as 30m, 36h or 7d", param, ctx)
        return timedelta(**{_UNITS[found.group(2)]: float(found.group(1))})


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
