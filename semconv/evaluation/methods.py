"""The methods that an evaluation compares, in the order in which every report lists them.

To add a baseline, write its SQL file in ``sql/baselines`` and add one entry to :data:`METHODS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from semconv.columns import METHOD_BLEND, METHOD_MODEL, METHOD_WITHOUT_MODEL
from semconv.errors import SettingsError
from semconv.settings.tree import Settings

POPULARITY: Final = "popularity"
RECENT_POPULARITY: Final = "recent-popularity"
TRANSITION: Final = "transition"
NEWEST: Final = "newest"
TEXT_COSINE: Final = "text-cosine"


@dataclass(frozen=True)
class ScoreRanking:
    """The parameters of ``best_of_scored.sql``, which turns the scores of a method's SQL file into lists.

    Attributes:
        digits: decimals to which scores are rounded.
        filler_score: score of the popular items that fill up a short list; it is lower than every other score.
    """

    digits: int
    filler_score: float


@dataclass(frozen=True)
class Method:
    """One method of ranking items: its name in tables and reports, and the source of its lists.

    The lists come from an SQL file or from behaviour vectors. The lists of all other methods (such as the model) are in
    the evaluated recommend run.

    Attributes:
        name: value of the column ``method``.
        sql: stem of the method's file in ``sql/baselines``.
        sql_before: stem of a file that runs before it, with a table that several methods read.
        constants: parameters of the SQL file that no setting changes, with their values.
        settings: parameters of the SQL file whose values are the settings of the same names in a section.
        section: the section of these settings.
        ranking: how the scores of the SQL file become lists; None if the SQL file ranks the items itself.
        is_tuned: whether a search on validation users replaces the parameters of the settings.
        behavior_source: value of the setting ``behavior.source`` whose vectors rank the items.
        days: for a method that only leaderboards measure: number of days before each user's moment that count.
        is_for_new: whether it is measured only if some held-out item has no counted interactions.
    """

    name: str
    sql: str = ""
    sql_before: str = ""
    constants: Mapping[str, float] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    section: Literal["counter", "smoothed"] = "counter"
    ranking: ScoreRanking | None = None
    is_tuned: bool = False
    behavior_source: str = ""
    days: int = 0
    is_for_new: bool = False

    def parameters(self, settings: Settings) -> dict[str, float]:
        """Return the parameters of the SQL file whose values come from the settings."""
        section = getattr(settings, self.section)
        return {name: getattr(section, name) for name in self.settings}

    def defaults(self) -> dict[str, float]:
        """Return all parameters of the SQL file with their default values."""
        return {**self.constants, **self.parameters(Settings())}


_COUNTER: Final = ("decay", "symmetry", "history_decay", "alpha")
_SMOOTHED: Final = ("decay", "reach", "symmetry", "history_decay", "pseudo_count", "scale")
_HOPS: Final = ("decay", "reach", "symmetry", "history_decay", "scale", "hop_items", "hop_successors")
METHODS: tuple[Method, ...] = (
    Method(METHOD_MODEL),
    Method(METHOD_BLEND),
    Method(METHOD_WITHOUT_MODEL),
    Method(POPULARITY, "popularity"),
    Method(RECENT_POPULARITY, "recent_popularity", constants={"half_life_days": 90.0}),
    Method("popularity-28-days", days=28),
    Method(TRANSITION, "transition", settings=_COUNTER, ranking=ScoreRanking(9, 0.0)),
    Method("transition-tuned", "transition", settings=_COUNTER, ranking=ScoreRanking(9, 0.0), is_tuned=True),
    Method(
        "transition-smoothed",
        "transition_smoothed",
        sql_before="smoothed_pairs",
        settings=_SMOOTHED,
        section="smoothed",
        ranking=ScoreRanking(9, 0.0),
    ),
    Method(
        "transition-two-hops",
        "transition_two_hops",
        sql_before="smoothed_pairs",
        settings=_HOPS,
        section="smoothed",
        ranking=ScoreRanking(9, 0.0),
    ),
    Method(
        "item-cosine",
        "item_cosine",
        settings=("history_decay",),
        ranking=ScoreRanking(6, -2.0),
    ),
    *(Method(f"behavior-{source}", behavior_source=source) for source in ("svd", "dccf", "given")),
    Method(NEWEST, is_for_new=True),
    Method(TEXT_COSINE, settings=("history_decay",), is_for_new=True),
)


def sql_method(name: str) -> Method:
    """Return the method of this name that has an SQL file; raise SettingsError if there is none."""
    known = {method.name: method for method in METHODS if method.sql}
    if name not in known:
        raise SettingsError(f"unknown baseline {name}; known baselines are {', '.join(known)}")
    return known[name]


def baselines(behavior_source: str, *, is_tuned: bool = True, for_new: Sequence[str] = ()) -> list[Method]:
    """Return the methods that an evaluation compares with the lists of a recommend run.

    Args:
        behavior_source: value of ``behavior.source`` of the project's behaviour vectors.
        is_tuned: whether parameters were searched on validation users.
        for_new: names of the methods for new items that are measured.
    """
    return [
        method
        for method in METHODS
        if (method.sql and (is_tuned or not method.is_tuned))
        or method.behavior_source == behavior_source
        or method.name in for_new
    ]


def compared_names(
    behavior_source: str,
    listed: Sequence[str] = (METHOD_MODEL,),
    *,
    is_tuned: bool = True,
    for_new: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return the names of all methods of an evaluation: the methods ``listed`` in the recommend run come first."""
    known = baselines(behavior_source, is_tuned=is_tuned, for_new=for_new)
    return (*listed, *(method.name for method in known))


def report_order(name: str) -> int:
    """Return the sort key of a method in reports; unknown methods come last."""
    names = [method.name for method in METHODS]
    return names.index(name) if name in names else len(names)
