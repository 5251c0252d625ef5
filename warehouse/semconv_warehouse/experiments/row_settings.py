"""The settings of a row: preset, table, command line, seed, row; and epochs that an earlier run chose."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semconv import columns
from semconv.backbone.gguf_header import is_gguf
from semconv.data.store import RunRecord
from semconv.errors import InputError, SettingsError
from semconv.evaluation.methods import compared_names
from semconv.peers.settings import Peer
from semconv.settings.backbone import require_even_heads
from semconv.settings.codebook import require_rqvae
from semconv.settings.load import load_settings
from semconv.settings.presets import preset_names, read_preset
from semconv.settings.recommend import require_beams
from semconv.settings.tree import Settings
from semconv_warehouse.experiments.options import ExperimentOptions
from semconv_warehouse.experiments.plan import ALL_ITEMS, Experiment, ExperimentRow
from semconv_warehouse.opened import OpenedProject
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout

SEEDS = ("behavior.seed", "backbone.seed", "codebook.seed", "tasks.seed", "tuning.seed")
_CUT = "split.train_cut"
_CUTOFF = 10  # the largest cutoff of FIGURES


@dataclass(frozen=True)
class PlannedRow:
    """One row of an experiment with one seed.

    Attributes:
        settings: of the model, also if the row shows the figures of another method on the model's users.
        peer_settings: of the peer's training; None if the row trains no peer.
        preset: the preset from which the settings start, by the backbone of the row; empty for those of the project.
    """

    row: ExperimentRow
    seed: int
    settings: Settings
    peer_settings: Settings | None = None
    preset: str = ""


def plan_row(
    project: OpenedProject, experiment: Experiment, row: ExperimentRow, seed: int, options: ExperimentOptions
) -> PlannedRow:
    """Return a row with its settings. Epochs are those of the settings; ``with_chosen_epochs`` replaces them.

    A later source in this list wins: defaults, semconv.toml, environment, the preset of the table, settings of the
    table, options, seed, settings of the row. On the split valid, the train cut is always ``[:-2]``.

    Raises:
        SettingsError: a setting is out of range, the train cut contains the held-out items, or the evaluation will not
            have the row's method, or a stage would refuse the settings.
        InputError: the folder of the backbone does not exist or holds no supported model.
    """
    asked = {**experiment.settings, **project.overrides, **row.settings}
    path = asked.get("backbone.path", _chosen_backbone(project))
    if options.split == "valid" and asked.get(_CUT, "[:-2]") != "[:-2]":
        raise SettingsError(
            f"row {row.label}: the train cut {asked[_CUT]} contains the validation items; leave {_CUT} out, or give"
            " --split test"
        )
    start = _preset_for(experiment.preset, str(path)) if experiment.preset else ""
    overrides = {
        **(read_preset(start).values if start else {}),
        **({_CUT: "[:-2]"} if options.split == "valid" else {}),
        "backbone.path": path,
        **experiment.settings,
        **project.overrides,
        **options.limits(),
        **dict.fromkeys(SEEDS, seed),
        **row.settings,
    }
    if overrides.get("codebook.codes") == ALL_ITEMS:
        overrides["codebook.codes"] = len(project.store.catalog())
    if project.settings.behavior.vectors:
        overrides["behavior.vectors"] = str(project.layout.root / project.settings.behavior.vectors)
    settings = load_settings(project.layout.settings_file, overrides=overrides)
    _check_method(row, settings, options)
    _check_stages(project, row, settings)
    return PlannedRow(row, seed, settings, settings if row.peer else None, start)


def with_chosen_epochs(project: OpenedProject, layout: ProjectLayout, planned: PlannedRow) -> PlannedRow:
    """Return a row that trains on validation items with the epochs that its run on ``[:-2]`` chose.

    On a train cut that contains the validation items, nothing can be chosen. So the epochs of the tuning, of DCCF and of
    a peer are those of the finished runs with the same settings, the same seed and the train cut ``[:-2]``.

    Raises:
        SettingsError: there is no such run.
    """
    from semconv.artifacts import file_digest
    from semconv.stages.tune.chosen_epochs import best_epoch, finished_like
    from semconv.stages.tune.figures import training_seconds

    if planned.settings.split.train_cut == "[:-2]":
        return planned
    before = open_with(project, layout, _replace(planned.settings, "split", train_cut="[:-2]"))
    codes = planned.row.codes
    lineage = finished_like(before.workspace, None if codes is None else file_digest(codes))
    epochs = 0 if lineage is None else best_epoch(before.workspace, lineage.finetune)
    if lineage is None or epochs <= 0:
        raise _not_chosen(planned)
    settings = _replace(planned.settings, "tuning", epochs=epochs)
    if settings.behavior.source == "dccf":
        settings = _replace(settings, "dccf", epochs=best_epoch(before.workspace, lineage.behavior))
    if not planned.row.peer:
        return dataclasses.replace(planned, settings=settings)
    peer = planned.row.peer_for(training_seconds(before.workspace, lineage.finetune))
    run = _finished_peer(before, peer, lineage.text if peer.texts else None)
    if run is None:
        raise _not_chosen(planned)
    return dataclasses.replace(
        planned, settings=settings, peer_settings=_replace(settings, "tuning", epochs=best_epoch(before.workspace, run))
    )


def open_with(project: OpenedProject, layout: ProjectLayout, settings: Settings) -> OpenedProject:
    """Open the separate project of the experiments with the settings of a row."""
    return OpenedProject(layout, settings, DuckDBStore(layout), project.progress)


def _finished_peer(project: OpenedProject, peer: Peer, text: RunRecord | None) -> RunRecord | None:
    """Return the newest finished training of a peer with these settings and text vectors; None if there is none."""
    from semconv.stages.evaluate.peer import training_settings

    workspace = project.workspace
    wanted, inputs = training_settings(workspace, peer), () if text is None else (text.run_id,)
    for run in workspace.book.finished(columns.PEER):
        is_same = run.settings.keys() == wanted.keys() and run.inputs == inputs
        if is_same and not workspace.book.is_stale(run, wanted):
            return run
    return None


def _not_chosen(planned: PlannedRow) -> SettingsError:
    cut = planned.settings.split.train_cut
    return SettingsError(
        f"row {planned.row.label}, seed {planned.seed}: the train cut {cut} contains the validation items, and no finished"
        " run on [:-2] with the same settings, data and seed has chosen the number of epochs; run the same command with"
        " --split valid first, or give --set 'split.train_cut=[:-2]'"
    )


def _replace(settings: Settings, section: str, **values: Any) -> Settings:
    changed: Mapping[str, Any] = {section: dataclasses.replace(getattr(settings, section), **values)}
    return dataclasses.replace(settings, **changed)


def _check_method(row: ExperimentRow, settings: Settings, options: ExperimentOptions) -> None:
    """Raise SettingsError if an evaluation with these settings does not measure the method or the metrics of the row."""
    if not settings.blend.model:
        raise SettingsError(
            f"row {row.label}: every row tunes a model, and blend.model = false ranks without one; give --set blend.model=true"
        )
    listed = [columns.METHOD_MODEL, *(columns.BLENDS if settings.blend.use != "never" else ())]
    known = compared_names(settings.behavior.source, listed, is_tuned=settings.evaluate.counter_search_users > 0)
    if not row.peer and row.method not in known:
        raise SettingsError(f"row {row.label}: there is no method {row.method}; give one of {', '.join(known)}")
    if settings.recommend.top_k < _CUTOFF:
        raise SettingsError(
            f"row {row.label}: metrics at {_CUTOFF} need lists of {_CUTOFF} items; set recommend.top_k to at least {_CUTOFF}"
        )
    if settings.split.train_cut == "[:]":
        raise SettingsError(
            f"row {row.label}: the train cut [:] contains the held-out items of the split {options.split}; set {_CUT} to"
            " [:-2] or [:-1]"
        )


def _check_stages(project: OpenedProject, row: ExperimentRow, settings: Settings) -> None:
    """Raise now what a stage of the row would raise after other rows are computed."""
    try:
        if row.codes is None and settings.codebook.method == "rqvae":
            require_rqvae(settings.codebook)
        if settings.tuning.history == "tokens":  # the item head has no beams
            require_beams(settings.recommend.beams, settings.recommend.top_k)
        _check_backbone(open_with(project, project.layout.experiments, settings))
    except (SettingsError, InputError) as error:
        raise type(error)(f"row {row.label}: {error}") from error


def _check_backbone(own: OpenedProject) -> None:
    """Raise SettingsError or InputError for a backbone that cannot be made or loaded; a name on the hub is not looked up."""
    from semconv.stages.stage_settings import named_backbone

    settings, path = own.settings.backbone, named_backbone(own.workspace)
    if not path:
        require_even_heads(settings)
    elif not is_gguf(Path(path)):
        from semconv.backbone.load import check_folder, config_and_tokenizer

        check_folder(path)
        if Path(path).is_dir():
            config_and_tokenizer(path, trust_remote_code=settings.trust_remote_code)


def _preset_for(name: str, backbone: str) -> str:
    """Return the variant of a preset for the backbone: the one for a pretrained backbone is named ``...-llm``."""
    return f"{name}-llm" if backbone and f"{name}-llm" in preset_names() else name


def _chosen_backbone(project: OpenedProject) -> str:
    """Return the pretrained backbone of the settings or of `semconv backbone use`; empty for the built-in one."""
    kept = project.workspace.latest(columns.BACKBONE)
    if project.settings.backbone.path or kept is None:
        return project.settings.backbone.path
    from semconv.runs.workspace import is_created
    from semconv.stages.embed.backbone import backbone_path

    return "" if is_created(kept) else backbone_path(project.workspace, kept)
