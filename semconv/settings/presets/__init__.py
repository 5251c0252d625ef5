"""Presets: settings that semconv brings along, one TOML file for each preset."""

from semconv.settings.presets.compare import compared
from semconv.settings.presets.read import Preset, preset_names, read_preset

__all__ = ["Preset", "compared", "preset_names", "read_preset"]
