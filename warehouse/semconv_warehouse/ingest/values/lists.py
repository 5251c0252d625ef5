"""Lists of texts, alike from every format: types of Parquet, arrays of JSON, and the text that Python prints of a list."""

from __future__ import annotations

import ast
import json
import re
from typing import Any, Final

import polars as pl
from polars.datatypes import DataType

from semconv_warehouse.ingest.values.json_values import MOST_LEVELS, instance, levels

# The member of an object that names it, where it has several texts.
NAMES: Final = ("name", "title", "label", "value")
# The start of a list as Python, numpy or PostgreSQL prints it, and of one of Python with a text in it.
ANY_LIST: Final = r"^\s*[\[({]"
LIST_OR_OBJECT: Final = r"^\s*[\[{]"  # in JSON, where other text begins with neither
LIST_WITH_TEXT: Final = r"^\s*\[\s*(?:\]|['\"\[{]|array\()"
_PART = re.compile(
    r"""\s*(?:(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<open>[\[(])|(?P<close>[\])])|(?P<word>[^\s,\[\](){}'"]+)|,)""",
    re.DOTALL,
)
_ARRAY = re.compile(r"""\s*\{(?:"(?:[^"\\]|\\.)*"|[^"\\])*\}\s*""", re.DOTALL)
_ELEMENT = re.compile(r""""(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<word>[^\s,{}"][^,{}"]*)""", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_MISSING = {"None", "nan", "NaN", "null"}
_OF_NUMPY = {"array", "dtype=object", "dtype=str"}


def joined_texts(value: pl.Expr, dtype: DataType, between: str) -> pl.Expr | None:
    """Return the texts of nested lists as one text; None if the type holds no texts."""
    dtype = instance(dtype)
    if isinstance(dtype, pl.String):
        return value
    if dtype.is_numeric():
        return value.cast(pl.String)
    if isinstance(dtype, pl.Array):
        value, dtype = value.arr.to_list(), pl.List(dtype.inner)
    if isinstance(dtype, pl.List):
        inner = instance(dtype.inner)
        if isinstance(inner, pl.Null):
            return pl.when(value.is_not_null()).then(pl.lit("")).cast(pl.String)
        texts = value if isinstance(inner, pl.String) else None
        if texts is None:
            element = joined_texts(pl.element(), inner, between)
            texts = None if element is None else value.list.eval(element)
        return None if texts is None else texts.list.join(between, ignore_nulls=True)
    if isinstance(dtype, pl.Struct):
        member = _naming([field.name for field in dtype.fields if isinstance(instance(field.dtype), pl.String)])
        return None if member is None else value.struct.field(member)
    return None


def text_of_list(text: str, between: str) -> str:
    """Return the texts of a list or an object, joined; a text that is neither stays as it is."""
    found = parsed(text)
    return text if found is None else between.join(leaves(found))


def leaves(value: Any) -> list[str]:
    """Return the texts and numbers of nested lists, and the naming text of each object, in order.

    A text with half of a letter (a lone surrogate) is left out.
    """
    if isinstance(value, str):
        return [value] if is_whole(value) else []
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int | float):
        return [json.dumps(value)]
    if isinstance(value, dict):
        member = _naming([name for name, part in value.items() if isinstance(part, str)])
        return [] if member is None else leaves(value[member])
    return [text for part in value for text in leaves(part)]


def is_whole(text: str) -> bool:
    """Return whether a text has no half of a letter, which no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def parsed(text: str) -> Any:
    """Return a list or an object from its text in JSON, Python or numpy; None for any other text."""
    start = text.lstrip()[:1]
    if not start or start not in "[{(" or levels(text) > MOST_LEVELS:
        return None
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return _python_list(text) if start == "[" and "{" not in text else _python_value(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return _array(text) if start == "{" else None


def _python_value(text: str) -> Any:
    """Return the list, tuple or object that Python prints in this way; ValueError for a text or number in brackets."""
    value = ast.literal_eval(text.strip())
    if not isinstance(value, list | tuple | dict):
        raise ValueError(text)
    return value


def _array(text: str) -> list[str] | None:
    """Return the texts of an array as PostgreSQL prints it, such as ``{Home,"Lamps, large",NULL}``; None for others."""
    if not _ARRAY.fullmatch(text):
        return None
    parts = _ELEMENT.finditer(text)
    return [
        _ESCAPED.sub(r"\1", part["quoted"]) if part["word"] is None else part["word"].strip()
        for part in parts
        if part["word"] != "NULL"
    ]


def _python_list(text: str) -> list[Any] | None:
    """Return a list as Python or numpy prints it: ``['a', 'b']``, ``['a' 'b']``, ``[array(['a'], dtype=object)]``."""
    top: list[Any] = []
    stack = [top]
    at = 0
    while found := _PART.match(text, at):
        at = found.end()
        if found["text"] is not None:
            stack[-1].append(ast.literal_eval(found["text"]))
        elif found["open"]:
            stack.append([])
            stack[-2].append(stack[-1])
        elif found["close"]:
            stack.pop()
            if not stack or (len(stack) == 1 and text[at:].strip()):
                return None
        elif found["word"] and not _is_value(found["word"], stack[-1]):
            return None
    return top[0] if len(stack) == 1 and not text[at:].strip() and len(top) == 1 else None


def _is_value(word: str, into: list[Any]) -> bool:
    """Add a word outside quotes to a list, if it may stand in one."""
    if word in _MISSING or word in _OF_NUMPY:
        return True
    try:
        float(word)
    except ValueError:
        return False
    into.append(word)
    return True


def _naming(members: list[str]) -> str | None:
    if len(members) == 1:
        return members[0]
    return next((name for name in NAMES if name in members), None)
