"""Sentences on what a reader of an experiment's figures must know: items out of reach, and what the data lacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from semconv.columns import UNREACHABLE
from semconv.data.store import UNKNOWN_TIME, Sequences
from semconv_warehouse.experiments.row_settings import PlannedRow


def unreachable_figures(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many held-out items can be in no list of a row, and why.

    Args:
        protocol: of the row's evaluation; an evaluation of an earlier version did not count these items.
    """
    counts = {words: protocol.get(name, 0) for name, words in UNREACHABLE.items()}
    reasons = [f"{count:,} {words}" for words, count in counts.items() if count]
    return {"num_unreachable": sum(counts.values()), "why_unreachable": ", ".join(reasons)}


def row_notes(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each label whose lists cannot contain some held-out items.

    Args:
        rows: computed rows. If a label has several seeds, the sentence has the figures of the seed with the most items.
    """
    for label in dict.fromkeys(row["label"] for row in rows):
        row = max((row for row in rows if row["label"] == label), key=lambda row: row.get("num_unreachable", 0))
        if number := row.get("num_unreachable", 0):
            yield (
                f"{number:,} of {row['num_users']:,} held-out items can be in no list of the row {label}:"
                f" {row['why_unreachable']}."
            )


def data_notes(planned: Sequence[PlannedRow], sequences: Sequences, *, has_queries: bool) -> Iterator[str]:
    """Yield a sentence for each part of a row's method that the data leaves without effect.

    Args:
        sequences: of all users.
        has_queries: whether any interaction has a query.
    """
    if not has_queries and any(row.row.shows_model and row.settings.tasks.query for row in planned):
        yield ("No interaction has a query, so no row has samples of the query task (Alignment Task C of the paper).")
    if not (sequences.times != UNKNOWN_TIME).any():
        for label in dict.fromkeys(row.row.label for row in planned if row.row.settings.get("tuning.dates") is True):
            yield f"No interaction has a time, so the row {label} reads no dates."
