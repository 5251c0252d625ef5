"""The settings as text: a new project's ``semconv.toml`` and the settings page of the documentation."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from typing import Any, Literal, get_args, get_origin

from semconv.settings.tree import iter_options, sections


def settings_template() -> str:
    """``semconv.toml`` with every setting at its default, commented out under its documentation."""
    lines = [
        "# Settings of this project. A line with a leading `# ` before its name is the default: remove it to change the value.",
        "# Stronger than this file: SEMCONV_SECTION_KEY in the environment, then --set section.key=value.",
    ]
    last = ""
    for section, field, hint in iter_options():
        if section != last:
            lines += ["", f"[{section}]"]
            last = section
        note = f"{field.metadata['doc']} {_values(field, hint)}".strip()
        lines += [f"# {line}" for line in textwrap.wrap(note, 110)]
        lines += [f"# {field.name} = {_toml(field.default)}", ""]
    return "\n".join(lines).rstrip() + "\n"


def settings_page() -> str:
    """The settings as Markdown, one table a section."""
    lines = [
        "# Settings",
        "",
        "A setting is looked up in this order: a flag or `--set section.key=value`, the variable `SEMCONV_SECTION_KEY`,",
        "the project's `semconv.toml`, the default below. Unknown sections and keys are refused. Every run is stored with",
        "the settings it was made with.",
    ]
    last = ""
    for section, field, hint in iter_options():
        if section != last:
            lines += ["", f"## [{section}]", "", sections()[section].__doc__ or "", ""]
            lines += ["| key | default | what it does |", "|---|---|---|"]
            last = section
        note = f"{field.metadata['doc']} {_values(field, hint)}".strip().replace("|", "\\|")
        lines.append(f"| `{field.name}` | `{_toml(field.default)}` | {note} |")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A default as TOML writes it; a setting that is unset is the empty string there."""
    return json.dumps("" if value is None else value)


def _values(field: dataclasses.Field[Any], hint: Any) -> str:
    """Which values are allowed, in words; empty where the type says it all."""
    if get_origin(hint) is Literal:
        return f"One of {', '.join(json.dumps(value) for value in get_args(hint))}."
    low, high = field.metadata["low"], field.metadata["high"]
    if low is not None and high is not None:
        return f"From {low:g} to {high:g}."
    return f"At least {low:g}." if low is not None else ""
