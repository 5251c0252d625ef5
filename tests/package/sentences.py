"""Draws sentences of the product at random, to be read by somebody who does not know it.

``python -m tests.package.sentences SEED [COUNT]`` prints COUNT sentences (30 without it), as many of each kind: pages of
the documentation, help of commands and settings, messages, docstrings. A reader says which of them are not clear at
first reading.
"""

from __future__ import annotations

import ast
import functools
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from semconv.settings.tree import iter_options
from semconv_cli.reference import command_contexts
from tests.worlds.paths import ROOT

_SHORTEST = 4  # words; less is a heading or a label
_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+(?=[A-Z`\"(])")
_CODE = [ROOT / "semconv", ROOT / "warehouse", ROOT / "cli"]
_SPEAKING = ("say", "progress.say")  # functions that print a line for the user


def draw(seed: str, count: int = 30) -> list[tuple[str, str, str]]:
    """``count`` drawn sentences: kind, where it stands, sentence; the same for the same seed."""
    rng = random.Random(seed)
    kinds = _kinds()
    drawn = []
    for number, (kind, found) in enumerate(kinds.items()):
        share = count // len(kinds) + (number < count % len(kinds))
        drawn += [(kind, *entry) for entry in rng.sample(found, share)]
    rng.shuffle(drawn)
    return drawn


@functools.cache
def _kinds() -> dict[str, list[tuple[str, str]]]:
    """Return the different sentences of each kind."""
    kinds = {"page": pages(), "help": help_texts(), "message": messages(), "docstring": docstrings()}
    return {kind: sorted(set(found)) for kind, found in kinds.items()}


def pages() -> Iterator[tuple[str, str]]:
    """Sentences of the README and of ``docs/``, without code, tables and headings; generated pages come as help."""
    generated = {"cli.md", "settings.md"}
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        if path.name in generated:
            continue
        text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", text):
            if not re.match(r"\s*(#|\||!\[|<)", block):
                yield from _sentences(path.name, re.sub(r"^\s*(?:[-*]|\d+\.) ", "", block))


def help_texts() -> Iterator[tuple[str, str]]:
    """Sentences of the help of every command, option and setting."""
    for context in command_contexts():
        name = context.command_path
        yield from _sentences(name, context.command.help or "")
        for parameter in context.command.params:
            if isinstance(parameter, click.Option):
                yield from _sentences(f"{name} {parameter.opts[-1]}", parameter.help or "")
    for section, option, _ in iter_options():
        yield from _sentences(f"{section}.{option.name}", option.metadata["doc"])


def messages() -> Iterator[tuple[str, str]]:
    """Texts of errors and of progress lines; ``{...}`` stands for a value."""
    for path, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _speaks(node):
                for argument in node.args[:1]:
                    yield from _sentences(path, _text(argument), split=False)


def _speaks(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    return name.endswith("Error") or name.rpartition(".")[2] in _SPEAKING


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(value) for value in node.values)
    if isinstance(node, ast.FormattedValue):
        return "{" + _last_name(node.value) + "}"
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return ""


def _last_name(node: ast.expr) -> str:
    """Return the code of a placeholder; of a chain of attributes, only the last name."""
    return node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)


def docstrings() -> Iterator[tuple[str, str]]:
    """Sentences of the docstrings of modules, classes and functions, without their sections of arguments and errors."""
    for path, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                text = ast.get_docstring(node) or ""
                text = re.split(r"\n\s*(?:Args|Returns|Raises|Yields|Attributes):", text)[0]
                where = f"{path}:{getattr(node, 'name', 'module')}"
                for block in text.split("\n\n"):
                    yield from _sentences(where, block)


@functools.cache
def _trees() -> list[tuple[str, ast.Module]]:
    paths = sorted(file for folder in _CODE for file in folder.rglob("*.py"))
    return [(str(path.relative_to(ROOT)), ast.parse(Path(path).read_text())) for path in paths]


def _sentences(where: str, text: str, *, split: bool = True) -> Iterator[tuple[str, str]]:
    whole = " ".join(text.split())
    for sentence in _SENTENCE_END.split(whole) if split else [whole]:
        if len(sentence.split()) >= _SHORTEST:
            yield where, sentence


if __name__ == "__main__":
    for row, (kind, where, sentence) in enumerate(draw(sys.argv[1], int((sys.argv[2:] or ["30"])[0])), start=1):
        print(f"{row}. [{kind}, {where}] {sentence}")  # noqa: T201
