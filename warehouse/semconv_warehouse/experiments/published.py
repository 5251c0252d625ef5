"""Decide whether figures that the paper reports may stand beside measured ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from semconv.columns import Split
from semconv.data.statistics import DataStatistics
from semconv.settings.codebook import RqvaeSettings
from semconv.settings.events import EventSettings
from semconv.settings.load import load_settings
from semconv.settings.presets import read_preset
from semconv.settings.tree import Settings


@dataclass(frozen=True)
class PaperData:
    """One data set of the paper's Table 2."""

    users: int
    items: int
    average_length: float  # of the users' sequences, to three decimals


PAPER_DATA: Final[Mapping[str, PaperData]] = {
    "Games": PaperData(50_546, 16_859, 8.962),
    "Arts": PaperData(45_141, 20_956, 8.658),
    "Instruments": PaperData(24_772, 9_922, 8.322),
}
_HISTORY_LENGTH = 20  # longest history of the paper
# Settings with reasons of their own, and epochs, which a run on [:-2] chose or which are the length of a training.
_NAMED = ("split.train_cut", "split.history_length", "recommend.seen", "dccf.epochs", "tuning.epochs", "rqvae.epochs")
# Settings of the method that the presets leave at their defaults. The length of a training is no part of the method: the
# paper does not say its own, and a page states the budget.
_OF_BUILT_IN = ("backbone.heads", "backbone.vocabulary", "backbone.context")
_UNLISTED = ("codebook.iterations", "tuning.accumulate", "tuning.max_gradient_norm")
_OF_RQVAE = tuple(f"rqvae.{option.name}" for option in dataclasses.fields(RqvaeSettings))


def paper_data_set(statistics: DataStatistics) -> str | None:
    """Return the data set of the paper that has these counts of users, items and interactions; None if none has."""
    for name, paper in PAPER_DATA.items():
        same = (statistics.users, statistics.items, round(statistics.average_length, 3))
        if same == (paper.users, paper.items, paper.average_length):
            return name
    return None


def differences_from_paper(
    statistics: DataStatistics, settings: Settings, split: Split, preset: str = "", own: Collection[str] = ()
) -> list[str]:
    """Return in which respects a measurement is not comparable with the paper's figures; empty if it is comparable.

    Args:
        preset: preset of the row. A setting that has another value than in the preset makes another method.
        own: settings of the row itself, which may differ from the preset, because they make the row.
    """
    found = []
    if statistics.items_without_interactions:
        found.append(
            f"the catalogue has {statistics.items_without_interactions:,} items without interactions, and the paper's has none"
        )
    if paper_data_set(statistics) is None:
        found.append(
            f"the data has {statistics.users:,} users, {statistics.items:,} items and {statistics.interactions:,}"
            " interactions, and no data set of the paper has these counts"
        )
    if split != "test":
        found.append("the held-out items are those of the split valid, and the paper's are the last items of the users")
    if settings.split.temporal_at:
        found.append("the split is in time, and the paper leaves one item out")
    if settings.split.train_cut != "[:-1]":
        found.append(f"the train cut is {settings.split.train_cut}, and the paper's is [:-1]")
    if settings.split.history_length != _HISTORY_LENGTH:
        found.append(f"histories have {settings.split.history_length} items, and the paper's have {_HISTORY_LENGTH}")
    if settings.recommend.seen != "kept":
        found.append("seen items are masked, and the paper keeps them")
    if settings.recommend.where:
        found.append("recommend.where leaves out items")
    if settings.evaluate.max_users:
        found.append(f"evaluate.max_users leaves out all users but {settings.evaluate.max_users:,}")
    if settings.events != EventSettings(repeats="keep"):
        found.append("settings of [events] change which interactions there are")
    return found + (_differences_from_preset(settings, preset, own) if preset else [])


def _differences_from_preset(settings: Settings, preset: str, own: Collection[str]) -> list[str]:
    """Return the settings of the method that differ from the preset, apart from those that belong to the row."""
    values = read_preset(preset).values
    expected = load_settings(None, environment={}, overrides=values)
    names = {*values, *_UNLISTED, *(_OF_BUILT_IN if "backbone.width" in values else ())}
    if settings.codebook.method == "rqvae":
        names |= set(_OF_RQVAE)
    found = []
    for name in names - {*own, *_NAMED}:
        section, _, key = name.partition(".")
        used, wanted = (getattr(getattr(tree, section), key) for tree in (settings, expected))
        if section != "events" and used != wanted:
            found.append(f"{name} is {used}, and the preset {preset} has {wanted}")
    return sorted(found)
