"""Settings of the section [gates]."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.settings.option import option


@dataclass(frozen=True)
class GateSettings:
    """Limits that new lists must keep before they are published, and that a snapshot of the items must keep before it is stored. The option `--force` overrides them. 0 or false switches a gate off."""

    min_users: float = option(
        0.9, "Refuse to publish if fewer than this share of the users with published lists would keep a list.",
        low=0, high=1,
    )  # fmt: skip
    min_items: float = option(
        0.5,
        "Refuse to publish if the new lists have fewer different items than this share of the different items in"
        " the published lists.",
        low=0,
        high=1,
    )
    min_length: float = option(
        0.7,
        "Refuse to publish if the mean length of the new lists is less than this share of the mean length of the"
        " published lists, or of recommend.top_k if that is less.",
        low=0,
        high=1,
    )
    max_removed: float = option(
        0.3,
        "`semconv ingest items --snapshot` refuses a snapshot that would remove more than this share of the"
        " available items.",
        low=0,
        high=1,
    )
    max_quality_drop: float = option(
        0.1,
        "Refuse to publish lists of another model, blend or method if its NDCG@10 on held-out items is lower than that"
        " of the published method by more than this share. Both are measured on the same users. The gate fails only if"
        " the whole confidence interval of the difference lies beyond the limit.",
        low=0,
        high=1,
    )
    above_popularity: bool = option(
        True,
        "Refuse to publish lists of another model, blend or method if its NDCG@10 on held-out items is lower than the"
        " NDCG@10 of the most popular items, and the whole confidence interval of the difference is below 0. The first"
        " publication of a project only warns.",
    )
    max_days_without_events: int = option(
        0, "Refuse to publish if the newest interaction is more than this number of days old.", low=0
    )
