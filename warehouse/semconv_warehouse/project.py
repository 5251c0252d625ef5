"""The class ``Project``, with one method for each command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from semconv.artifacts import machine_errors, write_bytes
from semconv.columns import Split
from semconv.data.store import RunRecord
from semconv.modes import OWNER_FILE
from semconv_warehouse.coding import CodingProject
from semconv_warehouse.gates.gate import Guard
from semconv_warehouse.gates.lists import PublishGates
from semconv_warehouse.publish.checks import CheckResult
from semconv_warehouse.publish.publications import Publication, publications
from semconv_warehouse.publish.publishing import publish, rollback
from semconv_warehouse.store.leftovers import remove_leftovers
from semconv_warehouse.upkeep import checking, disk, pruning, records
from semconv_warehouse.upkeep.doctor import doctor

if TYPE_CHECKING:
    from semconv.stages.night import Night
    from semconv_warehouse.experiments.board import Board
    from semconv_warehouse.experiments.experiment import ExperimentRun
    from semconv_warehouse.experiments.options import ExperimentOptions


class Project(CodingProject):
    """An open project folder, with one method for each command.

    Methods report every error as a SemconvError. No connection to the warehouse stays open between calls.
    """

    # Stages

    def export_prompts(self, output: Path, *, epoch: int = 0) -> dict[str, Any]:
        """Write the training samples of an epoch to a file, and return their number by task."""
        remove_leftovers(self.layout)
        from semconv.stages.tune.export import export_prompts

        return export_prompts(self.workspace, output, epoch)

    def finetune(self, *, from_run: str | None = None) -> RunRecord:
        """Tune the backbone on the newest code set, or continue an earlier run (``current``: the newest).

        Under torchrun, only the first process calls this. The others call ``semconv.train.group.follow``.
        """
        remove_leftovers(self.layout)
        from semconv.stages.tune.inputs import tuning_inputs
        from semconv.stages.tune.run import finetune_run
        from semconv.train.group import leading

        with leading() as leader:
            return self._record(finetune_run(self.workspace, tuning_inputs(self.workspace, from_run), leader))

    def finetune_pack(self, folder: Path, *, from_run: str | None = None) -> RunRecord:
        """Write a tuning into a new folder outside the data, for ``python -m semconv.train`` on another machine."""
        remove_leftovers(self.layout)
        from semconv.stages.tune.inputs import tuning_inputs
        from semconv.stages.tune.pack import pack_run

        return pack_run(self.workspace, tuning_inputs(self.workspace, from_run), folder)

    def finetune_load(self, folder: Path, *, older_data: bool = False) -> RunRecord:
        """Check the result in the folder of a pack, and make it a finished tuning.

        Args:
            older_data: load it although the items or interactions changed since the pack was made.
        """
        remove_leftovers(self.layout)
        from semconv.stages.tune.load import load_run

        return self._record(load_run(self.workspace, folder, older_data=older_data))

    def blend(self) -> dict[str, Any]:
        """Fit the blend of the current model on validation users, or a blend without a model (setting blend.model).

        Returns:
            its weights, its metrics, and whether it is better than the model.
        """
        remove_leftovers(self.layout)
        from semconv.stages.blend.choice import fitting_lineage
        from semconv.stages.blend.run import blend_report, blend_run

        record = self._record(blend_run(self.workspace, fitting_lineage(self.workspace)))
        return blend_report(self.workspace, record)

    def recommend(
        self,
        *,
        split: Split = "serve",
        users_file: Path | None = None,
        only_changed: bool = False,
        where: str | None = None,
    ) -> RunRecord:
        """Compute top-K lists. For serving, users who are not in ``users_file`` keep their lists of the run before."""
        remove_leftovers(self.layout)
        from semconv.stages.lists.current import requested
        from semconv.stages.lists.run import recommend_run

        lineage = self.workspace.lineage()
        users = None if users_file is None else self.store.user_ids_file(users_file)
        request = requested(self.workspace, lineage, split, users, where, only_changed=only_changed)
        return self._record(recommend_run(self.workspace, lineage, request))

    def recommend_query(self, text: str, user_id: str | None = None, where: str | None = None) -> list[dict[str, Any]]:
        """Return the best items for a question in words; ``where`` is an SQL condition on them.

        The first question for a model fits the weights of the answers on held-out queries, if there are any.
        """
        remove_leftovers(self.layout)
        from semconv.stages.questions.answer import answer_question

        return answer_question(self.workspace, text, user_id, where)

    def evaluate_questions(self) -> list[dict[str, Any]]:
        """Return the metrics of every way to answer held-out queries, as rows of the table ``metric``.

        Raises:
            InputError: there is no model and no blend, or there are too few held-out queries.
        """
        remove_leftovers(self.layout)
        from semconv.stages.questions.weights import fit_questions_run, require_figures

        record = fit_questions_run(self.workspace, self.workspace.lineage()).record
        require_figures(self.workspace, record)
        return self.store.metric_rows(record.run_id)

    def recommend_load(self, files: Sequence[Path], *, merge: bool = False) -> RunRecord:
        """Load external lists from Parquet files as the lists for serving.

        Args:
            merge: when these lists are published, users without a list in the files keep their published list.
        """
        remove_leftovers(self.layout)
        from semconv.stages.lists.load import load_lists_run
        from semconv_warehouse.publish.external_lists import KnownIds, load_lists

        def load(folder: Path) -> None:
            known = KnownIds(*self.store.known_ids())
            load_lists(files, known, folder, memory_mb=self.settings.publish.memory_mb)

        return self._record(load_lists_run(self.workspace, files, load, is_merged=merge))

    def evaluate(
        self, *, against: str | None = None, split: Literal["test", "valid"] = "test", html: Path | None = None
    ) -> list[dict[str, Any]]:
        """Return the metrics of the current model and of the baselines on a split. Missing lists are computed first.

        Args:
            against: id of an evaluate run; the rows are then paired differences from that run.
            html: file for the report as an HTML page.
        """
        remove_leftovers(self.layout)
        from semconv.stages.evaluate.comparison import compare_runs
        from semconv.stages.evaluate.run import evaluate_current

        before = None if against is None else self.workspace.run(against)
        run = evaluate_current(self.workspace, self.workspace.lineage(), split).record
        rows = self.store.metric_rows(run.run_id)
        if html is not None:
            from semconv.reports.evaluation_page import evaluation_page
            from semconv.stages.evaluate.report import evaluation_report

            with machine_errors(html):
                page = evaluation_page(evaluation_report(self.workspace, run, rows, before))
                write_bytes(html, page.encode(), OWNER_FILE)  # the page names users
        return rows if before is None else compare_runs(self.workspace, run, before)

    def experiment(self, name: str, options: ExperimentOptions | None = None) -> ExperimentRun | Board:
        """Prepare an experiment: a table of the paper, a leaderboard, or a TOML file.

        Iterating over the result computes its rows.

        Args:
            options: of the experiment; None for the validation items and one seed.
        """
        remove_leftovers(self.layout)
        from semconv_warehouse.experiments.board import prepare_board
        from semconv_warehouse.experiments.experiment import prepare_experiment
        from semconv_warehouse.experiments.options import ExperimentOptions
        from semconv_warehouse.experiments.plan import read_experiment

        plan, options = read_experiment(name), options or ExperimentOptions()
        return prepare_board(self, plan, options) if plan.uses_project else prepare_experiment(self, plan, options)

    # Publishing

    def publish(self, *, force: bool = False) -> Publication:
        """Publish the newest lists as a generation, which readers then see.

        Args:
            force: publish although a gate fails; the publication records which gates failed.

        Raises:
            GateFailedError: a gate of the section ``gates`` failed. The served generation stays.
        """
        remove_leftovers(self.layout)
        from semconv.stages.evaluate.run import evaluations_of
        from semconv.stages.lists.current import newest_lists
        from semconv_warehouse.gates.quality import quality_findings, served_lists

        lists = newest_lists(self.workspace)
        evaluations, before = evaluations_of(self.workspace, lists), served_lists(self.store)
        gates = self._gates(force)
        quality = quality_findings(self.workspace, gates.guard, lists, before, evaluations)
        return publish(
            self.layout,
            self.store,
            lists.run_id,
            evaluate_run_ids=[run.run_id for run in evaluations],
            memory_mb=self.settings.publish.memory_mb,
            gates=replace(gates, quality=quality, compared_with=before.publication),
        )

    def rollback(self) -> Publication:
        """Serve the generation before the served one again."""
        remove_leftovers(self.layout)
        return rollback(self.layout, self.store)

    def features_apply(self) -> dict[str, Any]:
        """Export missing feature files, and register the Feast definitions of the project."""
        remove_leftovers(self.layout)
        from semconv_warehouse.features import export, repository

        export.export_features(self.layout, self.store)
        return dict(repository.apply(self.layout, self.store.wait))

    def features_materialize(self, *, again: bool = False) -> dict[str, Any]:
        """Load the last publication into the online store; ``again`` loads all rows, for a store without data."""
        remove_leftovers(self.layout)
        from semconv_warehouse.features import online

        return online.materialize(self.layout, self.store, again=again)

    def features_status(self) -> dict[str, Any]:
        """Return how many publications Feast's online store is behind."""
        from semconv_warehouse.features import online

        return online.status(self.layout, self.store)

    def features_get(self, *, user: str | None = None, item: str | None = None) -> dict[str, Any]:
        """Return the online features of one user or one item."""
        from semconv_warehouse.features import online

        return online.get_features(self.layout, user=user, item=item)

    def publish_due(self, *, refit: bool = False, force: bool = False) -> Night:
        """Run every stage that is due and publish the lists, without updating Feast; ``force`` overrides gates."""
        remove_leftovers(self.layout)
        from semconv.stages.night import run_night

        if not force:
            gates = self._gates(force)
            gates.require(gates.events(self.store))  # not only after hours of computing
        return run_night(self.workspace, lambda: self.publish(force=force), refit=refit)

    def run(self, *, refit: bool = False, force: bool = False) -> dict[str, Any]:
        """Run every stage that is due, publish the lists, and load the features into Feast; ``force`` overrides gates.

        Returns:
            ``stages`` (stage, run_id, state, seconds), ``refit`` (is_due, reasons, is_done), ``publication`` and
            ``features``.
        """
        remove_leftovers(self.layout)
        night = self.publish_due(refit=refit, force=force)
        self.features_apply()
        return {**asdict(night), "features": self.features_materialize()}

    # Upkeep

    def runs(self) -> list[dict[str, Any]]:
        """Return the runs, newest first, with the bytes of their folders and the generations made from them."""
        return records.runs(self.workspace, self.store)

    def generations(self) -> list[dict[str, Any]]:
        """Return the generations, newest first, with their publications and sizes."""
        return records.generations(self.workspace, self.store)

    def check(self, max_age: timedelta | None = None) -> list[CheckResult]:
        """Check the warehouse, the served generation and the run files; with ``max_age`` the age of the publication too."""
        return checking.check(self.workspace, self.store, max_age)

    def disk_usage(self) -> dict[str, int]:
        """Return the bytes of ``data/`` by part, ``total`` last."""
        return disk.usage(self.layout)

    def discard(self, run_id: str | None = None) -> dict[str, Any]:
        """Discard a model or a blend with everything that was computed from it, so that the one before it is current."""
        from semconv_warehouse.upkeep.discarding import discard

        remove_leftovers(self.layout)
        return discard(self.workspace, self.store, run_id)

    def prune(self, keep: int, dry_run: bool) -> dict[str, Any]:
        """Remove generation files, run folders and feature files that are no longer needed."""
        if not dry_run:
            remove_leftovers(self.layout)
        return pruning.prune(self.workspace, self.store, keep, dry_run)

    def forget(
        self, user_ids: Sequence[str], *, users_file: Path | None = None, dry_run: bool = False
    ) -> dict[str, Any]:
        """Erase users from all data of the project, and name the models and files that still contain data of them."""
        from semconv_warehouse.erase.forgetting import forget
        from semconv_warehouse.store.user_files import read_user_ids

        named = [] if users_file is None else read_user_ids(users_file)
        return forget(self.workspace, self.store, [*user_ids, *named], dry_run=dry_run)

    def doctor(self) -> list[dict[str, Any]]:
        """Find problems of installation, disk, permissions, warehouse, runs and serving."""
        return doctor(self.workspace, self.store)

    def publications(self) -> list[Publication]:
        """Return every publication, oldest first."""
        return publications(self.store)

    def _gates(self, force: bool) -> PublishGates:
        guard = Guard(self.settings.gates, force, self.progress.say)
        return PublishGates(guard, self.settings.recommend.top_k, self.settings.publish.memory_mb)
