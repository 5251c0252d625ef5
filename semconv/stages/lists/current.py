"""Find the current lists of a project, and decide which lists must be made."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from semconv import columns
from semconv.clock import utc_now
from semconv.columns import Split
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.runs.book import Outcome
from semconv.runs.files import LIST_STATES
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages import stage_settings
from semconv.stages.blend.choice import chosen_blend, say_without_blend
from semconv.stages.lists.job import FULL, SOME_USERS, Request
from semconv.stages.lists.run import recommend_run

_FOR_ALL = {"split": "serve", "users": "all", "where": ""}


def serve_lists(workspace: Workspace, lineage: Lineage) -> Outcome:
    """Make the lists for serving: for users whose data changed, or for all users when a full pass is due.

    Args:
        lineage: the current lineage of the model.
    """
    before = carry_source(workspace, lineage)
    if before is None or _is_full_pass_due(workspace, lineage):
        return recommend_run(workspace, lineage, Request())
    if _is_current(workspace, lineage, before):
        return Outcome(workspace.book.take_up(before), True, 0.0)
    return recommend_run(workspace, lineage, Request(carry_from=before))


def _is_current(workspace: Workspace, lineage: Lineage, before: RunRecord) -> bool:
    """Return whether a run has the lists that a run of now would make.

    A run for some users never counts as current, because other users may have kept their lists although their data changed.
    """
    if before.settings.get("pass") == SOME_USERS or not workspace.book.is_done(before):
        return False
    assigns = {run.run_id for run in lineage.assigns}
    return assigns <= set(before.inputs) and not workspace.book.is_stale(before, {})


def requested(
    workspace: Workspace,
    lineage: Lineage,
    split: Split,
    users: NDArray[np.int32] | None,
    where: str | None,
    *,
    only_changed: bool,
) -> Request:
    """Return the request for a recommend run that the options of `semconv recommend` describe.

    If lists for serving are requested for some ``users`` only, all other users keep their earlier lists, if they have
    any. With ``only_changed``, users whose data did not change keep their lists.
    """
    before = None
    if split == "serve":
        if lineage.tuned is not None:
            say_without_blend(workspace, lineage)
        before = None if where else carry_source(workspace, lineage)
    if users is not None and before is not None:
        return Request(split, None, where, before, users)
    if only_changed and before is None:
        workspace.progress.say(
            "no earlier lists of this model with these settings exist, so the lists of all users are computed"
        )
    return Request(split, users, where, before if only_changed else None)


def carry_source(workspace: Workspace, lineage: Lineage) -> RunRecord | None:
    """Return the newest run for all users with this model, blend and settings; unchanged users may keep its lists."""
    of_today = _lists_of_today(workspace, lineage)
    return next((run for run in of_today if (workspace.book.folder(run) / LIST_STATES).exists()), None)


def _lists_of_today(workspace: Workspace, lineage: Lineage) -> Iterator[RunRecord]:
    """Yield the finished runs for all users with this model, blend and settings, newest first."""
    chosen = chosen_blend(workspace, lineage, "serve")
    blend = set() if chosen is None else {chosen.record.run_id}
    blends = {run.run_id for run in workspace.store.runs(stage=columns.BLEND)}
    wanted = {
        **stage_settings.recommend(workspace, lineage),
        "history_length": workspace.settings.split.history_length,
        **_FOR_ALL,
    }
    for run in workspace.book.finished(columns.RECOMMEND):
        is_same = all(run.settings.get(name) == value for name, value in wanted.items())
        if is_same and lineage.ranker.run_id in run.inputs and blends & set(run.inputs) == blend:
            yield run


def newest_lists(workspace: Workspace) -> RunRecord:
    """Return the run of the current lists for serving; InputError when there is none."""
    for run in workspace.book.finished(columns.RECOMMEND):
        if run.settings.get("split") == "serve" and not run.settings.get("where"):
            return run
    raise InputError("no lists for serving yet; `semconv recommend` makes them")


def is_pass_due(last: datetime, now: datetime, days: float) -> bool:
    """Return whether the last full pass, which recomputed all users, is more than ``days`` ago.

    A pass is also due if the last one is more than ``days`` in the future, because then the clock was wrong.

    Args:
        last: time of the last full pass in UTC, with or without a time zone.
    """
    age = now - (last if last.tzinfo else last.replace(tzinfo=UTC))
    return abs(age) > timedelta(days=days)


def _is_full_pass_due(workspace: Workspace, lineage: Lineage) -> bool:
    """Return whether the last full pass with this model, blend and settings is too old (``recommend.full_pass_days``)."""
    full = (run for run in _lists_of_today(workspace, lineage) if run.settings.get("pass") == FULL)
    last = next((run.finished_at for run in full if run.finished_at is not None), None)
    return last is None or is_pass_due(last, utc_now(), workspace.settings.recommend.full_pass_days)
