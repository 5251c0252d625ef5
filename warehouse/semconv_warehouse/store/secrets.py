"""Keep passwords out of messages: the parts of a connection setting that are secrets, and text without them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, unquote_plus

HIDDEN = "***"
_SEPARATORS = re.compile(r"[;,&?\s{}]+")  # between the settings inside one value, such as `SERVER=db;PWD=hush`
_SHORTEST = 3  # a shorter text also occurs in harmless words, so a message without it would say nothing


def secret_parts(values: Iterable[str]) -> set[str]:
    """Return secret values, their parts if they hold several settings, and the ways to write them in a URL."""
    parts: set[str] = set()
    for value in values:
        plain = unquote_plus(value)
        parts |= {value, plain, *_SEPARATORS.split(plain)}
        parts |= {setting.partition("=")[2] for setting in _SEPARATORS.split(plain)}
    return {
        text
        for part in parts
        if len(part) >= _SHORTEST
        for text in (part, quote(part, safe=""), quote_plus(part), part.replace("'", "''"))
    }


def without(text: str, secrets: Iterable[str]) -> str:
    """Return a text in which each secret is replaced by asterisks, the longest secrets first."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text
