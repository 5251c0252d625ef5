"""Reading the settings tree: default < ``semconv.toml`` < ``SEMCONV_*`` < flag, every value checked."""

from __future__ import annotations

import dataclasses
import difflib
import os
import tomllib
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from semconv.errors import InputError, SettingsError
from semconv.settings.tree import Settings, sections


def load_settings(
    file: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the tree: default < file < ``SEMCONV_SECTION_KEY`` < override (``"section.key"``).

    Raises:
        InputError: the file is missing or no TOML.
        SettingsError: an unknown section or key, a wrong type, a value out of range.
    """
    values: dict[str, dict[str, Any]] = {name: {} for name in sections()}
    places: dict[str, str] = {}  # "section.key" -> where it was said last
    if file is not None:
        for section, content in _read_toml(file).items():
            if section not in values or not isinstance(content, Mapping):
                raise SettingsError(f"{file}: unknown section [{section}]{_known(section, values)}")
            values[section].update(content)
            places.update({f"{section}.{key}": f"{file}: " for key in content})
    for name, text in (os.environ if environment is None else environment).items():
        section, _, key = name.removeprefix("SEMCONV_").lower().partition("_")
        if not name.startswith("SEMCONV_") or not key:
            continue
        if section in values:
            values[section][key] = text
            places[f"{section}.{key}"] = f"the variable {name}: "
        elif difflib.get_close_matches(section, values, cutoff=0.8):  # other variables may be of another purpose
            raise SettingsError(f"the variable {name}: unknown section [{section}]{_known(section, values)}")
    for dotted, value in (overrides or {}).items():
        section, _, key = dotted.partition(".")
        if section not in values:
            raise SettingsError(f"{dotted}: unknown section [{section}]{_known(section, values)}")
        values[section][key] = value
        places[dotted] = f"{dotted}: "
    return Settings(**{name: _build(cls, name, values[name], places) for name, cls in sections().items()})


def _known(name: str, names: Iterable[str]) -> str:
    """What a name that nobody knows may have meant, and what there is."""
    names = list(names)
    meant = difflib.get_close_matches(name, names, n=1)
    return f"{f'; did you mean {meant[0]}?' if meant else ''}; known are {', '.join(names)}"


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file; `semconv init` makes a project") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: not valid TOML ({error})") from error


def _build(cls: type[Any], section: str, values: Mapping[str, Any], places: Mapping[str, str]) -> Any:
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = get_type_hints(cls)
    for key in values:
        if key not in fields:
            where = places[f"{section}.{key}"]
            raise SettingsError(f"{where}unknown key {key} in [{section}]{_known(key, fields)}")
    converted = {key: _convert(value, hints[key], fields[key], f"{section}.{key}") for key, value in values.items()}
    return cls(**converted)


def _convert(value: Any, hint: Any, field: dataclasses.Field[Any], name: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None or value in ("", "none"):
            return None
        hint = next(part for part in get_args(hint) if part is not type(None))
        origin = get_origin(hint)
    if origin is Literal:
        if value not in get_args(hint):
            raise SettingsError(f"{name} = {value!r}: must be one of {', '.join(map(str, get_args(hint)))}")
        return value
    result = _scalar(value, hint, name)
    low, high = field.metadata.get("low"), field.metadata.get("high")
    if (low is not None and not result >= low) or (high is not None and not result <= high):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise SettingsError(f"{name} = {result}: must be {bounds}")
    return result


def _scalar(value: Any, hint: type[Any], name: str) -> Any:
    if hint is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "1", "yes", "false", "0", "no"):
            return str(value).lower() in ("true", "1", "yes")
        raise SettingsError(f"{name} = {value!r}: must be true or false")
    if hint is str:
        return str(value)
    if isinstance(value, bool) or (hint is int and isinstance(value, float) and not value.is_integer()):
        raise SettingsError(f"{name} = {value!r}: must be {'a whole number' if hint is int else 'a number'}")
    try:
        return hint(value)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{name} = {value!r}: must be {'a whole number' if hint is int else 'a number'}") from error
