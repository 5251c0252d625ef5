"""Which lists a project has and needs: for serving, for figures, and those made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from semconv import columns
from semconv.artifacts import file_digest
from semconv.clock import utc_now
from semconv.data.splits import targets
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.runs.book import Outcome, StageRequest

if TYPE_CHECKING:
    import pyarrow as pa

    from semconv_warehouse.project import Project


def serve_lists(project: Project) -> Outcome:
    """Lists for serving: of those who changed, or of all when a full pass is due."""
    from semconv.stages.lists.recommend import Request, recommend_run

    finetune = project.context.need(columns.FINETUNE)
    before = carry_source(project, finetune)
    if before is None or _is_full_due(project, finetune):
        return recommend_run(project.context, finetune, Request())
    codes = {run.run_id for run in project.context.assigns_of(project.context.input_of(finetune, columns.CODEBOOK))}
    if codes <= set(before.inputs) and project.book.is_done(before) and not project.book.is_stale(before, {}):
        return Outcome(project.book.take_up(before), True, 0.0)
    return recommend_run(project.context, finetune, Request(carry_from=before))


def carry_source(project: Project, finetune: RunRecord) -> RunRecord | None:
    """The newest lists of all users by this model and these settings, which may be carried over."""
    from semconv.stages import stage_settings
    from semconv.stages.blend.blending import chosen_blend

    chosen = chosen_blend(project.context, finetune, "serve")
    blend = set() if chosen is None else {chosen.record.run_id}
    blends = {run.run_id for run in project.store.runs(stage=columns.BLEND)}

    wanted = {
        **stage_settings.recommend(project.context),
        "history_length": project.settings.split.history_length,
        "split": "serve",
        "where": "",
        "users": "all",
    }
    for run in project.book.finished(columns.RECOMMEND):
        same = all(run.settings.get(name) == value for name, value in wanted.items())
        same = same and blends & set(run.inputs) == blend
        if same and finetune.run_id in run.inputs and _has_states(project, run):
            return run
    return None


def _has_states(project: Project, run: RunRecord) -> bool:
    from semconv.stages.lists.carrying import STATES

    return (project.book.folder(run) / STATES).exists()


def _is_full_due(project: Project, finetune: RunRecord) -> bool:
    """Whether the last full pass of the model is older than ``recommend.full_pass_days``."""
    wanted = {"pass": "full", "split": "serve", "users": "all", "where": ""}
    full = [
        run.finished_at
        for run in project.book.finished(columns.RECOMMEND)
        if finetune.run_id in run.inputs and all(run.settings.get(name) == value for name, value in wanted.items())
    ]
    last = next((time for time in full if time is not None), None)
    if last is None:
        return True
    return is_pass_due(last, utc_now(), project.settings.recommend.full_pass_days)


def is_pass_due(last: datetime, now: datetime, days: float) -> bool:
    """Whether a full pass at ``last`` (UTC) is older than ``days``, or lies so far ahead that the clock was wrong then or is now."""
    age = now - (last if last.tzinfo else last.replace(tzinfo=UTC))
    return abs(age) > timedelta(days=days)


def can_evaluate(project: Project) -> bool:
    """Whether anybody has a held-out item."""
    split = project.context.need(columns.FINETUNE).settings["split"]
    return bool((targets(project.context.sequences(split=split), "test") >= 0).any())


def evaluate_current(project: Project, split: Literal["valid", "test"] = "test") -> Outcome:
    """The current model's figures on a split, lists and figures reused where nothing changed."""
    from semconv.stages.evaluate.case import evaluated_users
    from semconv.stages.evaluate.evaluating import evaluate_run
    from semconv.stages.lists.recommend import Request, recommend_run

    context, finetune = project.context, project.context.need(columns.FINETUNE)
    users = evaluated_users(context, finetune, split)[1] if context.settings.evaluate.max_users else None
    lists = recommend_run(context, finetune, Request(split, users))
    outcome = evaluate_run(context, lists.record)
    return Outcome(outcome.record, outcome.is_reused, lists.seconds + outcome.seconds)


def newest_lists(project: Project) -> RunRecord:
    """The current lists for serving; InputError when there are none."""
    for run in project.book.finished(columns.RECOMMEND):
        if run.settings.get("split") == "serve" and not run.settings.get("where"):
            return run
    raise InputError("no lists for serving yet; `semconv recommend` makes them")


def evaluate_run_ids(project: Project) -> list[str]:
    """The newest evaluate run of the model that made the newest lists."""
    models = set(newest_lists(project).inputs)
    for run in project.book.finished(columns.EVALUATE):
        if models & set(run.inputs):
            return [run.run_id]
    return []


def load_run(project: Project, files: Sequence[Path]) -> Outcome:
    """Parts made elsewhere as a recommend run; its lineage is the current model's code set, where there is one."""
    from semconv_warehouse.publish.parts import KnownIds, load_parts

    finetune = project.context.latest(columns.FINETUNE)
    inputs: tuple[RunRecord, ...] = ()
    if finetune is not None:
        codebook = project.context.input_of(finetune, columns.CODEBOOK)
        behavior = project.context.input_of(codebook, columns.EMBED_BEHAVIOR)
        inputs = (codebook, *project.context.assigns_of(codebook), behavior)

    def compute(folder: Path) -> dict[str, pa.Table]:
        known = KnownIds(*project.store.known_ids())
        load_parts(files, known, folder, memory_mb=project.settings.publish.memory_mb)
        return {}

    settings = {
        **project.context.section("recommend"),
        "split": "serve",
        "where": "",
        "users": "all",
        "is_loaded": True,
    }
    content = {str(place): file_digest(file) for place, file in enumerate(files)}
    return project.book.execute(StageRequest(columns.RECOMMEND, settings, inputs, (), content), compute)
