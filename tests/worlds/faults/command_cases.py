"""Every command of the command line: how it is run on the project of the kills, or that it only reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import click

from semconv_cli.main import cli

Path = tuple[str, ...]  # the words of a command, such as ("ingest", "items")


@dataclass(frozen=True)
class CommandCase:
    """A command line that writes.

    Attributes:
        words: ``{inputs}`` is a folder with files outside the project, ``{root}`` is the project.
        is_new_project: the command makes a project of its own in ``{root}``.
        is_empty_project: the command runs on a project without data, because it takes no data beside those of the shop.
        is_composed: the command does what other commands do, one after the other. So it is killed at some of its writes.
        may_refuse: after another command was killed, the command may refuse the project or its own folder with code 4.
    """

    command: Path
    words: Path
    is_new_project: bool = field(default=False, kw_only=True)
    is_empty_project: bool = field(default=False, kw_only=True)
    is_composed: bool = field(default=False, kw_only=True)
    may_refuse: bool = field(default=False, kw_only=True)

    @property
    def is_on_the_shop(self) -> bool:
        return not (self.is_new_project or self.is_empty_project)

    @property
    def name(self) -> str:
        return " ".join(word for word in self.words if not word.startswith("{"))


def _case(
    command: str, *rest: str, new: bool = False, empty: bool = False, composed: bool = False, refuses: bool = False
) -> CommandCase:
    words = (*command.split(), *rest)
    return CommandCase(
        tuple(command.split()),
        words,
        is_new_project=new,
        is_empty_project=empty,
        is_composed=composed,
        may_refuse=refuses,
    )


CASES = (
    _case("init", "{root}", new=True),
    _case("demo", "{root}", new=True, composed=True),
    _case("ingest interactions", "{inputs}/events.jsonl", "--rejected", "{root}/rejected.jsonl"),
    _case("ingest interactions", "--from-sql", "sqlite:///{inputs}/shop.db", "SELECT * FROM event"),
    _case("ingest items", "{inputs}/items.jsonl", "--snapshot"),
    _case("ingest users", "{inputs}/users.csv"),
    _case("ingest amazon", "--reviews", "{inputs}/reviews.json", "--meta", "{inputs}/meta.json"),
    _case("ingest movielens", "{inputs}/movielens"),
    _case("ingest lcrec", "{inputs}/lcrec", empty=True),
    _case("backbone create", "--seed", "1"),
    _case("backbone use", "{root}/models/tiny"),
    _case("embed behavior", "--seed", "1"),
    _case("embed text"),
    _case("codebook fit", "--seed", "1"),
    _case("codebook load", "{inputs}/codes.parquet"),
    _case("codebook assign"),
    _case("prompts export", "--output", "{root}/prompts.jsonl"),
    _case("finetune", "--seed", "1"),
    _case("finetune pack", "{root}/pack", refuses=True),
    _case("finetune load", "{inputs}/pack", "--older-data", refuses=True),
    _case("blend"),
    _case("recommend", "--top-k", "9"),
    _case("recommend load", "{inputs}/lists.parquet"),
    _case("evaluate"),
    _case("experiment", "{inputs}/experiment.toml", composed=True),
    _case("publish"),
    _case("publish", "--rollback"),
    _case("features apply"),
    _case("features materialize"),
    _case("run", composed=True),
    _case("prune", "--keep", "1"),
    _case("forget", "--user", "{erased}", "--yes"),
)

READING = {
    ("codebook", "report"): (),
    ("features", "status"): (),
    ("features", "get"): ("--user", "{erased}"),
    ("show", "user"): ("{erased}",),
    ("show", "item"): ("i001",),
    ("show", "data"): (),
    ("show", "settings"): (),
    ("runs",): (),
    ("generations",): (),
    ("check",): (),
    ("doctor",): (),
    ("sql",): ("SELECT count(*) FROM recommendation",),
}


def all_commands(command: click.Command = cli, path: Path = ()) -> Iterator[Path]:
    """Yield the words of every command that the command line offers."""
    if not isinstance(command, click.Group):
        yield path
        return
    if path and command.invoke_without_command:
        yield path
    context = click.Context(command)
    for name in command.list_commands(context):
        child = command.get_command(context, name)
        assert child is not None
        yield from all_commands(child, (*path, name))
