"""The one object that a command talks to: a project folder with its settings, storage and stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from semconv import columns
from semconv.artifacts import machine_errors, write_bytes
from semconv.columns import Split
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.runs.book import Outcome
from semconv_warehouse import lists, nightly
from semconv_warehouse.opened import OpenedProject
from semconv_warehouse.publish.checks import CheckResult
from semconv_warehouse.publish.publish import Publication, publications, publish, rollback
from semconv_warehouse.upkeep import disk, maintenance, pruning

if TYPE_CHECKING:
    import pyarrow as pa

    from semconv_warehouse.ingest import IngestReport
    from semconv_warehouse.ingest.readers import Input

CURRENT = "current"  # instead of the id of a run: the one in force


class Project(OpenedProject):
    """A project folder, opened.

    Every method raises a SemconvError of its own kind; nothing holds the warehouse between calls.
    """

    # Ingest

    @contextmanager
    def inputs(self, files: Sequence[Path], from_sql: tuple[str, str] | None = None) -> Iterator[Sequence[Input]]:
        """What an ingest reads: files, or the rows of one query (URL, statement), which lie in ``data/`` for the block."""
        if from_sql is None:
            yield files
            return
        from semconv_warehouse.ingest.sql_source import Query, spooled_query

        with spooled_query(Query(*from_sql), self.layout.data) as rows:
            yield [rows]

    def ingest_interactions(
        self,
        files: Sequence[Input],
        mapping: Mapping[str, str],
        *,
        order_by_file: bool = False,
        rejected: Path | None = None,
    ) -> IngestReport:
        """Interactions from Parquet, CSV or JSON lines."""
        from semconv_warehouse import ingest

        return ingest.ingest_interactions(self.store, files, mapping, order_by_file=order_by_file, rejected=rejected)

    def ingest_items(
        self,
        files: Sequence[Input],
        mapping: Mapping[str, str],
        *,
        snapshot: bool = False,
        rejected: Path | None = None,
    ) -> IngestReport:
        """Item text; with ``snapshot`` items that are absent are marked removed."""
        from semconv_warehouse import ingest

        return ingest.ingest_items(self.store, files, mapping, snapshot=snapshot, rejected=rejected)

    def ingest_amazon(self, reviews: Path, meta: Path, *, rejected: Path | None = None) -> IngestReport:
        """Amazon 2018 reviews and metadata."""
        from semconv_warehouse import ingest

        return ingest.ingest_amazon(self.store, reviews, meta, rejected=rejected)

    def ingest_movielens(self, directory: Path, *, rejected: Path | None = None) -> IngestReport:
        """A MovieLens folder with ratings.csv and movies.csv."""
        from semconv_warehouse import ingest

        return ingest.ingest_movielens(self.store, directory, rejected=rejected)

    # Stages

    def backbone_create(self) -> RunRecord:
        """Make the embedded default backbone."""
        from semconv.stages.embed.embedding import create_backbone_run

        return self._record(create_backbone_run(self.context))

    def backbone_use(self, path: str) -> RunRecord:
        """Take a pretrained model from a folder or the hub."""
        from semconv.stages.embed.embedding import use_backbone_run

        return self._record(use_backbone_run(self.context, path))

    def embed_behavior(self) -> RunRecord:
        """Behaviour vectors of items and users."""
        from semconv.stages.embed.embedding import embed_behavior_run

        return self._record(embed_behavior_run(self.context))

    def embed_text(self) -> RunRecord:
        """Text vectors of items."""
        from semconv.stages.embed.embedding import embed_text_run

        return self._record(embed_text_run(self.context, self.context.need(columns.BACKBONE)))

    def codebook_fit(self) -> RunRecord:
        """A new code set beside the old ones."""
        from semconv.stages.codes.tokenizing import fit_codebook_run

        behavior, text = self.context.need(columns.EMBED_BEHAVIOR), self.context.need(columns.EMBED_TEXT)
        return self._record(fit_codebook_run(self.context, behavior, text))

    def codebook_load(self, file: Path) -> RunRecord:
        """A new code set of codes made elsewhere, beside the old ones."""
        from semconv.stages.codes.tokenizing import load_codes_run

        return self._record(load_codes_run(self.context, self.context.need(columns.EMBED_BEHAVIOR), file))

    def codebook_assign(self) -> RunRecord | None:
        """Codes for new items, in the code set of the current model; None when there are none."""
        from semconv.stages.codes.tokenizing import assign_run

        outcome = assign_run(self.context, self.current_codebook())
        return None if outcome is None else self._record(outcome)

    def codebook_report(self, *, codes: Path | None = None, html: Path | None = None) -> dict[str, Any]:
        """Figures of the current code set, or of foreign codes in a Parquet file; ``html`` writes them as a page."""
        from semconv.reports.code_page import report_page
        from semconv.stages.codes.report import codebook_report, external_report

        report = (
            codebook_report(self.context, self.current_codebook(), self.context.latest(columns.FINETUNE))
            if codes is None
            else external_report(self.context, codes)
        )
        if html is not None:
            with machine_errors(html):
                write_bytes(html, report_page(report).encode())
        return report

    def current_codebook(self) -> RunRecord:
        """The code set of the current model, or the newest one while nothing is tuned."""
        finetune = self.context.latest(columns.FINETUNE)
        return (
            self.context.need(columns.CODEBOOK)
            if finetune is None
            else self.context.input_of(finetune, columns.CODEBOOK)
        )

    def export_prompts(self, output: Path, *, epoch: int = 0) -> dict[str, Any]:
        """Write an epoch's samples; counts by task."""
        from semconv.stages.tune.prompt_source import export_prompts

        return export_prompts(self.context, output, epoch)

    def finetune(self, *, from_run: str | None = None) -> RunRecord:
        """Tune the backbone on the newest code set, or go on from an earlier run (``current``: the newest) with what is new.

        Under torchrun this is the first process; the others call ``semconv.stages.tune.group.follow``.
        """
        from semconv.stages.tune.group import leading
        from semconv.stages.tune.tuning import finetune_run

        if from_run is None:
            start = None
        else:
            start = self.context.need(columns.FINETUNE) if from_run == CURRENT else self.context.run(from_run)
        codebook = self.context.need(columns.CODEBOOK)
        backbone = (
            self.context.need(columns.BACKBONE) if start is None else self.context.input_of(start, columns.BACKBONE)
        )
        aligned_to = self.context.find_input(codebook, columns.BACKBONE)
        if aligned_to is not None and backbone.run_id != aligned_to.run_id:
            again = "`semconv embed text` and `semconv codebook fit` align them to this one"
            self.progress.say(f"the codes are aligned to another backbone than {backbone.run_id}; {again}")
        with leading() as leader:
            return self._record(finetune_run(self.context, backbone, codebook, start, leader))

    def blend(self) -> dict[str, Any]:
        """Fit the blend of the current model on validation users; weights, figures and the verdict."""
        from semconv.stages.blend.blending import blend_report, blend_run

        record = self._record(blend_run(self.context, self.context.need(columns.FINETUNE)))
        return blend_report(self.context, record)

    def recommend(
        self,
        *,
        split: Split = "serve",
        users_file: Path | None = None,
        only_changed: bool = False,
        where: str | None = None,
    ) -> RunRecord:
        """Top-K lists; for serving, users that are not asked for keep the lists of the run before."""
        from semconv.stages.blend.blending import say_without_blend
        from semconv.stages.lists.recommend import Request, recommend_run

        finetune = self.context.need(columns.FINETUNE)
        if split == "serve":
            say_without_blend(self.context, finetune)
        users = None if users_file is None else self.store.user_ids_file(users_file)
        before = lists.carry_source(self, finetune) if split == "serve" and not where else None
        if users is not None and before is not None:
            request = Request(split, None, where, before, users)
        elif only_changed:
            if before is None:
                self.progress.say(
                    "no earlier lists of this model and these settings to carry over; all users are computed"
                )
            request = Request(split, users, where, before)
        else:
            request = Request(split, users, where)
        return self._record(recommend_run(self.context, finetune, request))

    def recommend_query(self, text: str, user_id: str | None = None, where: str | None = None) -> list[dict[str, Any]]:
        """Best items for a user's words, of those that ``where`` allows."""
        from semconv.stages.lists.question import answer_query

        user = None
        if user_id is not None:
            names = list(self.store.sequences().user_ids)
            if user_id not in names:
                raise InputError(f"unknown user {user_id}; without a user the words alone count")
            user = names.index(user_id)
        catalog = self.store.catalog()
        answers = answer_query(self.context, self.context.need(columns.FINETUNE), text, user, where)
        return [
            {"rank": rank, "item_id": catalog.item_ids[item], "title": catalog.titles[item], "score": score}
            for rank, (item, score) in enumerate(answers, start=1)
        ]

    def recommend_load(self, files: Sequence[Path]) -> RunRecord:
        """Take in Parquet parts made elsewhere as a recommend run."""
        return self._record(lists.load_run(self, files))

    def evaluate(
        self, *, against: str | None = None, split: Literal["test", "valid"] = "test", html: Path | None = None
    ) -> list[dict[str, Any]]:
        """Figures of the current model on a split beside the baselines; makes the lists if need be.

        With ``against`` (an evaluate run) rows of the paired difference instead. ``html`` writes all of it as a page.
        """
        from semconv.stages.evaluate.comparison import compare_runs

        before = None if against is None else self.context.run(against)
        run = lists.evaluate_current(self, split).record
        rows = self.store.metric_rows([run.run_id])
        if html is not None:
            from semconv.reports.evaluation_page import evaluation_page
            from semconv.stages.evaluate.report import evaluation_report

            with machine_errors(html):
                write_bytes(html, evaluation_page(evaluation_report(self.context, run, rows, before)).encode())
        return rows if before is None else compare_runs(self.context, run, before)

    def experiment(
        self, name: str, *, split: Literal["test", "valid"] = "test", num_seeds: int = 1
    ) -> Iterator[dict[str, Any]]:
        """Rows of a table of the paper, or of a TOML file, as they are finished; see :mod:`experiment`."""
        from semconv_warehouse.experiments.experiment import run_experiment
        from semconv_warehouse.experiments.plan import read_experiment

        return run_experiment(self, read_experiment(name), split=split, seeds=range(num_seeds))

    # Publishing

    def publish(self) -> Publication:
        """Put the newest lists in place as a generation."""
        return publish(
            self.layout,
            self.store,
            lists.newest_lists(self).run_id,
            evaluate_run_ids=lists.evaluate_run_ids(self),
            memory_mb=self.settings.publish.memory_mb,
        )

    def rollback(self) -> Publication:
        """Put the generation before the served one in place again."""
        return rollback(self.layout, self.store)

    def features_apply(self) -> dict[str, Any]:
        """Register the Feast definitions."""
        from semconv_warehouse.features import features

        features.export_features(self.layout, self.store)
        return dict(features.apply(self.layout, self.store.wait))

    def features_materialize(self, *, again: bool = False) -> dict[str, Any]:
        """Bring the online store up to the last publication; ``again`` fills one anew that lost its data."""
        from semconv_warehouse.features import features

        return features.materialize(self.layout, self.store, again=again)

    def features_status(self) -> dict[str, Any]:
        """How far the online store is behind."""
        from semconv_warehouse.features import features

        return features.status(self.layout, self.store)

    def features_get(self, *, user: str | None = None, item: str | None = None) -> dict[str, Any]:
        """Online features of one user or one item."""
        from semconv_warehouse.features import features

        return features.get_features(self.layout, user=user, item=item)

    def run(self, *, refit: bool = False) -> dict[str, Any]:
        """Do what is due, in order, then publish and hand the features to Feast."""
        return nightly.run_due(self, refit=refit)

    # Reading

    def show_user(self, user_id: str) -> dict[str, Any]:
        """History and top-K of a user with titles."""
        from semconv_warehouse.serving import serving

        return serving.show_user(self.layout, user_id)

    def show_item(self, item_id: str) -> dict[str, Any]:
        """An item, its codes and similar items."""
        from semconv_warehouse.serving import serving

        return serving.show_item(self.layout, item_id)

    def sql(self, statement: str, *, limit: int | None = None, parameters: Mapping[str, str] | None = None) -> pa.Table:
        """Run a reading statement on what is published; it reads a parameter with ``getvariable('name')``."""
        from semconv_warehouse.serving import serving

        return serving.query(self.layout, statement, limit, parameters)

    def sql_query(self, name: str, *, limit: int | None = None, parameters: Mapping[str, str]) -> pa.Table:
        """Run a ready question of the cookbook on what is published."""
        from semconv_warehouse.serving.cookbook import cookbook_query

        return self.sql(cookbook_query(name, parameters).statement, limit=limit, parameters=parameters)

    def runs(self) -> list[dict[str, Any]]:
        """Runs, newest first, with the bytes of their folders and the generations that stand on them."""
        return maintenance.runs(self)

    def generations(self) -> list[dict[str, Any]]:
        """Generations with their publications, newest first."""
        return maintenance.generations(self)

    def check(self, max_age: timedelta | None = None) -> list[CheckResult]:
        """Run the integrity checks on the warehouse and on what is served, and with ``max_age`` look at its age."""
        return maintenance.check(self, max_age)

    def disk_usage(self) -> dict[str, int]:
        """Bytes of ``data/`` by part, ``total`` last."""
        return disk.usage(self.layout)

    def prune(self, keep: int, dry_run: bool) -> dict[str, Any]:
        """Remove generation files, run folders and feature files that nothing kept needs."""
        return pruning.prune(self, keep, dry_run)

    def forget(
        self, user_ids: Sequence[str], *, users_file: Path | None = None, dry_run: bool = False
    ) -> dict[str, Any]:
        """Take people out of everything that the project keeps, and say what knows something of them still."""
        from semconv_warehouse.erase.forgetting import forget
        from semconv_warehouse.store.user_files import read_user_ids

        named = [] if users_file is None else read_user_ids(users_file)
        return forget(self, [*user_ids, *named], dry_run=dry_run)

    def doctor(self) -> list[dict[str, Any]]:
        """Look at installation, disk, warehouse and lineage."""
        return maintenance.doctor(self)

    def backbone_run(self) -> Outcome:
        """The backbone that the settings name, made or checked."""
        from semconv.stages.embed.embedding import create_backbone_run, use_backbone_run
        from semconv.stages.stage_settings import named_backbone

        path = named_backbone(self.context)
        return use_backbone_run(self.context, path) if path else create_backbone_run(self.context)

    def publications(self) -> list[Publication]:
        """Every publication, oldest first."""
        return publications(self.store)

    def _record(self, outcome: Outcome) -> RunRecord:
        if outcome.is_reused:
            self.progress.say(f"{outcome.record.run_id} is there already and is reused")
        return outcome.record
