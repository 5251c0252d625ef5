"""The current lists of a project, and the lists that a night has to make."""

from __future__ import annotations

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
from semconv.stages.lists.run import Request, recommend_run

_FOR_ALL = {"split": "serve", "users": "all", "where": ""}


def serve_lists(workspace: Workspace, lineage: Lineage) -> Outcome:
    """Make the lists for serving: of changed users, or of all users when a full pass is due.

    Args:
        lineage: the current lineage of the model.
    """
    before = carry_source(workspace, lineage)
    if before is None or _is_full_pass_due(workspace, lineage.finetune):
        return recommend_run(workspace, lineage, Request())
    assigns = {run.run_id for run in lineage.assigns}
    if assigns <= set(before.inputs) and workspace.book.is_done(before) and not workspace.book.is_stale(before, {}):
        return Outcome(workspace.book.take_up(before), True, 0.0)
    return recommend_run(workspace, lineage, Request(carry_from=before))


def requested(
    workspace: Workspace,
    lineage: Lineage,
    split: Split,
    users: NDArray[np.int32] | None,
    where: str | None,
    *,
    only_changed: bool,
) -> Request:
    """The request behind `semconv recommend`.

    Lists for serving of some ``users`` carry over the lists of all others, where there are earlier ones. With
    ``only_changed`` unchanged users keep their lists.
    """
    before = None
    if split == "serve":
        say_without_blend(workspace, lineage)
        before = None if where else carry_source(workspace, lineage)
    if users is not None and before is not None:
        return Request(split, None, where, before, users)
    if only_changed and before is None:
        workspace.progress.say(
            "no earlier lists of this model and these settings to carry over; all users are computed"
        )
    return Request(split, users, where, before if only_changed else None)


def carry_source(workspace: Workspace, lineage: Lineage) -> RunRecord | None:
    """The newest lists of all users by this model, this blend and these settings; unchanged users may keep them."""
    chosen = chosen_blend(workspace, lineage, "serve")
    blend = set() if chosen is None else {chosen.record.run_id}
    blends = {run.run_id for run in workspace.store.runs(stage=columns.BLEND)}
    wanted = {
        **stage_settings.recommend(workspace),
        "history_length": workspace.settings.split.history_length,
        **_FOR_ALL,
    }
    for run in workspace.book.finished(columns.RECOMMEND):
        is_same = _has_settings(run, wanted) and blends & set(run.inputs) == blend
        if is_same and lineage.finetune.run_id in run.inputs and (workspace.book.folder(run) / LIST_STATES).exists():
            return run
    return None


def newest_lists(workspace: Workspace) -> RunRecord:
    """The current lists for serving; InputError when there are none."""
    for run in workspace.book.finished(columns.RECOMMEND):
        if run.settings.get("split") == "serve" and not run.settings.get("where"):
            return run
    raise InputError("no lists for serving yet; `semconv recommend` makes them")


def is_pass_due(last: datetime, now: datetime, days: float) -> bool:
    """Whether the last full pass lies more than ``days`` back.

    A pass that far in the future is due too: the clock was wrong then, or is wrong now.

    Args:
        last: in UTC, with or without a time zone.
    """
    age = now - (last if last.tzinfo else last.replace(tzinfo=UTC))
    return abs(age) > timedelta(days=days)


def _is_full_pass_due(workspace: Workspace, finetune: RunRecord) -> bool:
    """Whether the last full pass of the model is older than ``recommend.full_pass_days``."""
    full = [
        run.finished_at
        for run in workspace.book.finished(columns.RECOMMEND)
        if finetune.run_id in run.inputs and _has_settings(run, {**_FOR_ALL, "pass": "full"})
    ]
    last = next((time for time in full if time is not None), None)
    return last is None or is_pass_due(last, utc_now(), workspace.settings.recommend.full_pass_days)


def _has_settings(run: RunRecord, wanted: dict[str, object]) -> bool:
    return all(run.settings.get(name) == value for name, value in wanted.items())
