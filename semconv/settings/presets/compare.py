"""Compare the settings in use with a preset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from semconv.settings.load import SettingValue, load_settings
from semconv.settings.presets.read import read_preset


@dataclass(frozen=True)
class ComparedSetting:
    """A setting in use beside its value in a preset."""

    name: str  # 'section.key'
    value: Any
    preset: Any
    differs: bool
    source: str  # of the value in use
    preset_source: str  # of the value in the preset


def compared(values: Sequence[SettingValue], preset: str) -> list[ComparedSetting]:
    """Return the settings of a preset, each beside its value in use. Settings that differ come first.

    Args:
        values: the settings in use.
        preset: name of a preset.

    Raises:
        SettingsError: there is no preset of this name.
    """
    expected, in_use = read_preset(preset), {value.name: value for value in values}
    settings = load_settings(None, environment={}, overrides=expected.values)
    rows = []
    for name, source in expected.sources.items():
        section, _, key = name.partition(".")
        own, wanted = in_use[name], getattr(getattr(settings, section), key)
        rows.append(ComparedSetting(name, own.value, wanted, own.value != wanted, own.source, source))
    return sorted(rows, key=lambda row: not row.differs)
