"""Read an experiment: a table of rows. With the settings of each row, a model is tuned and evaluated.

This folder has a TOML file for each table of the paper, and one for the leaderboard ``peers``, whose rows are measured
beside the project's own model. A user's own experiment is a TOML file in the same form; docs/experiments.md describes
its keys.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semconv import columns
from semconv.errors import InputError, SettingsError
from semconv.peers.settings import Peer
from semconv.settings.presets import preset_names
from semconv.settings.tree import iter_options
from semconv_warehouse.experiments.published import PAPER_DATA

FIGURES = ("hr@1", "hr@5", "hr@10", "ndcg@5", "ndcg@10")
COSTS = ("tuning_samples", "tuning_processor_seconds", "ndcg@10_per_minute")
CODE_FIGURES = ("collision_rate", "collision_rate_distinct", "new_tokens")
ALL_ITEMS = "items"  # value of codebook.codes: every item has its own code (row C = 1 of the paper's Table 5)
BACKBONES = "backbones"  # value of the key `compares`
PEERS = ("sasrec", "bert4rec", "fmlp")
PROJECT = "project"  # value of the key `model`: the rows use the project's own model and blend
OF_MODEL = "model"  # value of the key `time` of a row: a peer trains as long as the model
HEADS = ("items", "codes")
_KEYS = ("title", "preset", "reference", "compares", "model", "strongest_of", "settings", "row", "claim")
_ROW_KEYS = (
    *("label", "settings", "method", "head", "peer", "dates", "texts", "time", "codes", "needs_codes", "left_out"),
    "paper",
)
_OF_PEERS = ("dates", "texts", "time")
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class ExperimentRow:
    """One row of an experiment: settings, the method whose metrics it shows, and metrics that the paper reports.

    Attributes:
        method: method of the evaluation whose metrics the row shows.
        head: for the method model of a leaderboard: 'items' for a model that scores whole items, 'codes' for one that
            generates codes; empty for the project's model, whichever it is.
        peer: a recommender that is trained instead of the model, such as 'sasrec'; empty for none.
        dates, texts: whether the peer reads the dates of events and the text vectors of items.
        has_model_time: whether the peer trains for at most as many processor seconds as the model.
        codes: a file of external codes to load instead of fitting codes.
        needs_codes: whether the row needs a file of external codes from the command line.
        left_out: why semconv cannot compute this row of the paper; empty if it can.
        paper: published figures by data set and name.
    """

    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # 'section.key' -> value
    method: str = "model"  # 'model', 'popularity', 'transition', 'behavior-dccf', ...
    head: str = ""
    peer: str = ""
    dates: bool = False
    texts: bool = False
    has_model_time: bool = False
    codes: Path | None = None
    needs_codes: bool = False
    left_out: str = ""
    paper: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def shows_model(self) -> bool:
        """Whether the figures are those of the tuned model or of the blend with it."""
        return not self.peer and self.method in (columns.METHOD_MODEL, columns.METHOD_BLEND)

    @property
    def measured(self) -> str:
        """The name of the method under which an evaluation stores the figures of the row."""
        return self.peer or self.method

    def peer_for(self, model_seconds: float | None) -> Peer:
        """Return the peer to train; ``model_seconds`` is the processor time of the model's training, if it is known."""
        return Peer(self.peer, self.dates, self.texts, (model_seconds or 0.0) if self.has_model_time else 0.0)


@dataclass(frozen=True)
class Claim:
    """A statement of the paper that one row has a higher NDCG@10 than another."""

    better: str  # label of a row
    than: str


@dataclass(frozen=True)
class Experiment:
    """An experiment: a table of rows, and the settings that all rows share.

    Attributes:
        preset: the preset from which all settings start; empty for the project's own settings.
        reference: label of the row that all other rows are compared with.
        compares_backbones: whether the rows come from the option ``--backbone``.
        uses_project: whether the rows are measured beside the project's own model, as a leaderboard.
        rivals: labels of rows of a leaderboard; the strongest of these rows is its second reference.
        argument: what the command line is given: the name of a table, or the name of a user's own file without its folder.
    """

    name: str
    title: str
    settings: Mapping[str, Any]
    rows: tuple[ExperimentRow, ...]
    preset: str = ""
    reference: str = ""
    compares_backbones: bool = False
    claims: tuple[Claim, ...] = ()
    uses_project: bool = False
    rivals: tuple[str, ...] = ()
    argument: str = ""


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
    content = _content(file, name)
    _check_keys(content, _KEYS, str(file))
    rows = tuple(_row(row, number, file) for number, row in enumerate(_list(content, "row", file), start=1))
    if not rows:
        raise InputError(f"{file}: the experiment has no rows; add at least one [[row]] with a label")
    labels = [row.label for row in rows]
    if len(set(labels)) < len(labels):
        raise InputError(f"{file}: two rows have the same label; give each row a different label")
    preset, compares = str(content.get("preset", "")), content.get("compares")
    if preset and preset not in preset_names():
        raise SettingsError(f"{file}: there is no preset {preset}; give one of {', '.join(preset_names())}")
    if compares not in (None, BACKBONES):
        raise SettingsError(f"{file}: compares = {compares!r} must be {BACKBONES!r}")
    computed = [row.label for row in rows if not row.left_out]
    reference = str(content.get("reference", next(iter(computed), "")))
    if reference not in computed:
        raise InputError(f"{file}: the reference {reference!r} is no row that can be computed; name the label of a row")
    claims = tuple(_claim(claim, labels, file) for claim in _list(content, "claim", file))
    settings = _settings(content, str(file))
    rivals = _rivals(content, labels, file)
    if content.get("model") not in (None, PROJECT):
        raise SettingsError(f"{file}: model = {content['model']!r} must be {PROJECT!r}")
    if "model" in content:
        _check_leaderboard(content, rows, file)
    elif rivals or any(row.head for row in rows):
        raise SettingsError(f"{file}: strongest_of and head belong to a leaderboard; add a line model = {PROJECT!r}")
    return Experiment(
        file.stem,
        str(content.get("title", file.stem)),
        settings,
        rows,
        preset,
        reference,
        compares is not None,
        claims,
        "model" in content,
        rivals,
        name if name in shipped() else file.name,
    )


def _rivals(content: Mapping[str, Any], labels: list[str], file: Path) -> tuple[str, ...]:
    rivals = content.get("strongest_of", [])
    if not isinstance(rivals, list) or not all(label in labels for label in rivals):
        raise InputError(f"{file}: strongest_of = {rivals!r} must be a list of labels of rows")
    return tuple(rivals)


def _check_leaderboard(content: Mapping[str, Any], rows: Sequence[ExperimentRow], file: Path) -> None:
    """Raise SettingsError if an experiment on the project's own model would change how that model is made."""
    for name in ("preset", "compares", "settings", "claim"):
        if name in content:
            raise SettingsError(
                f"{file}: model = {PROJECT!r} measures the project's own model, so {name} has no meaning; remove one"
            )
    for row in rows:
        if row.settings or row.codes or row.needs_codes or row.paper:
            raise SettingsError(
                f"{file}, row {row.label}: model = {PROJECT!r} measures the project's own model, so a row has no settings,"
                " codes or published figures; remove them"
            )


def _content(file: Path, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode().removeprefix("\ufeff"))
    except FileNotFoundError as error:
        if name.endswith(".toml"):
            raise InputError(f"{name}: no such file; give the path of a TOML file") from error
        if name == "table2":
            raise InputError(
                "Table 2 of the paper is statistics of the data, and no model is tuned; `semconv show data` prints them"
            ) from error
        raise InputError(
            f"there is no experiment {name}; give one of {', '.join(shipped())}, or the path of a TOML file"
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{file}: cannot be read as TOML ({error})") from error


def _list(content: Mapping[str, Any], name: str, file: Path) -> list[Any]:
    listed = content.get(name, [])
    if not isinstance(listed, list):
        raise InputError(
            f"{file}: `{name}` is not a list of tables; begin each {name} of the experiment with a line [[{name}]]"
        )
    return listed


def _row(content: Any, number: int, file: Path) -> ExperimentRow:
    where = f"{file}, row {number}"
    if not isinstance(content, dict):
        raise InputError(f"{where}: this is not a table; begin each row with a line [[row]]")
    _check_keys(content, _ROW_KEYS, where)
    if not content.get("label"):
        raise InputError(f'{where}: the row has no label; add a line label = "..."')
    peer = str(content.get("peer", ""))
    if peer and peer not in PEERS:
        raise SettingsError(f"{where}: there is no peer {peer}; give one of {', '.join(PEERS)}")
    if peer and ("method" in content or "head" in content):
        raise SettingsError(f"{where}: a row has either a peer or a method; remove one of them")
    _check_peer_options(content, peer, where)
    head = str(content.get("head", ""))
    if head and (head not in HEADS or content.get("method", "model") != "model"):
        raise SettingsError(f"{where}: head = {head!r} must be {' or '.join(HEADS)}, in a row of the method model")
    codes = None if content.get("codes") is None else file.parent / str(content["codes"])
    if codes is not None and not codes.is_file():
        raise InputError(f"{where}: the file with external codes, {codes}, does not exist")
    return ExperimentRow(
        label=str(content["label"]),
        settings=_settings(content, where),
        method=str(content.get("method", "model")),
        head=head,
        peer=peer,
        dates=content.get("dates") is True,
        texts=content.get("texts") is True,
        has_model_time="time" in content,
        codes=codes,
        needs_codes=content.get("needs_codes") is True,
        left_out=str(content.get("left_out", "")),
        paper=_published(content, where),
    )


def _check_peer_options(content: Mapping[str, Any], peer: str, where: str) -> None:
    """Raise SettingsError if a row has options of a peer that does not have them."""
    for name in _OF_PEERS:
        if name not in content:
            continue
        if not peer:
            raise SettingsError(f"{where}: {name} is an option of a peer; add a line peer = 'sasrec', or remove {name}")
        if name != "time" and peer != "sasrec":
            raise SettingsError(f"{where}: {peer} reads items only; remove {name}")
        if name == "time" and content[name] != OF_MODEL:
            raise SettingsError(f"{where}: time = {content[name]!r} must be {OF_MODEL!r}")
        if name != "time" and not isinstance(content[name], bool):
            raise SettingsError(f"{where}: {name} = {content[name]!r} must be true or false")


def _claim(content: Any, labels: list[str], file: Path) -> Claim:
    where = f"{file}, claim"
    if not isinstance(content, dict):
        raise InputError(f"{where}: this is not a table; begin each claim with a line [[claim]]")
    _check_keys(content, ("better", "than"), where)
    claim = Claim(str(content.get("better", "")), str(content.get("than", "")))
    for label in (claim.better, claim.than):
        if label not in labels:
            raise InputError(f"{where}: there is no row {label!r}; give `better` and `than` the labels of rows")
    return claim


def _published(content: Mapping[str, Any], where: str) -> dict[str, dict[str, float]]:
    """Return the published figures of a row by data set and name."""
    found = {}
    paper = _table(content, "paper", where)
    for data_set in paper:
        if data_set not in PAPER_DATA:
            raise SettingsError(
                f"{where}: paper.{data_set}: unknown data set; give one of {', '.join(PAPER_DATA)},"
                ' such as paper.Games = { "ndcg@10" = 0.0724 }'
            )
        figures = _table(paper, data_set, where)
        _check_keys(figures, FIGURES, where)
        for name, value in figures.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InputError(f"{where}: paper.{data_set}: the value {value!r} of {name} is not a number")
        found[data_set] = {name: float(value) for name, value in figures.items()}
    return found


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
