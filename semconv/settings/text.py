"""Write the settings as text: a new project's ``semconv.toml`` and the settings page of the documentation."""

from __future__ import annotations

import dataclasses
import itertools
import json
import textwrap
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from semconv.settings.presets.read import Preset
from semconv.settings.tree import iter_options, sections

_OVERRIDES = "# SEMCONV_SECTION_KEY in the environment overrides this file, and --set section.key=value overrides both."


def settings_template(preset: Preset | None = None) -> str:
    """Return a ``semconv.toml`` in which every setting is described and set to its default in a comment.

    Args:
        preset: sets its settings to its values. A comment after each value gives its source and the default.
    """
    lines = [*_first_lines(preset), _OVERRIDES]
    for section, doc, options in _documented_sections():
        lines += ["", f"[{section}]", f"# {doc}", ""]
        for field, note in options:
            lines += [f"# {line}" for line in textwrap.wrap(note, 110)]
            lines += [_assignment(f"{section}.{field.name}", field, preset), ""]
    return "\n".join(lines).rstrip() + "\n"


def _first_lines(preset: Preset | None) -> list[str]:
    if preset is None:
        return [
            "# Settings of this project. Every setting below is commented out and shows its default.",
            "# To change one, remove the `# ` before its name.",
        ]
    return [
        f"# Settings of this project, created from the preset {preset.name}.",
        *(f"# {line}" for line in preset.about),
        "# A setting that is commented out shows its default. To change it, remove the `# ` before its name.",
        f"# `semconv show settings --preset {preset.name}` compares the settings in use with the preset.",
    ]


def _assignment(name: str, field: dataclasses.Field[Any], preset: Preset | None) -> str:
    """Return the line of ``semconv.toml`` that sets a field: its value in the preset, or its default in a comment."""
    if preset is None or name not in preset.values:
        return f"# {field.name} = {_toml(field.default, field)}"
    value, default = _toml(preset.values[name], field), _toml(field.default, field)
    changed = "" if value == default else f"; the default is {default}"
    return f"{field.name} = {value} # {preset.sources[name]}{changed}"


def settings_page() -> str:
    """Return the settings as Markdown, one table per section."""
    lines = [
        "# Settings",
        "",
        "A setting has the first value that is found in this order:",
        "",
        "1. an option of the command, or `--set section.key=value`",
        "2. the environment variable `SEMCONV_SECTION_KEY`",
        "3. the file `semconv.toml` in the project folder",
        "4. the default in the tables below.",
        "",
        "An unknown section or key is an error. Every run records its settings. Some numbers have no default.",
        'The table shows `""` for them, and their description says what is used instead.',
    ]
    for section, doc, options in _documented_sections():
        lines += ["", f"## [{section}]", "", doc, "", "| key | default | description |", "|---|---|---|"]
        for field, note in options:
            lines.append(f"| `{field.name}` | `{_toml(field.default, field)}` | {note} |")
    return "\n".join(lines) + "\n"


def _documented_sections() -> Iterator[tuple[str, str, list[tuple[dataclasses.Field[Any], str]]]]:
    """Yield the name and the description of every section, and its fields with their descriptions."""
    for section, options in itertools.groupby(iter_options(), key=lambda option: option[0]):
        described = [(field, f"{field.metadata['doc']} {_allowed(field, hint)}".strip()) for _, field, hint in options]
        yield section, sections()[section].__doc__ or "", described


def _toml(value: Any, field: dataclasses.Field[Any]) -> str:
    """Return a value of a setting as TOML. A setting without a default becomes the empty string."""
    if field.type == "NamedNumbers":
        pairs = ", ".join(f"{json.dumps(name)} = {number:g}" for name, number in dict(value).items())
        return f"{{ {pairs} }}" if pairs else "{}"
    return json.dumps("" if value is None else value)


def _allowed(field: dataclasses.Field[Any], hint: Any) -> str:
    """Return a sentence that names the allowed values, or an empty text if every value of the type is allowed."""
    if get_origin(hint) is Literal:
        return f"One of {', '.join(json.dumps(value) for value in get_args(hint))}."
    low, high = field.metadata["low"], field.metadata["high"]
    if low is not None and high is not None:
        return f"From {low:g} to {high:g}."
    return f"At least {low:g}." if low is not None else ""
