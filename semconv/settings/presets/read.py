"""Read a preset: a TOML file in this folder. A comment at the end of each line gives the source of the value."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semconv.errors import SettingsError

_FOLDER = Path(__file__).parent
_SECTION = re.compile(r"\[(\w+)\]")
_LINE = re.compile(r"(\w+) = .*? # (.+)")


@dataclass(frozen=True)
class Preset:
    """Values for some of the settings, each with its source. All other settings keep their defaults."""

    name: str
    about: tuple[str, ...]  # lines of text about the preset
    values: Mapping[str, Any]  # 'section.key' -> value
    sources: Mapping[str, str]  # 'section.key' -> section, equation or table of the paper, or section of docs/method.md


def preset_names() -> list[str]:
    """Return the names of the presets."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))


def read_preset(name: str) -> Preset:
    """Read a preset with the source of each value.

    Raises:
        SettingsError: there is no preset of this name; the message lists the names that exist.
    """
    if name not in preset_names():
        raise SettingsError(f"there is no preset {name}; give one of {', '.join(preset_names())}")
    text = (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    sections = tomllib.loads(text)
    values = {f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()}
    about = text.partition("\n\n")[0].splitlines()
    return Preset(name, tuple(line.removeprefix("#").strip() for line in about), values, _sources(text))


def _sources(text: str) -> dict[str, str]:
    """Return the comment at the end of each line of a preset, by ``section.key``."""
    section, sources = "", {}
    for line in text.splitlines():
        if head := _SECTION.fullmatch(line):
            section = head[1]
        elif found := _LINE.fullmatch(line):
            sources[f"{section}.{found[1]}"] = found[2]
    return sources
