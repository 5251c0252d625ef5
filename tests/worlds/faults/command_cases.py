"""Every command of the command line: how it is run on the project of the kills, or that it only reads.

A command has a case for each of its options that makes it write other files. :data:`WITHOUT_FILES` names the other options.
"""

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
        words: ``{inputs}`` is a folder with files outside the project, ``{root}`` is the project, ``{erased}`` is the
            user whom `forget` erases, and ``{blend}`` is a blend.
        is_new_project: the command makes a project of its own in ``{root}``.
        is_empty_project: the command runs on a project without data, because it takes no data beside those of the shop.
        is_composed: the command does what other commands do, one after the other. So it is killed at some of its writes.
        may_refuse: after another command was killed, the command may refuse the project or its own folder with code 4.
        is_variant: the command has another case. So it is killed at some of its writes, and not tried in pairs.
    """

    command: Path
    words: Path
    is_new_project: bool = field(default=False, kw_only=True)
    is_empty_project: bool = field(default=False, kw_only=True)
    is_composed: bool = field(default=False, kw_only=True)
    may_refuse: bool = field(default=False, kw_only=True)
    is_variant: bool = field(default=False, kw_only=True)

    @property
    def is_paired(self) -> bool:
        """Return whether the command follows each killed command, and is killed before each command."""
        return not (self.is_new_project or self.is_empty_project or self.is_variant)

    @property
    def options(self) -> set[str]:
        return {word for word in self.words if word.startswith("--")}

    @property
    def name(self) -> str:
        return " ".join(word for word in self.words if not word.startswith("{"))


def _case(command: str, *rest: str, **flags: bool) -> CommandCase:
    words = tuple(command.split())
    return CommandCase(words, (*words, *rest), **flags)


CASES = (
    _case("init", "{root}", is_new_project=True),
    _case("demo", "{root}", is_new_project=True, is_composed=True),
    _case("ingest interactions", "{inputs}/events.jsonl", "--rejected", "{root}/rejected.jsonl"),
    _case("ingest interactions", "--from-sql", "sqlite:///{inputs}/shop.db", "SELECT * FROM event"),
    _case("ingest items", "{inputs}/items.jsonl", "--snapshot", "--rejected", "{root}/rejected.jsonl"),
    _case(
        "ingest items",
        "--from-sql",
        "sqlite:///{inputs}/shop.db",
        "SELECT DISTINCT item_id, 'a title' AS title FROM event",
        is_variant=True,
    ),
    _case("ingest users", "{inputs}/users.csv", "--rejected", "{root}/rejected.jsonl"),
    _case(
        "ingest users",
        "--from-sql",
        "sqlite:///{inputs}/shop.db",
        "SELECT DISTINCT user_id, query AS note FROM event",
        is_variant=True,
    ),
    _case(
        "ingest amazon",
        "--reviews",
        "{inputs}/reviews.json",
        "--meta",
        "{inputs}/meta.json",
        "--rejected",
        "{root}/rejected.jsonl",
    ),
    _case("ingest movielens", "{inputs}/movielens", "--rejected", "{root}/rejected.jsonl"),
    _case("ingest lcrec", "{inputs}/lcrec", is_empty_project=True),
    _case("backbone create", "--seed", "1"),
    _case("backbone use", "{root}/models/tiny"),
    _case("embed behavior", "--seed", "1"),
    _case("embed text"),
    _case("codebook fit", "--seed", "1"),
    _case("codebook load", "{inputs}/codes.parquet"),
    _case("codebook assign"),
    _case("codebook report", "--html", "{root}/codes.html", is_variant=True),
    _case("prompts export", "--output", "{root}/prompts.jsonl"),
    _case("prompts export", "--output", "{root}/prompts.parquet", "--epoch", "1", is_variant=True),
    _case("finetune", "--seed", "1"),
    _case("finetune", "--from", "current", is_variant=True),
    _case("finetune pack", "{root}/pack", may_refuse=True),
    _case("finetune pack", "{root}/pack", "--from", "current", is_variant=True),
    _case("finetune load", "{inputs}/pack", "--older-data", may_refuse=True),
    _case("blend"),
    _case("recommend", "--top-k", "9"),
    _case("recommend", "--users", "{inputs}/erased.txt", is_variant=True),
    _case("recommend", "--only-changed", is_variant=True),
    _case("recommend", "--split", "valid", is_variant=True),
    _case("recommend", "--query", "a quillonbrandt lamp", "--user", "{erased}"),
    _case("recommend load", "{inputs}/lists.parquet"),
    _case("recommend load", "{inputs}/lists.parquet", "--merge", is_variant=True),
    _case("evaluate"),
    _case("evaluate", "--html", "{root}/figures.html", is_variant=True),
    _case("evaluate", "--questions"),
    _case("experiment", "{inputs}/experiment.toml", "--report", "{root}/report.md", is_composed=True),
    _case("publish"),
    _case("publish", "--rollback"),
    _case("features apply"),
    _case("features materialize"),
    _case("features materialize", "--again", is_variant=True),
    _case("run", is_composed=True),
    _case("run", "--refit", is_composed=True, is_variant=True),
    _case("discard", "{blend}", may_refuse=True),
    _case("prune", "--keep", "1"),
    _case("forget", "--user", "{erased}", "--yes"),
    _case("forget", "--users", "{inputs}/erased.txt", "--yes", is_variant=True),
)

READING = (
    _case("codebook report"),
    _case("codebook report", "--codes", "{inputs}/codes.parquet"),
    _case("features status"),
    _case("features get", "--user", "{erased}"),
    _case("features get", "--item", "i001"),
    _case("show user", "{erased}"),
    _case("show item", "i001"),
    _case("show data"),
    _case("show settings"),
    _case("runs"),
    _case("generations"),
    _case("check", "--max-age", "7d"),
    _case("doctor"),
    _case("sql", "SELECT count(*) FROM recommendation"),
    _case("sql", "--query", "coverage", "--csv"),
    _case("sql", "--list"),
)

# Options that choose rows, a form of text or a way to compute: with them, a command writes no other files.
WITHOUT_FILES = {
    "--against",
    "--backbone",
    "--budget",
    "--codes",
    "--date-format",
    "--decimal",
    "--delimiter",
    "--dry-run",
    "--encoding",
    "--epoch",
    "--force",
    "--json",
    "--limit",
    "--map",
    "--ndjson",
    "--no-formulas",
    "--no-header",
    "--order",
    "--other-head",
    "--param",
    "--peer-seconds",
    "--preset",
    "--seeds",
    "--segments",
    "--split",
    "--where",
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


def options_of(path: Path) -> set[str]:
    """Return the options of a command, without those of every command and without those that only set a setting."""
    command: click.Command | None = cli
    for word in path:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    assert command is not None
    return {
        parameter.opts[0]
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden and "[setting: " not in (parameter.help or "")
    }
