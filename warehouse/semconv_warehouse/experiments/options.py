"""The options of `semconv experiment`, and the rows that they leave in a table or add to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from semconv.errors import InputError, SettingsError
from semconv.settings.backbone import BackboneSettings
from semconv_warehouse.experiments.plan import Experiment, ExperimentRow

BUILT_IN = "built-in"  # name of the built-in backbone in --backbone
UNLIMITED = 1000  # epochs and patience of a training that a number of samples ends


@dataclass(frozen=True)
class ExperimentOptions:
    """How an experiment is run.

    Attributes:
        split: held-out items; with ``valid``, training uses the train cut ``[:-2]``.
        seeds: each row is computed once with each seed.
        budget: number of training samples of each row; 0 for the limits of the settings.
        backbones: folders or hub names of backbones, for a table that compares backbones.
        codes: file of external codes, for rows that need one.
        peer_seconds: for a leaderboard, processor seconds of a peer's training; 0 for those of the project's model.
        other_head: for a leaderboard, whether to tune a model with the head that the project's model does not have.
    """

    split: Literal["test", "valid"] = "valid"
    seeds: Sequence[int] = (0,)
    budget: int = 0
    backbones: Sequence[str] = ()
    codes: Path | None = None
    peer_seconds: float = 0.0
    other_head: bool = False

    def limits(self) -> dict[str, Any]:
        """Return the settings with which every training uses exactly the budget, and validation chooses an epoch."""
        if not self.budget:
            return {}
        return {"tuning.max_samples": self.budget, "tuning.epochs": UNLIMITED, "tuning.patience": UNLIMITED}


@dataclass(frozen=True)
class LeftOut:
    """A row of a table that is not computed, and the reason."""

    label: str
    reason: str


def chosen_rows(experiment: Experiment, options: ExperimentOptions) -> tuple[Experiment, list[LeftOut]]:
    """Return an experiment with only the rows that the options allow, and the rows that are left out.

    Raises:
        SettingsError: the table compares backbones and there are fewer than two, or it does not compare backbones.
        InputError: the file of external codes does not exist.
    """
    if experiment.compares_backbones:
        experiment = _with_backbones(experiment, options.backbones)
    elif options.backbones:
        raise SettingsError(
            f"{experiment.name} has one backbone, the one of the settings; --backbone belongs to a table that compares"
            " backbones, such as table6"
        )
    if options.codes is not None and not options.codes.is_file():
        raise InputError(
            f"{options.codes}: no such file; give --codes NAME.index.json, or a Parquet file with the columns item_id and codes"
        )
    if options.codes is not None and not any(row.needs_codes for row in experiment.rows):
        raise SettingsError(f"{experiment.name} has no row that needs --codes; leave the option out")
    rows, left_out = [], []
    for row in experiment.rows:
        if row.left_out:
            left_out.append(LeftOut(row.label, row.left_out))
        elif row.needs_codes and options.codes is None:
            reason = "it needs published codes; give --codes NAME.index.json, or a Parquet file of item_id and codes"
            left_out.append(LeftOut(row.label, reason))
        else:
            rows.append(replace(row, codes=options.codes) if row.needs_codes else row)
    return replace(experiment, rows=tuple(rows)), left_out


def _with_backbones(experiment: Experiment, backbones: Sequence[str]) -> Experiment:
    """Return an experiment with one row for each backbone. The first one is the reference.

    A row of the file stands for a published model. Its figures go to the backbone of the same name.
    """
    if len(set(backbones)) < 2:
        given = f"only {backbones[0]} is given" if backbones else "none is given"
        raise SettingsError(
            f"{experiment.name} compares backbones, and {given}; give --backbone at least twice, each time with another"
            f" folder, hub name, {BUILT_IN} or {BUILT_IN}:LAYERSxWIDTH"
        )
    published = {_model_name(row.label): row.paper for row in experiment.rows}
    rows = tuple(
        ExperimentRow(name, settings=backbone_settings(name), paper=published.get(_model_name(name), {}))
        for name in dict.fromkeys(backbones)
    )
    return replace(experiment, rows=rows, reference=rows[0].label)


def backbone_settings(name: str) -> dict[str, Any]:
    """Return the settings for a backbone: a folder, a hub name, ``built-in`` or ``built-in:LAYERSxWIDTH``.

    Raises:
        SettingsError: the size of a built-in backbone is not two whole numbers, or its heads have no even width.
    """
    kind, colon, size = name.partition(":")
    if kind != BUILT_IN:
        return {"backbone.path": str(Path(name).resolve()) if Path(name).is_dir() else name}
    if not colon:
        return {"backbone.path": ""}
    layers, _, width = size.partition("x")
    step = 2 * BackboneSettings().heads  # the width of a head must be even
    if not (layers.isdecimal() and width.isdecimal()) or int(layers) == 0 or int(width) % step or int(width) == 0:
        raise SettingsError(
            f"--backbone {name}: write the number of layers and the width, a multiple of {step}, such as {BUILT_IN}:2x64"
        )
    shape = {"layers": int(layers), "width": int(width), "mlp_width": 3 * int(width)}
    return {"backbone.path": "", **{f"backbone.{key}": value for key, value in shape.items()}}


def _model_name(name: str) -> str:
    """Return the part of a folder or hub name that names the model, such as ``llama-7b``."""
    return Path(name).name.casefold().removesuffix("-hf")
