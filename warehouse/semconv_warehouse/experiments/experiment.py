"""Run an experiment: tune and evaluate a model for each row, in a separate project in ``data/experiments``.

The separate project has a copy of the items and interactions. No list of an experiment is published, and no model of an
experiment becomes the current model. An experiment reuses a finished run that has the same settings and inputs. So
several rows can use the same run, and a killed experiment continues where it stopped.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from semconv import columns
from semconv.data.store import RunRecord
from semconv.errors import SettingsError
from semconv.evaluation.methods import compared_names
from semconv.settings.load import load_settings
from semconv.settings.tree import Settings
from semconv_warehouse.experiments.plan import ALL_ITEMS, FIGURES, Experiment, ExperimentRow
from semconv_warehouse.opened import OpenedProject
from semconv_warehouse.store.database import quote_identifier, raw
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import SETTINGS_FILE, ProjectLayout
from semconv_warehouse.store.migrate import migrate

if TYPE_CHECKING:
    from semconv.stages.evaluate.comparison import Scored

INPUT_TABLES = ("item", "user_account", "interaction", "project_setting")
_CUTOFF = 10  # the largest cutoff of FIGURES
_TUNED = (columns.METHOD_MODEL, columns.METHOD_BLEND)
_BLENDS = (columns.METHOD_BLEND, columns.METHOD_WITHOUT_MODEL)
_LESS_FIRST = "ndcg@10_less_first"
_COSTS = ("tuning_samples", "tuning_processor_seconds", "ndcg@10_per_minute")
SEEDS = ("behavior.seed", "backbone.seed", "codebook.seed", "tasks.seed", "tuning.seed")


def run_experiment(
    project: OpenedProject, experiment: Experiment, *, split: Literal["test", "valid"], seeds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Run every row of an experiment with every seed, and yield the results of a row as soon as they are complete.

    Yields:
        A dictionary with

        - ``label``, ``seed``, ``method``, ``split``, ``num_users``
        - the metrics ``hr@1`` ... ``ndcg@10``, and the confidence interval ``ndcg@10_low``, ``ndcg@10_high``
        - ``ndcg@10_less_first`` with ``_low`` and ``_high``: the difference from the first row with the same seed, paired
          over users; None in the first row
        - ``paper``: the published metrics
        - ``collision_rate`` before collisions are resolved, and ``new_tokens``, the number of code tokens
        - ``tuning_samples``, ``tuning_processor_seconds`` and ``ndcg@10_per_minute`` of tuning; None if the row's method
          is not tuned, or if the run did not record its time
        - ``seconds`` that the row took in this process
        - ``finetune_run_id`` and ``evaluate_run_id``

    Raises:
        InputError: there is nothing to train on.
        SettingsError: a setting is out of range, or a row asks for a method that its evaluation will not have. All rows
            are checked before the first one runs.
    """
    planned = [(row, seed, _settings(project, experiment, row, seed)) for row in experiment.rows for seed in seeds]
    for row, _, settings in planned:
        _check_method(row, settings)
    layout = _copy_inputs(project)
    first: dict[int, Scored] = {}  # by seed
    for row, seed, settings in planned:
        project.progress.say(f"experiment {experiment.name}: computing row {row.label} with seed {seed}")
        own = OpenedProject(layout, settings, DuckDBStore(layout), project.progress)
        figures, scored = _run_row(own, row, split, seed)
        yield {**figures, **_less_first(own, scored, first.setdefault(seed, scored))}


def mean_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per label: the mean of each metric over seeds, and the standard deviation of NDCG@10.

    ``ndcg@10_less_first`` is the mean over seeds of the difference in NDCG@10 from the first row.
    """
    labels = dict.fromkeys(row["label"] for row in rows)
    result = []
    for label in labels:
        mine = [row for row in rows if row["label"] == label]
        means = {name: statistics.fmean(row[name] for row in mine) for name in FIGURES}
        spread = {"ndcg@10_deviation": statistics.stdev(row["ndcg@10"] for row in mine)} if len(mine) > 1 else {}
        paper = {f"paper {name}": value for name, value in mine[0]["paper"].items()}
        costs = {name: _mean([row[name] for row in mine]) for name in _COSTS}
        if costs["tuning_samples"] is not None:
            costs["tuning_samples"] = round(costs["tuning_samples"])
        difference = {_LESS_FIRST: _mean([row[_LESS_FIRST] for row in mine])}
        result.append(
            {"label": label, **means, **spread, **difference, **paper, "num_users": mine[0]["num_users"], **costs}
        )
    return result


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean. Return None if a value is missing, because a mean over some of the seeds would mislead."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None


def _less_first(project: OpenedProject, scored: Scored, first: Scored) -> dict[str, float | None]:
    """Return the paired difference in NDCG@10 between a row and the first row, with its confidence interval."""
    from semconv.stages.evaluate.comparison import compare_methods

    found = {} if scored == first else compare_methods(project.workspace, scored, first).get("ndcg@10", {})
    values = (found.get("difference"), found.get("ci_low"), found.get("ci_high"))
    return dict(zip((_LESS_FIRST, f"{_LESS_FIRST}_low", f"{_LESS_FIRST}_high"), values, strict=True))


def _run_row(
    project: OpenedProject, row: ExperimentRow, split: Literal["test", "valid"], seed: int
) -> tuple[dict[str, Any], Scored]:
    """Compute one row; return its figures, and the evaluate run and the method that the figures belong to."""
    from semconv.stages.blend.run import blend_run
    from semconv.stages.evaluate.comparison import Scored
    from semconv.stages.evaluate.run import evaluate_current
    from semconv.stages.night import fit_all

    started = time.monotonic()
    lineage = fit_all(project.workspace, row.codes)
    if row.method in _BLENDS:
        blend_run(project.workspace, lineage)
        lineage = project.workspace.lineage()
    evaluation = evaluate_current(project.workspace, lineage, split).record
    finetune = lineage.finetune
    figures = _figures(project.store.metric_rows(evaluation.run_id), row)
    return {
        "label": row.label,
        "seed": seed,
        "method": row.method,
        "split": split,
        **figures,
        "paper": dict(row.paper),
        **_code_figures(project, lineage.codebook),
        **_tuning_costs(project, finetune, row.method, figures["ndcg@10"]),
        "seconds": round(time.monotonic() - started, 1),
        "finetune_run_id": finetune.run_id,
        "evaluate_run_id": evaluation.run_id,
    }, Scored(evaluation, row.method)


def _check_method(row: ExperimentRow, settings: Settings) -> None:
    """Raise SettingsError if an evaluation with these settings does not measure the method or the metrics of the row."""
    listed = [columns.METHOD_MODEL, *(_BLENDS if settings.blend.use != "never" else ())]
    known = compared_names(settings.behavior.source, listed, is_tuned=settings.evaluate.counter_search_users > 0)
    if row.method not in known:
        raise SettingsError(f"row {row.label}: there is no method {row.method}; give one of {', '.join(known)}")
    if settings.recommend.top_k < _CUTOFF:
        raise SettingsError(
            f"row {row.label}: metrics at {_CUTOFF} need lists of {_CUTOFF} items; set recommend.top_k to at least {_CUTOFF}"
        )


def _figures(metrics: Sequence[Mapping[str, Any]], row: ExperimentRow) -> dict[str, Any]:
    mine = [metric for metric in metrics if metric["method"] == row.method and metric["segment"] == "all"]
    named = {f"{metric['name'].replace('hit_ratio', 'hr')}@{metric['k']}": metric for metric in mine}
    interval = named["ndcg@10"]
    return {
        "num_users": interval["num_users"],
        **{name: named[name]["value"] for name in FIGURES},
        "ndcg@10_low": interval["ci_low"],
        "ndcg@10_high": interval["ci_high"],
    }


def _code_figures(project: OpenedProject, codebook: RunRecord) -> dict[str, Any]:
    """Return the columns CR and T of the paper's Table 5: collision rate and number of new tokens."""
    from semconv.tokenization.code_set import CodeSet

    code_set = CodeSet.load(project.workspace.intact(codebook))
    collisions = code_set.figures["collisions"]
    levels, size, _ = code_set.books.shape
    return {"collision_rate": collisions[-1]["share_before"], "new_tokens": levels * size}


def _tuning_costs(project: OpenedProject, finetune: RunRecord, method: str, ndcg_at_10: float) -> dict[str, Any]:
    """Return the cost of a tuning: its number of samples, its processor seconds, and NDCG@10 per processor minute."""
    from semconv.stages.tune.figures import tuning_figures

    figures = tuning_figures(project.workspace, finetune)
    seconds = figures.get("processor_seconds") if method in _TUNED else None
    per_minute = ndcg_at_10 / (seconds / 60) if seconds else None
    samples = figures["samples"] if method in _TUNED else None
    return dict(zip(_COSTS, (samples, seconds, per_minute), strict=True))


def _settings(project: OpenedProject, experiment: Experiment, row: ExperimentRow, seed: int) -> Settings:
    """Return the settings for one row and one seed of an experiment.

    A later source in this list wins: defaults, semconv.toml, environment, settings of the table, options, seed,
    settings of the row.
    """
    overrides = {
        "backbone.path": _chosen_backbone(project),
        **experiment.settings,
        **project.overrides,
        **dict.fromkeys(SEEDS, seed),
        **row.settings,
    }
    if overrides.get("codebook.codes") == ALL_ITEMS:
        overrides["codebook.codes"] = len(project.store.catalog())
    if project.settings.behavior.vectors:
        overrides["behavior.vectors"] = str(project.layout.root / project.settings.behavior.vectors)
    return load_settings(project.layout.settings_file, overrides=overrides)


def _chosen_backbone(project: OpenedProject) -> str:
    """Return the pretrained backbone of the settings or of `semconv backbone use`; empty for the built-in one."""
    kept = project.workspace.latest(columns.BACKBONE)
    if project.settings.backbone.path or kept is None:
        return project.settings.backbone.path
    from semconv.runs.workspace import is_created
    from semconv.stages.embed.backbone import backbone_path

    return "" if is_created(kept) else backbone_path(project.workspace, kept)


def _copy_inputs(project: OpenedProject) -> ProjectLayout:
    """Copy the current items and interactions into the separate project for experiments, and return its folder.

    The folder keeps the runs of earlier experiments.
    """
    layout = project.layout.experiments
    if not layout.warehouse.exists():
        OpenedProject.init(
            layout.root,
            f"# Experiments of {project.layout.root.name} use the {SETTINGS_FILE} of that project, not this file.\n",
        )
    migrate(layout.warehouse)
    with project.store.read():  # raises LockedError if another process holds the warehouse
        pass
    with DuckDBStore(layout).write() as connection:
        cursor = raw(connection)
        cursor.execute("ATTACH ? AS origin (READ_ONLY)", [str(project.layout.warehouse)])
        for table in map(quote_identifier, INPUT_TABLES):
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608
            cursor.execute(f"INSERT INTO {table} SELECT * FROM origin.{table}")  # noqa: S608
    return layout
