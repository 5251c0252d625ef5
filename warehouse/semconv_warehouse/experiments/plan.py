"""What an experiment is: rows of settings, each tuned and evaluated alike, some beside a published row.

The paper's tables come with the package, one TOML file each; a user's own file has the same form:

    title = "What it asks"
    [settings]                  # of every row; --set on the command line is stronger
    "tuning.epochs" = 4
    [[row]]
    label = "w/o LA"
    settings = { "codebook.alignment" = 0.0 }    # stronger than --set: they are what the row is
    method = "model"            # whose figures the row shows
    codes = "codes.parquet"     # codes made elsewhere instead of a fit, beside the file
    paper = { "hr@5" = 0.0836 } # a published row
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
ALL_ITEMS = "items"  # as codebook.codes: one code an item, the paper's row C = 1
_FOLDER = Path(__file__).parent / "experiments"


@dataclass(frozen=True)
class ExperimentRow:
    """One row of a table."""

    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # 'section.key' -> value
    method: str = "model"  # of the metric rows: 'model', 'popularity', 'transition', 'behavior-dccf', ...
    codes: Path | None = None
    paper: Mapping[str, float] = field(default_factory=dict)  # figure -> published value


@dataclass(frozen=True)
class Experiment:
    """A table."""

    name: str
    title: str
    settings: Mapping[str, Any]
    rows: tuple[ExperimentRow, ...]


def shipped() -> list[str]:
    """Names of the experiments that come with the package."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))


def read_experiment(name: str) -> Experiment:
    """A shipped experiment by name, or one from a TOML file.

    Raises:
        InputError: neither is there, or the file is no TOML or has no row.
        SettingsError: an unknown key or setting in it.
    """
    file = _FOLDER / f"{name}.toml" if name in shipped() else Path(name)
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if name.endswith(".toml"):
            raise InputError(f"{name}: no such file") from error
        raise InputError(f"no experiment {name}: give one of {', '.join(shipped())}, or a TOML file") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{file}: cannot be read as TOML ({error})") from error
    _check_keys(content, ("title", "settings", "row"), str(file))
    listed = content.get("row", [])
    if not isinstance(listed, list):
        raise InputError(f"{file}: row must be a list of tables, written [[row]]")
    rows = tuple(_row(row, place, file) for place, row in enumerate(listed, start=1))
    if not rows:
        raise InputError(f"{file}: an experiment needs at least one [[row]] with a label")
    labels = [row.label for row in rows]
    if len(set(labels)) < len(labels):
        raise InputError(f"{file}: two rows have the same label")
    settings = _settings(content, str(file))
    return Experiment(file.stem, str(content.get("title", file.stem)), settings, rows)


def _row(content: Any, place: int, file: Path) -> ExperimentRow:
    where = f"{file}, row {place}"
    if not isinstance(content, dict):
        raise InputError(f"{where}: must be a table, written [[row]]")
    _check_keys(content, ("label", "settings", "method", "codes", "paper"), where)
    if not content.get("label"):
        raise InputError(f"{where}: has no label")
    codes = None if content.get("codes") is None else file.parent / str(content["codes"])
    if codes is not None and not codes.is_file():
        raise InputError(f"{where}: {codes}: no such file of codes")
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
            raise InputError(f"{where}: paper {name} = {value!r} is no number")
    return {name: float(value) for name, value in paper.items()}


def _settings(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Settings by ``section.key``, whether written so in quotes or as tables like in ``semconv.toml``."""
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
        raise InputError(f"{where}: {name} must be a table, not {value!r}")
    return value


def _check_keys(content: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in content:
        if key not in known:
            raise SettingsError(f"{where}: unknown key {key}; known are {', '.join(known)}")
