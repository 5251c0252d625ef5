"""The nightly job: run every stage that is due, in order, and report outdated stages that only a refit recomputes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from semconv import columns
from semconv.data.store import RunRecord
from semconv.errors import CheckFailedError, GateFailedError, InputError
from semconv.evaluation.gain import COMPARED, difference_in_words
from semconv.runs.book import Outcome
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace, is_created, is_loaded
from semconv.stages import stage_settings
from semconv.stages.blend.choice import fitting_blend, reason_against
from semconv.stages.blend.refit import blend_refit_state
from semconv.stages.codes.assign import assign_run
from semconv.stages.codes.refit import Coded, refit_state
from semconv.stages.evaluate.comparison import Scored, compare_methods
from semconv.stages.evaluate.run import evaluate_current, why_no_evaluation
from semconv.stages.lists.current import newest_lists, serve_lists

Stage = dict[str, Any]  # stage, run_id, state, seconds
_BEFORE_LISTS = (
    columns.BACKBONE,
    columns.EMBED_BEHAVIOR,
    columns.EMBED_TEXT,
    columns.CODEBOOK,
    columns.FINETUNE,
)
_PUBLISH_ATTEMPTS = 3  # new lists are made for each attempt, because new rows may arrive before lists are published


class Publication(Protocol):
    """The properties of a publication that the nightly job reports."""

    @property
    def generation(self) -> int:
        """The number of the published generation, which contains the lists."""
        ...

    @property
    def is_new(self) -> bool:
        """Whether this job published the generation; False if it was published already."""
        ...


@dataclass(frozen=True)
class Night:
    """The result of one nightly job."""

    stages: list[Stage]
    publication: Publication
    refit: dict[str, Any]  # is_due, reasons, is_done


def run_night(workspace: Workspace, publish: Callable[[], Publication], *, refit: bool) -> Night:
    """Run every stage that is due, then publish.

    With ``refit``, or when a refit is due and ``refit.automatic`` is on, vectors, codes and model are recomputed if
    data or settings changed. Readers see the old lists until the new lists are published.

    Args:
        publish: the function that publishes the newest lists.
    """
    return _Night(workspace).run(publish, refit=refit)


def fit_all(workspace: Workspace, codes: Path | None = None) -> Lineage:
    """Make the backbone, vectors, codes and model that the settings ask for; reuse finished runs.

    The number of epochs is that of the settings, also where an equal tuning on ``[:-2]`` was best after fewer.

    Args:
        codes: a file of external codes to load instead of fitting codes.
    """
    return _Night(workspace, takes_epochs=False).fit(codes)


@dataclass
class _Night:
    """One nightly job, with the stages that it has run so far."""

    workspace: Workspace
    stages: list[Stage] = field(default_factory=list)
    takes_epochs: bool = True  # as in TuningInputs

    def run(self, publish: Callable[[], Publication], *, refit: bool) -> Night:
        """Run every stage that is due, then publish."""
        workspace = self.workspace
        state: dict[str, Any] = {"is_due": False, "reasons": []}
        uses_model = workspace.settings.blend.uses_model()
        current = workspace.latest(columns.FINETUNE) if uses_model else workspace.blend_without_model()
        is_fitted = refit or current is None
        if not is_fitted:
            state = self._keep_or_find_due()
            is_fitted = state["is_due"] and workspace.settings.refit.automatic
        fit = self._fit_chosen if uses_model else self._fit_vectors
        lineage = fit() if is_fitted else workspace.lineage()
        lineage = self._blend(lineage, is_fitted=is_fitted)
        self._do(columns.RECOMMEND, lambda: serve_lists(workspace, lineage))
        self._evaluate(lineage, is_fitted=is_fitted)
        publication = self._publish(publish, lineage)
        already = "" if publication.is_new else " already; nothing changed"
        workspace.progress.say(f"generation {publication.generation} is published{already}")
        return Night(self.stages, publication, {**state, "is_done": is_fitted})

    def _keep_or_find_due(self) -> dict[str, Any]:
        """Give codes to new items, and measure whether a refit is due. If none follows, report the kept stages."""
        workspace, say = self.workspace, self.workspace.progress.say
        lineage = workspace.lineage()
        kept = self._kept_stages(lineage)
        was_stale = any(row["state"] != "kept" for row in kept)
        self.stages += kept
        if lineage.tuned is None:
            found = blend_refit_state(workspace, lineage)
        else:
            lineage = self._assign(lineage)
            found = refit_state(workspace, Coded.read(workspace, lineage))
        state = {name: found[name] for name in ("is_due", "reasons")}
        is_automatic = workspace.settings.refit.automatic
        if state["is_due"]:
            next_step = (
                "refitting now (refit.automatic is on)"
                if is_automatic
                else f"the current {'blend' if lineage.tuned is None else 'model'} stays in use until `semconv run --refit`"
            )
            say(f"a refit is due: {'; '.join(state['reasons'])}; {next_step}")
        elif was_stale:
            of_model = "" if lineage.tuned is None else ", codes or model"
            say(
                f"data or settings changed since the vectors{of_model} were made; these stay in use;"
                " `semconv run --refit` recomputes them"
            )
        if state["is_due"] and is_automatic:
            self.stages.clear()
            return state
        if lineage.split.get("events", {}) != workspace.section("split")["split"].get("events", {}):
            say(
                "settings of [events] changed; histories, lists and reasons keep those with which the vectors were made,"
                " until `semconv run --refit`"
            )
        if lineage.tuned is not None:
            self._say_waiting(lineage)
        return state

    def _kept_stages(self, lineage: Lineage) -> list[Stage]:
        """Return a row for each stage before the lists, marked as stale if it or an earlier stage has new inputs."""
        workspace = self.workspace
        today = stage_settings.settings_today(workspace, lineage)
        rows, was_stale = [], False
        for stage in _BEFORE_LISTS:
            record = lineage.find(stage)
            if record is None:  # external codes have no text vectors
                continue
            was_stale = workspace.book.is_stale(record, today.get(stage, {})) or was_stale
            rows.append(_stage(stage, record.run_id, "kept (stale)" if was_stale else "kept", 0.0))
        return rows

    def _say_waiting(self, lineage: Lineage) -> None:
        """Say which chosen backbone or codes are newer than the current model, so that only a refit uses them."""
        workspace = self.workspace
        backbone, codebook = workspace.latest(columns.BACKBONE), workspace.latest(columns.CODEBOOK)
        is_used = backbone is not None and workspace.settings.backbone.path == "" and not is_created(backbone)
        chosen = [backbone if is_used else None, codebook if codebook is not None and is_loaded(codebook) else None]
        for record in filter(None, chosen):
            if lineage.need(record.stage).run_id != record.run_id:
                workspace.progress.say(
                    f"{record.run_id} is not used yet: the current model stays in use;"
                    " `semconv run --refit` tunes a new model with it"
                )

    def fit(self, codes: Path | None) -> Lineage:
        """Run every stage up to the tuning, and return the lineage of the new model."""
        from semconv.stages.codes.fit import load_codes_run
        from semconv.stages.embed.backbone import backbone_run
        from semconv.stages.embed.behavior import embed_behavior_run

        workspace = self.workspace
        backbone = self._do(columns.BACKBONE, lambda: backbone_run(workspace))
        if codes is None:
            return self._tune(backbone, self._fit_codes(backbone))
        behavior = self._do(columns.EMBED_BEHAVIOR, lambda: embed_behavior_run(workspace))
        return self._tune(backbone, self._do(columns.CODEBOOK, lambda: load_codes_run(workspace, behavior, codes)))

    def _fit_chosen(self) -> Lineage:
        """Do as ``fit`` does, but keep a backbone of `semconv backbone use` and codes of `semconv codebook load`."""
        workspace = self.workspace
        backbone, codebook = self._chosen_backbone(), workspace.latest(columns.CODEBOOK)
        if codebook is not None and is_loaded(codebook):
            behavior = Lineage.of(workspace.store, codebook).behavior
            today = stage_settings.behavior(workspace)
            if any(behavior.settings.get(name) != value for name, value in today.items()):
                workspace.progress.say(
                    f"the vectors of {codebook.run_id} were made with other settings; to change them, run `semconv embed"
                    " behavior` and then `semconv codebook load FILE`"
                )
            self.stages += [_stage(record.stage, record.run_id, "reused", 0.0) for record in (behavior, codebook)]
        else:
            codebook = self._fit_codes(backbone)
        return self._tune(backbone, codebook)

    def _chosen_backbone(self) -> RunRecord:
        """Return the backbone of `semconv backbone use`, or make the one that the settings ask for."""
        from semconv.stages.embed.backbone import backbone_run

        workspace = self.workspace
        backbone = workspace.latest(columns.BACKBONE)
        if backbone is not None and workspace.settings.backbone.path == "" and not is_created(backbone):
            self.stages.append(_stage(columns.BACKBONE, backbone.run_id, "reused", 0.0))
            return backbone
        return self._do(columns.BACKBONE, lambda: backbone_run(workspace))

    def _fit_vectors(self) -> Lineage:
        """Make the vectors that a blend without a model uses; text vectors need a backbone, which is not tuned."""
        from semconv.stages.embed.behavior import embed_behavior_run
        from semconv.stages.embed.rows import catalog_texts
        from semconv.stages.embed.text import embed_text_run

        workspace = self.workspace
        vectors = [self._do(columns.EMBED_BEHAVIOR, lambda: embed_behavior_run(workspace))]
        if workspace.settings.blend.text and any(catalog_texts(workspace.store.catalog())):
            backbone = self._chosen_backbone()
            vectors.append(self._do(columns.EMBED_TEXT, lambda: embed_text_run(workspace, backbone)))
        return Lineage.of_vectors(workspace.store, vectors)

    def _fit_codes(self, backbone: RunRecord) -> RunRecord:
        from semconv.stages.codes.fit import fit_codebook_run
        from semconv.stages.embed.behavior import embed_behavior_run
        from semconv.stages.embed.text import embed_text_run

        workspace = self.workspace
        behavior = self._do(columns.EMBED_BEHAVIOR, lambda: embed_behavior_run(workspace))
        text = self._do(columns.EMBED_TEXT, lambda: embed_text_run(workspace, backbone))
        return self._do(columns.CODEBOOK, lambda: fit_codebook_run(workspace, behavior, text))

    def _tune(self, backbone: RunRecord, codebook: RunRecord) -> Lineage:
        from semconv.stages.tune.inputs import TuningInputs
        from semconv.stages.tune.run import finetune_run

        workspace = self.workspace
        codes = self._assign(Lineage.current(workspace.store, codebook))
        inputs = TuningInputs(backbone, codes, takes_epochs=self.takes_epochs)
        finetune = self._do(columns.FINETUNE, lambda: finetune_run(workspace, inputs))
        return Lineage.current(workspace.store, finetune)

    def _assign(self, lineage: Lineage) -> Lineage:
        """Give codes to new items, and return the lineage with the new assign run."""
        outcome = assign_run(self.workspace, lineage)
        if outcome is None:
            return lineage
        self._note(columns.ASSIGN, outcome)
        return Lineage.current(self.workspace.store, lineage.run)

    def _blend(self, lineage: Lineage, *, is_fitted: bool) -> Lineage:
        """Fit a blend for a new model, and for other scores or another mask than those of the kept model's blends.

        Otherwise keep the blend of a kept model, because a new blend would change all lists.
        """
        from semconv.stages.blend.run import blend_run

        workspace = self.workspace
        if workspace.settings.blend.use == "never":
            return lineage
        kept = None if is_fitted else fitting_blend(workspace, lineage)
        if kept is not None:
            is_stale = workspace.book.is_stale(kept, stage_settings.blend(workspace, lineage))
            state = "kept (stale)" if is_stale else "kept"
            self.stages.append(_stage(columns.BLEND, kept.run_id, state, 0.0))
        elif lineage.tuned is not None and (why_not := reason_against(workspace, lineage)) is not None:
            workspace.progress.say(f"blend: skipped, because {why_not}")
        else:
            record = self._do(columns.BLEND, lambda: blend_run(workspace, lineage))
            if lineage.tuned is None:
                return Lineage.of(workspace.store, record)
            return Lineage.current(workspace.store, lineage.run)
        return lineage

    def _evaluate(self, lineage: Lineage, *, is_fitted: bool) -> None:
        """Evaluate a new model. Keep the figures of a kept model: new figures take as long as lists for all users."""
        workspace, ranker = self.workspace, lineage.ranker
        evaluations = workspace.book.finished(columns.EVALUATE)
        before = next((run for run in evaluations if ranker.run_id in run.inputs), None)
        why_not = why_no_evaluation(workspace, lineage)
        if why_not is not None:
            workspace.progress.say(f"evaluate: skipped, because {why_not}")
        elif before is None or is_fitted or not workspace.book.is_stale(before, {}):
            run = self._do(columns.EVALUATE, lambda: evaluate_current(workspace, lineage))
            gain = compare_methods(workspace, *(Scored(run, method) for method in COMPARED)).get("ndcg@10")
            if gain is not None:
                workspace.progress.say(difference_in_words(10, gain))
        else:
            self.stages.append(_stage(columns.EVALUATE, before.run_id, "kept (stale)", 0.0))

    def _publish(self, publish: Callable[[], Publication], lineage: Lineage) -> Publication:
        """Publish the lists. If rows arrived or a part file is damaged, recompute the affected users and try again."""
        workspace = self.workspace
        for _ in range(_PUBLISH_ATTEMPTS):
            try:
                return publish()
            except GateFailedError:  # other lists of the same data would fail too
                raise
            except (CheckFailedError, InputError) as error:
                run = newest_lists(workspace)
                if not workspace.book.is_done(run):  # the damaged part file was removed
                    workspace.progress.say(f"{error}; recomputing the lists now")
                elif isinstance(error, CheckFailedError) and workspace.book.is_stale(run, {}):
                    workspace.progress.say(
                        "rows were ingested while the lists were made; recomputing the affected users"
                    )
                else:
                    raise
            self._do(columns.RECOMMEND, lambda: serve_lists(workspace, lineage))
        return publish()

    def _do(self, stage: str, run: Callable[[], Outcome]) -> RunRecord:
        self.workspace.progress.say(f"{stage} ...")
        return self._note(stage, run())

    def _note(self, stage: str, outcome: Outcome) -> RunRecord:
        state = "reused" if outcome.is_reused else "done"
        self.workspace.progress.say(f"{stage}: {state} in {outcome.seconds:.1f} s ({outcome.record.run_id})")
        self.stages.append(_stage(stage, outcome.record.run_id, state, outcome.seconds))
        return outcome.record


def _stage(stage: str, run_id: str, state: str, seconds: float) -> Stage:
    return {"stage": stage, "run_id": run_id, "state": state, "seconds": round(seconds, 1)}
