"""Load the settings: defaults, then ``semconv.toml``, then ``SEMCONV_*`` variables, then options. Later ones win."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import tomllib
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from semconv.errors import InputError, SettingsError
from semconv.settings.option import NamedNumbers, Names
from semconv.settings.tree import Settings, iter_options, sections

_PREFIX = "SEMCONV_"


def load_settings(
    file: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Load the settings from a file, from variables ``SEMCONV_SECTION_KEY`` and from overrides by ``"section.key"``.

    Raises:
        InputError: the file does not exist.
        SettingsError: invalid TOML, an unknown section or key, a wrong type or a value out of range.
    """
    return _given(file, environment, overrides).settings()


@dataclass(frozen=True)
class SettingValue:
    """The value of one setting, and where it comes from."""

    name: str  # 'section.key'
    value: Any
    default: Any
    source: str  # 'default', the name of the settings file, 'the variable SEMCONV_SECTION_KEY', or 'the command line'


def setting_values(
    file: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> list[SettingValue]:
    """Return every setting with its value, its default and its source. Arguments and errors as in ``load_settings``."""
    given = _given(file, environment, overrides)
    settings = given.settings()
    rows = []
    for section, field, _ in iter_options():
        name, source = f"{section}.{field.name}", given.source(section, field.name)
        if source == str(file):
            source = Path(source).name
        elif source == name:
            source = "the command line"
        rows.append(SettingValue(name, getattr(getattr(settings, section), field.name), field.default, source))
    return rows


def _given(
    file: Path | None, environment: Mapping[str, str] | None, overrides: Mapping[str, Any] | None
) -> _GivenValues:
    given = _GivenValues()
    if file is not None:
        given.add_file(file)
    given.add_environment(os.environ if environment is None else environment)
    for name, value in (overrides or {}).items():
        section, _, key = name.partition(".")
        given.add(section, {key: value}, name)
    return given


class _GivenValues:
    """The values that the user set, each with its source for error messages."""

    def __init__(self) -> None:
        self._sections = sections()
        self._values: dict[str, dict[str, Any]] = {section: {} for section in self._sections}
        self._sources: dict[tuple[str, str], str] = {}

    def add(self, section: str, values: Mapping[str, Any], source: str) -> None:
        if section not in self._values:
            raise SettingsError(f"{source}: unknown section [{section}]{_suggestion(section, self._values)}")
        self._values[section].update(values)
        self._sources.update({(section, key): source for key in values})

    def add_file(self, file: Path) -> None:
        for section, values in _read_toml(file).items():
            if not isinstance(values, Mapping):
                raise SettingsError(
                    f"{file}: {section} does not belong to a section; put it below a line such as [tuning]"
                )
            self.add(section, values, str(file))

    def add_environment(self, environment: Mapping[str, str]) -> None:
        for name, value in environment.items():
            section, _, key = name.removeprefix(_PREFIX).lower().partition("_")
            # A variable such as SEMCONV_PROJECT, or one of another program, is not a setting.
            is_meant = section in self._values or difflib.get_close_matches(section, self._values, cutoff=0.8)
            if name.startswith(_PREFIX) and key and is_meant:
                self.add(section, {key: value}, f"the variable {name}")

    def source(self, section: str, key: str) -> str:
        """Return the source of a setting: a file, a variable, the setting's own name for an override, or ``default``."""
        return self._sources.get((section, key), "default")

    def settings(self) -> Settings:
        """Build the settings from these values. Settings without a value get their default."""
        return Settings(**{section: self.build(section, cls) for section, cls in self._sections.items()})

    def build(self, section: str, cls: type[Any]) -> Any:
        fields = {field.name: field for field in dataclasses.fields(cls)}
        hints = get_type_hints(cls)
        for key in self._values[section]:
            if key not in fields:
                source = self._sources[section, key]
                raise SettingsError(f"{source}: unknown key {key} in [{section}]{_suggestion(key, fields)}")
        return cls(
            **{
                key: _convert(value, hints[key], fields[key], f"{section}.{key}")
                for key, value in self._values[section].items()
            }
        )


def _suggestion(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message: the most similar known name and all known names."""
    known = list(known)
    similar = difflib.get_close_matches(name, known, n=1)
    start = f"; did you mean {similar[0]}? Known are" if similar else "; known are"
    return f"{start} {', '.join(known)}"


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode().removeprefix("\ufeff"))  # some editors write a byte order mark
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file; `semconv init` creates a project") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: not valid TOML ({error})") from error


def _convert(value: Any, hint: Any, field: dataclasses.Field[Any], name: str) -> Any:
    """Convert a value to the type of its field and check its range."""
    if hint in (Names, NamedNumbers):
        return _names(value, name) if hint == Names else _named_numbers(value, name)
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
    low, high = field.metadata["low"], field.metadata["high"]
    if (low is not None and not result >= low) or (high is not None and not result <= high):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise SettingsError(f"{name} = {result}: must be {bounds}")
    return result


def _names(value: Any, name: str) -> tuple[str, ...]:
    """Read a list of names from a TOML array, or from text such as ``purchase, cart``."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) and part for part in value):
        raise SettingsError(f'{name} = {value!r}: must be a list of names, such as ["purchase", "cart"]')
    return tuple(dict.fromkeys(value))


def _named_numbers(value: Any, name: str) -> tuple[tuple[str, float], ...]:
    """Read numbers by name from a TOML table, or from text such as ``view=0.1, cart=0.3``."""
    if isinstance(value, str):
        pairs = [part.rpartition("=") for part in value.split(",") if part.strip()]
        value = {name or number: number for name, _, number in pairs}  # without a sign, the error names the part
    if not isinstance(value, Mapping):
        raise SettingsError(f"{name} = {value!r}: must be a table of numbers, such as {{ view = 0.1, cart = 0.3 }}")
    numbers = {str(key).strip(): _scalar(number, float, f"{name}.{str(key).strip()}") for key, number in value.items()}
    for key, number in numbers.items():
        if not key or not math.isfinite(number):
            raise SettingsError(f"{name}.{key} = {number}: must be a finite number with a name")
    return tuple(numbers.items())


def _scalar(value: Any, hint: type[Any], name: str) -> Any:
    if hint is str:
        return str(value)
    if hint is bool:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if str(value).lower() in words:
            return words[str(value).lower()]
        raise SettingsError(f"{name} = {value!r}: must be true or false")
    expected = "a whole number" if hint is int else "a number"
    if isinstance(value, bool) or (hint is int and isinstance(value, float) and not value.is_integer()):
        raise SettingsError(f"{name} = {value!r}: must be {expected}")
    try:
        return hint(value)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{name} = {value!r}: must be {expected}") from error
