"""The separate project of experiments: a copy of the inputs and, for a leaderboard, of the runs of the project's model."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager

from semconv import columns
from semconv.columns import Split
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.locks import run_lock
from semconv.runs.lineage import Lineage
from semconv_warehouse.opened import OpenedProject
from semconv_warehouse.store.database import quote_identifier, raw
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import SETTINGS_FILE, ProjectLayout
from semconv_warehouse.store.migrate import migrate

INPUT_TABLES = ("item", "user_account", "interaction", "user_profile", "project_setting")
_OF_MODEL = (columns.BLEND, columns.TUNE_BASELINE, columns.RECOMMEND, columns.EVALUATE)


def experiment_lock(project: OpenedProject) -> AbstractContextManager[None]:
    """Hold the separate project during a block, because another experiment would replace the copied inputs.

    Raises:
        LockedError: another experiment runs.
    """
    return run_lock(project.layout.experiments.root, wait=project.store.wait, work="an experiment is being computed")


def copy_inputs(project: OpenedProject) -> ProjectLayout:
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


def adopt_model(project: OpenedProject, own: OpenedProject, split: Split) -> Lineage | None:
    """Take the project's current model over into the separate project; return its lineage there, None without a model.

    Its blends, and its lists and evaluations on a split, are taken over too. So a leaderboard computes only what the
    project has not computed yet.

    Args:
        own: the separate project.
    """
    try:
        lineage = project.workspace.lineage()
    except InputError:
        return None
    ranker, store = lineage.ranker, project.store
    runs = [*lineage.runs, *lineage.assigns]
    finished = [run for stage in _OF_MODEL for run in project.workspace.book.finished(stage)]
    for run in finished:
        made = Lineage.of(store, run).runs
        is_of_model = run.stage == columns.TUNE_BASELINE or ranker.run_id in {one.run_id for one in made}
        lists = next((one for one in made if one.stage == columns.RECOMMEND), None)
        if is_of_model and (lists is None or lists.settings["split"] == split):
            runs += made
    _adopt(project, own, runs)
    return Lineage.current(own.store, ranker) if lineage.tuned is not None else Lineage.of(own.store, ranker)


def _adopt(project: OpenedProject, own: OpenedProject, runs: Iterable[RunRecord]) -> None:
    """Take over runs whose files exist, the oldest first, so that the newest run of a stage stays the newest."""
    once = {run.run_id: run for run in runs if project.workspace.book.is_done(run)}
    for run in sorted(once.values(), key=lambda run: str(run.finished_at)):
        own.workspace.book.adopt(run, project.workspace.book.folder(run))


def adopt_blend(project: OpenedProject, own: OpenedProject, lineage: Lineage) -> RunRecord | None:
    """Make the project's current blend of a model that was taken over the current one in the separate project too.

    The separate project may have later blends of the model: an earlier blend of the project that was taken over after
    this one, or one that was fitted there.

    Args:
        own: the separate project.
        lineage: of the project's model or of its blend without a model (``adopt_model``).

    Returns:
        the blend; None if the project has none with the scores and the mask of its settings.

    Raises:
        SettingsError: the settings ask for other scores or another mask than the model was tuned for.
    """
    from semconv.stages.blend.choice import fitting_blend

    blend = fitting_blend(project.workspace, lineage)
    taken = {run.run_id: run for run in own.workspace.book.finished(columns.BLEND)}
    return None if blend is None or blend.run_id not in taken else own.workspace.book.take_up(taken[blend.run_id])
