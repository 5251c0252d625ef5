"""Protocols of evaluations in words, and how two of them differ.

An entry of a protocol is a text, a number, a list, or a table of such values, as ``[events]`` is. An entry that differs between
two runs is a ``{"ours": ..., "theirs": ...}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_OURS: Final = "ours"
_THEIRS: Final = "theirs"


def joined_protocol(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of two protocols with the same names: the value where both are equal, otherwise both values."""
    return {
        name: value if value == theirs[name] else {_OURS: value, _THEIRS: theirs[name]} for name, value in ours.items()
    }


def is_difference(value: Any) -> bool:
    """Return whether an entry of ``joined_protocol`` holds two values that differ."""
    return isinstance(value, Mapping) and value.keys() == {_OURS, _THEIRS}


def stated(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a protocol that are not empty: an empty filter, for example, is no condition."""
    return {name: value for name, value in protocol.items() if not _is_empty(value)}


def entry_in_words(value: Any) -> str:
    """Return the value of an entry in words; a difference as ``A here and B there``."""
    if is_difference(value):
        return f"{_in_words(value[_OURS])} here and {_in_words(value[_THEIRS])} there"
    return _in_words(value)


def _in_words(value: Any) -> str:
    if _is_empty(value):
        return "none"
    if isinstance(value, Mapping):
        separator = "; " if any(isinstance(inner, (list, tuple, Mapping)) for inner in value.values()) else ", "
        return separator.join(f"{name} {_in_words(inner)}" for name, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(
            " ".join(map(_in_words, inner)) if isinstance(inner, (list, tuple)) else _in_words(inner) for inner in value
        )
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, (str, list, tuple, Mapping)) and not value)
