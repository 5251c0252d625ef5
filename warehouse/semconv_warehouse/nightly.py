"""What a nightly ``semconv run`` does: what is due, in order; what is stale is kept and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semconv import columns
from semconv.data.store import RunRecord
from semconv.errors import CheckFailedError, InputError
from semconv.runs.book import Outcome
from semconv_warehouse import lists

if TYPE_CHECKING:
    from semconv_warehouse.project import Project
    from semconv_warehouse.publish.publish import Publication

Stage = dict[str, Any]
_BEFORE_TUNING = (
    columns.BACKBONE,
    columns.EMBED_BEHAVIOR,
    columns.EMBED_TEXT,
    columns.CODEBOOK,
    columns.ASSIGN,
    columns.FINETUNE,
)
_LISTS_AGAIN = 3  # times a night, where rows come in faster than lists are made


@dataclass(frozen=True)
class Night:
    """What a nightly run came to, the features apart."""

    stages: list[Stage]  # stage, run_id, state, seconds
    publication: Publication
    refit: dict[str, Any]  # is_due, reasons, is_done


def run_due(project: Project, *, refit: bool) -> dict[str, Any]:
    """Everything that is due; ``refit`` redoes embeddings, codes and tuning where data or settings changed.

    Returns:
        ``stages`` (stage, run_id, state, seconds), ``refit`` (is_due, reasons, is_done), ``publication`` and ``features``.
    """
    night = publish_due(project, refit=refit)
    project.features_apply()
    return {**asdict(night), "features": project.features_materialize()}


def publish_due(project: Project, *, refit: bool) -> Night:
    """The stages and the publication of a nightly run, without the features.

    With ``refit.automatic`` a refit that is due is done. What is served stays until the new model's lists are published.
    """
    stages: list[Stage] = []
    state: dict[str, Any] = {"is_due": False, "reasons": []}
    is_fitted = refit or project.context.latest(columns.FINETUNE) is None
    if not is_fitted:
        kept: list[Stage] = []
        was_stale = _keep(project, kept)
        _assign_new(project, kept)
        state = refit_due(project)
        is_fitted = state["is_due"] and project.settings.refit.automatic
        if not is_fitted:
            stages += kept
        _say_kept(project, state, was_stale=was_stale, is_fitted=is_fitted)
        if not is_fitted:
            _say_chosen(project)
    if is_fitted:
        _fit(project, stages)
    _blend(project, stages, is_fitted=is_fitted)
    _do(project, stages, columns.RECOMMEND, lambda: lists.serve_lists(project))
    _evaluate(project, stages, is_fitted=is_fitted)
    publication = _publish(project, stages)
    project.progress.say(
        f"generation {publication.generation} is in place" + ("" if publication.is_new else " already")
    )
    return Night(stages, publication, {**state, "is_done": is_fitted})


def _publish(project: Project, stages: list[Stage]) -> Publication:
    """Publish; where rows came in while the lists were made, or a part of them is damaged, the users concerned are asked again."""
    for _ in range(_LISTS_AGAIN):
        try:
            return project.publish()
        except (CheckFailedError, InputError) as error:
            run = lists.newest_lists(project)
            if not project.book.is_done(run):  # what was damaged has been removed
                project.progress.say(f"{error}; this is done now")
            elif isinstance(error, CheckFailedError) and project.book.is_stale(run, {}):
                project.progress.say("rows came in while the lists were made; whom they concern is asked again")
            else:
                raise
        _do(project, stages, columns.RECOMMEND, lambda: lists.serve_lists(project))
    return project.publish()


def refit_due(project: Project) -> dict[str, Any]:
    """Whether the current model is due for a refit, and why: what the code report says."""
    from semconv.stages.codes.refit import Coded, refit_state

    context = project.context
    finetune = context.need(columns.FINETUNE)
    state = refit_state(context, Coded.read(context, context.input_of(finetune, columns.CODEBOOK)), finetune)
    return {name: state[name] for name in ("is_due", "reasons")}


def _say_kept(project: Project, state: dict[str, Any], *, was_stale: bool, is_fitted: bool) -> None:
    say = project.progress.say
    if state["is_due"]:
        next_step = (
            "it is done now (refit.automatic)" if is_fitted else "the model is kept, `semconv run --refit` does it"
        )
        say(f"a refit is due: {'; '.join(state['reasons'])}; {next_step}")
    elif was_stale:
        say(
            "data or settings changed since vectors, codes or model were made; they are kept, `semconv run --refit` makes them anew"
        )


def _say_chosen(project: Project) -> None:
    """Name a backbone or codes that somebody chose since the tuning, which only a refit takes up."""
    from semconv.runs.workspace import is_created, is_loaded

    context = project.context
    finetune = context.need(columns.FINETUNE)
    backbone, codebook = context.latest(columns.BACKBONE), context.latest(columns.CODEBOOK)
    is_used = backbone is not None and project.settings.backbone.path == "" and not is_created(backbone)
    chosen = [backbone if is_used else None, codebook if codebook is not None and is_loaded(codebook) else None]
    for record in filter(None, chosen):
        if context.input_of(finetune, record.stage).run_id != record.run_id:
            project.progress.say(f"{record.run_id} waits: the model is kept, `semconv run --refit` tunes one with it")


def fit_anew(project: Project, stages: list[Stage], codes: Path | None = None) -> None:
    """Backbone, vectors, codes and tuning as the settings say, finished runs reused; ``codes`` are codes made elsewhere."""
    from semconv.stages.codes import tokenizing
    from semconv.stages.embed import embedding

    backbone = _do(project, stages, columns.BACKBONE, project.backbone_run)
    if codes is None:
        codebook = _fit_codes(project, stages, backbone)
    else:
        behavior = _do(project, stages, columns.EMBED_BEHAVIOR, lambda: embedding.embed_behavior_run(project.context))
        load = tokenizing.load_codes_run
        codebook = _do(project, stages, columns.CODEBOOK, lambda: load(project.context, behavior, codes))
    _tune(project, stages, backbone, codebook)


def _fit(project: Project, stages: list[Stage]) -> None:
    """The same, but what `semconv backbone use` and `semconv codebook load` chose stays chosen."""
    from semconv.runs.workspace import is_created, is_loaded

    context = project.context
    kept = context.latest(columns.BACKBONE)
    if (
        kept is not None
        and project.settings.backbone.path == ""
        and "path" in kept.settings.get("backbone", {})
        and not is_created(kept)
    ):
        backbone = kept
        stages.append(_stage(columns.BACKBONE, kept.run_id, "reused", 0.0))
    else:
        backbone = _do(project, stages, columns.BACKBONE, project.backbone_run)
    codebook = context.latest(columns.CODEBOOK)
    if codebook is not None and is_loaded(codebook):
        behavior = context.input_of(codebook, columns.EMBED_BEHAVIOR)
        stages += [_stage(record.stage, record.run_id, "reused", 0.0) for record in (behavior, codebook)]
    else:
        codebook = _fit_codes(project, stages, backbone)
    _tune(project, stages, backbone, codebook)


def _fit_codes(project: Project, stages: list[Stage], backbone: RunRecord) -> RunRecord:
    from semconv.stages.codes import tokenizing
    from semconv.stages.embed import embedding

    context = project.context
    behavior = _do(project, stages, columns.EMBED_BEHAVIOR, lambda: embedding.embed_behavior_run(context))
    text = _do(project, stages, columns.EMBED_TEXT, lambda: embedding.embed_text_run(context, backbone))
    return _do(project, stages, columns.CODEBOOK, lambda: tokenizing.fit_codebook_run(context, behavior, text))


def _tune(project: Project, stages: list[Stage], backbone: RunRecord, codebook: RunRecord) -> None:
    from semconv.stages.tune.tuning import finetune_run

    _assign_new(project, stages, codebook)
    _do(project, stages, columns.FINETUNE, lambda: finetune_run(project.context, backbone, codebook))


def _blend(project: Project, stages: list[Stage], *, is_fitted: bool) -> None:
    """The blend of a new model; that of a kept one stays, or every night would make everybody's lists anew."""
    from semconv.stages import stage_settings
    from semconv.stages.blend.blending import blend_run, can_blend, current_blend

    context = project.context
    finetune = context.need(columns.FINETUNE)
    before = current_blend(context, finetune)
    if project.settings.blend.use == "never":
        return
    if before is not None and not is_fitted:
        is_stale = project.book.is_stale(before, stage_settings.blend(context, finetune))
        stages.append(_stage(columns.BLEND, before.run_id, "kept (stale)" if is_stale else "kept", 0.0))
    elif (why_not := can_blend(context, finetune)) is not None:
        project.progress.say(f"blend: skipped, {why_not}")
    else:
        _do(project, stages, columns.BLEND, lambda: blend_run(context, finetune))


def _evaluate(project: Project, stages: list[Stage], *, is_fitted: bool) -> None:
    """Figures of a new model; those of a kept one stay, for they cost as much as lists for everybody."""
    finetune = project.context.need(columns.FINETUNE)
    before = next((run for run in project.book.finished(columns.EVALUATE) if finetune.run_id in run.inputs), None)
    if not lists.can_evaluate(project):
        project.progress.say("evaluate: skipped, no user has the three interactions that it needs")
    elif before is None or is_fitted or not project.book.is_stale(before, {}):
        _do(project, stages, columns.EVALUATE, lambda: lists.evaluate_current(project))
    else:
        stages.append(_stage(columns.EVALUATE, before.run_id, "kept (stale)", 0.0))


def _assign_new(project: Project, stages: list[Stage], codebook: RunRecord | None = None) -> None:
    from semconv.stages.codes.tokenizing import assign_run

    outcome = assign_run(project.context, codebook or project.current_codebook())
    if outcome is not None:
        _note(project, stages, columns.ASSIGN, outcome)


def _keep(project: Project, stages: list[Stage]) -> bool:
    """Name what would come out differently today but is kept until a refit; whether anything would."""
    context = project.context
    finetune = context.need(columns.FINETUNE)
    backbone = context.input_of(finetune, columns.BACKBONE)
    today = _settings_today(project, backbone, context.input_of(finetune, columns.CODEBOOK))
    was_stale = False
    for stage in _BEFORE_TUNING:
        if stage == columns.ASSIGN:
            continue
        record = finetune if stage == columns.FINETUNE else context.find_input(finetune, stage)
        if record is None:  # codes made elsewhere read no text
            continue
        was_stale = context.book.is_stale(record, today.get(stage, {})) or was_stale
        stages.append(_stage(stage, record.run_id, "kept (stale)" if was_stale else "kept", 0.0))
    return was_stale


def _settings_today(project: Project, backbone: RunRecord, codebook: RunRecord) -> dict[str, dict[str, Any]]:
    """What each stage would read of the settings now."""
    from semconv.runs.workspace import is_created, is_loaded
    from semconv.stages import stage_settings

    context = project.context
    named = stage_settings.named_backbone(context)
    if named:
        of_backbone = stage_settings.used_backbone(context, named)
    else:  # one that `semconv backbone use` chose stays chosen
        of_backbone = stage_settings.created_backbone(context) if is_created(backbone) else {}
    return {
        columns.BACKBONE: of_backbone,
        columns.EMBED_BEHAVIOR: stage_settings.behavior(context),
        columns.CODEBOOK: {} if is_loaded(codebook) else stage_settings.codebook(context),
        columns.FINETUNE: stage_settings.finetune(context, backbone, codebook),
    }


def _do(project: Project, stages: list[Stage], stage: str, run: Callable[[], Outcome]) -> RunRecord:
    project.progress.say(f"{stage} ...")
    return _note(project, stages, stage, run())


def _note(project: Project, stages: list[Stage], stage: str, outcome: Outcome) -> RunRecord:
    state = "reused" if outcome.is_reused else "done"
    project.progress.say(f"{stage}: {state} in {outcome.seconds:.1f} s ({outcome.record.run_id})")
    stages.append(_stage(stage, outcome.record.run_id, state, outcome.seconds))
    return outcome.record


def _stage(stage: str, run_id: str, state: str, seconds: float) -> Stage:
    return {"stage": stage, "run_id": run_id, "state": state, "seconds": round(seconds, 1)}
