"""Read an experiment: a table of rows. With the settings of each row, a model is tuned and evaluated.

This folder has a TOML file for each table of the paper. A user's own experiment is a TOML file in the same form;
docs/experiments.md describes its keys.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semconv.errors import InputError, SettingsError
from semconv.settings.tree import iter_options

FIGURES = ("hr@1", "hr@5", "hr@10", "ndcg@5", "ndcg@10")
ALL_ITEMS = "items"  # value of codebook.codes: every item has its own code (row C = 1 of the paper's Table 5)
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class ExperimentRow:
    """One row of an experiment: settings, the method whose metrics it shows, and metrics that the paper reports."""

    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # 'section.key' -> value
    method: str = "model"  # 'model', 'popularity', 'transition', 'behavior-dccf', ...
    codes: Path | None = None
    paper: Mapping[str, float] = field(default_factory=dict)  # figure -> published value


@dataclass(frozen=True)
class Experiment:
    """An experiment: a table of rows, and the settings that all rows share."""

    name: str
    title: str
    settings: Mapping[str, Any]
    rows: tuple[ExperimentRow, ...]


def shipped() -> list[str]:
    """Return the names of the experiments that semconv brings along, such as ``table3``."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))


def read_experiment(name: str) -> Experiment:
    """Read an experiment: one that semconv brings along, by its name, or a user's own from a TOML file.

    Raises:
        InputError: there is no such experiment or file, or the file is not TOML or has no row.
        SettingsError: the file has an unknown key or setting.
    """
    file = _FOLDER / f"{name}.toml" if name in shipped() else Path(name)
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if name.endswith(".toml"):
            raise InputError(f"{name}: no such file; give the path of a TOML file") from error
        raise InputError(
            f"there is no experiment {name}; give one of {', '.join(shipped())}, or the path of a TOML file"
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{file}: cannot be read as TOML ({error})") from error
    _check_keys(content, ("title", "settings", "row"), str(file))
    listed = content.get("row", [])
    if not isinstance(listed, list):
        raise InputError(f"{file}: `row` is not a list of tables; begin each row of the experiment with a line [[row]]")
    rows = tuple(_row(row, number, file) for number, row in enumerate(listed, start=1))
    if not rows:
        raise InputError(f"{file}: the experiment has no rows; add at least one [[row]] with a label")
    labels = [row.label for row in rows]
    if len(set(labels)) < len(labels):
        raise InputError(f"{file}: two rows have the same label; give each row a different label")
    settings = _settings(content, str(file))
    return Experiment(file.stem, str(content.get("title", file.stem)), settings, rows)


def _row(content: Any, number: int, file: Path) -> ExperimentRow:
    where = f"{file}, row {number}"
    if not isinstance(content, dict):
        raise InputError(f"{where}: this is not a table; begin each row with a line [[row]]")
    _check_keys(content, ("label", "settings", "method", "codes", "paper"), where)
    if not content.get("label"):
        raise InputError(f'{where}: the row has no label; add a line label = "..."')
    codes = None if content.get("codes") is None else file.parent / str(content["codes"])
    if codes is not None and not codes.is_file():
        raise InputError(f"{where}: the file with external codes, {codes}, does not exist")
    return ExperimentRow(
        label=str(content["label"]),
        settings=_settings(content, where),
        method=str(content.get("method", "model")),
        codes=codes,
        paper=_published(content, where),
    )


def _published(content: Mapping[str, Any], where: str) -> dict[str, float]:
    paper = _table(content, "paper", where)
    _check_keys(paper, FIGURES, where)
    for name, value in paper.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InputError(f"{where}: in paper, the value {value!r} of {name} is not a number")
    return {name: float(value) for name, value in paper.items()}


def _settings(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return settings by ``section.key``, from quoted keys ``"section.key"`` or from tables ``[section]``."""
    known = {f"{section}.{option.name}" for section, option, _ in iter_options()}
    settings: dict[str, Any] = {}
    for name, value in _table(content, "settings", where).items():
        settings |= (
            {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, dict) else {name: value}
        )
    for name in settings:
        if name not in known:
            raise SettingsError(f"{where}: unknown setting {name}; docs/settings.md lists them")
    return settings


def _table(content: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    value = content.get(name, {})
    if not isinstance(value, dict):
        raise InputError(f"{where}: {name} must be a TOML table, not {value!r}")
    return value


def _check_keys(content: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in content:
        if key not in known:
            raise SettingsError(f"{where}: unknown key {key}; the known keys are {', '.join(known)}")
