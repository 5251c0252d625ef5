"""The stage that fits the weights of answers on held-out queries, and measures the answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import read_arrays, read_json, write_arrays, write_json
from semconv.blend.weights import LogitWeights
from semconv.columns import Split
from semconv.data.splits import target_rows, train_mask
from semconv.data.store import RunRecord, Sequences
from semconv.errors import InputError
from semconv.evaluation.question_rows import LIST_LENGTH, question_rows
from semconv.evaluation.rows import EvaluationProtocol
from semconv.evaluation.segments import draw_users
from semconv.metrics import target_ranks
from semconv.questions.features import POPULARITY, WORDS, Questions, Scored
from semconv.questions.fusion import (
    FEWEST_QUERIES,
    FittedFusion,
    Fusion,
    best_answers,
    fit_fusion,
    names_first,
    naming_share,
    ranks_by,
    text_alone,
)
from semconv.questions.index import WordIndex
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.files import QUESTION_COUNTS, QUESTION_WEIGHTS
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages import stage_settings
from semconv.stages.agreement import HONEST_CUT, leak
from semconv.stages.held_out import held_out_items, why_past_cut
from semconv.stages.questions.setup import Answering, Shop, has_split
from semconv.stages.questions.word_file import word_index

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_QUERIES: Final = 2000  # of a split
_SPLITS: Final[tuple[Split, ...]] = ("valid", "test")
ALONE, WITH_USER = "alone", "with_user"


@dataclass(frozen=True)
class QuestionWeights:
    """The weights of a lineage.

    Attributes:
        fusions: the fusion for questions of nobody (``ALONE``) and of users (``WITH_USER``); empty if none was fitted.
        popularity: ``(I,)`` training interactions of each item.
        remark: where the weights come from, or why there are none.
    """

    fusions: Mapping[str, Fusion]
    popularity: NDArray[np.float64]
    remark: str


def question_weights(workspace: Workspace, lineage: Lineage | None) -> QuestionWeights:
    """Return the weights for answers with the model and vectors of a lineage; fit them if that was not done yet.

    Weights are kept until there is another model, blend or code set. A project that had too few held-out queries tries
    again when there are new interactions.
    """
    nothing = np.zeros(0)
    if lineage is None or not has_split(lineage):
        return QuestionWeights({}, nothing, "there is no model and no blend yet; `semconv run` makes them")
    record = next(
        (run for run in workspace.book.finished(columns.FIT_QUESTIONS) if _is_of(run, lineage, workspace)), None
    )
    if record is not None:
        manifest = read_manifest(workspace, record)
        if not manifest["fusions"] and workspace.book.is_stale(record, {}):
            record = None
    if record is None:
        if not len(workspace.events().items):
            return QuestionWeights({}, nothing, "there are no interactions")
        record = fit_questions_run(workspace, lineage).record
        manifest = read_manifest(workspace, record)
    if not manifest["fusions"] and lineage.split["train_cut"] != HONEST_CUT:
        manifest = _fitted_before(workspace) or manifest
    fusions = {name: _fusion(plain) for name, plain in manifest["fusions"].items()}
    counts = read_arrays(workspace.intact(record, QUESTION_COUNTS))["popularity"]
    return QuestionWeights(fusions, counts, manifest["remark"])


def _fitted_before(workspace: Workspace) -> dict[str, Any] | None:
    """Return the manifest of the newest fit for a model that was not trained on the validation items; None for none."""
    for run in workspace.book.finished(columns.FIT_QUESTIONS):
        if run.settings["split"]["train_cut"] == HONEST_CUT and workspace.book.is_done(run):
            manifest = read_manifest(workspace, run)
            if manifest["fusions"]:
                return {**manifest, "remark": f"{manifest['remark']} of an earlier model"}
    return None


def read_manifest(workspace: Workspace, record: RunRecord) -> dict[str, Any]:
    """Read the weights and figures of a run of this stage; InputError if the file is missing or damaged."""
    manifest: dict[str, Any] = read_json(workspace.intact(record, QUESTION_WEIGHTS))
    return manifest


def require_figures(workspace: Workspace, record: RunRecord) -> None:
    """Raise InputError if a run of this stage has no figures, because there were too few held-out queries."""
    manifest = read_manifest(workspace, record)
    if not manifest["fusions"]:
        raise InputError(
            f"no answers to measure: {manifest['remark']}; ingest interactions with the column query (docs/questions.md)"
        )


def fit_questions_run(workspace: Workspace, lineage: Lineage) -> Outcome:
    """Fit the weights on validation queries, and measure the answers to validation and test queries.

    Args:
        lineage: the current lineage of the model, or of the blend without a model.
    """
    made = _inputs(lineage)

    def compute(folder: Path) -> dict[str, pa.Table]:
        import pyarrow

        shop = Shop.read(workspace, None, with_users=True, lineage=lineage, queries=True)
        assert shop.sequences is not None
        cut = lineage.split["train_cut"]
        items = shop.sequences.items[train_mask(shop.sequences, cut)]
        popularity = np.bincount(items, minlength=len(shop.catalog)).astype(np.float64)
        write_arrays(folder / QUESTION_COUNTS, {"popularity": popularity})
        fit = _Fit(workspace, lineage, shop, popularity)
        manifest, rows = fit.run()
        write_json(folder / QUESTION_WEIGHTS, manifest)
        return {"metric": pyarrow.Table.from_pylist(_stored(rows))} if rows else {}

    settings = {
        **workspace.section("recommend"),
        "split": dict(lineage.split),
        "history_length": workspace.settings.split.history_length,
        **stage_settings.masked(workspace),
        "evaluate": workspace.section("evaluate")["evaluate"],
    }
    kept = {name: settings["recommend"][name] for name in ("seen", "seen_days", "where", "scores", "dtype", "beams")}
    settings["recommend"] = kept
    request = StageRequest(columns.FIT_QUESTIONS, settings, made, ("item", "interaction"))
    return workspace.book.execute(request, compute)


def _inputs(lineage: Lineage) -> tuple[RunRecord, ...]:
    made = (lineage.tuned, *lineage.code_runs, lineage.find(columns.EMBED_BEHAVIOR), lineage.text, lineage.blend)
    return tuple(run for run in made if run is not None)


def _is_of(run: RunRecord, lineage: Lineage, workspace: Workspace) -> bool:
    """Return whether a run fitted weights for the model, text vectors and blend of a lineage."""
    needed = (lineage.tuned, lineage.text, lineage.blend)
    return {made.run_id for made in needed if made is not None} <= set(run.inputs) and workspace.book.is_done(run)


@dataclass(frozen=True)
class HeldOutQueries:
    """Held-out queries of one split: the user, the text and the item of each."""

    users: NDArray[np.int32]
    texts: list[str]
    items: NDArray[np.int32]

    @classmethod
    def of(cls, workspace: Workspace, lineage: Lineage, sequences: Sequences, split: Split) -> HeldOutQueries:
        """Return the queries of the held-out interactions, or a fixed sample of them.

        Users are left out if the lineage was trained on their item (``held_out_items``).
        """
        rows, seed = target_rows(sequences, split), workspace.settings.evaluate.seed
        has_target = held_out_items(workspace, lineage.runs, sequences, split)[0] >= 0
        queries = sequences.queries or []
        asked = [user for user in np.flatnonzero(has_target).tolist() if (queries[rows[user]] or "").strip()]
        users = draw_users(np.array(asked, dtype=np.int32), _MOST_QUERIES, seed)
        texts = [(queries[row] or "").strip() for row in rows[users].tolist()]
        return cls(users, texts, sequences.items[rows[users]])


@dataclass(frozen=True)
class _Fit:
    """One fit of weights, with the figures of the answers."""

    workspace: Workspace
    lineage: Lineage
    shop: Shop
    popularity: NDArray[np.float64]

    def run(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return the manifest, and rows of the table ``metric``."""
        sequences, cut = self.shop.sequences, self.lineage.split["train_cut"]
        assert sequences is not None
        workspace, runs, rows = self.workspace, self.lineage.runs, list[dict[str, Any]]()
        seed = workspace.settings.evaluate.seed
        if cut != HONEST_CUT:
            return _without(f"the model was trained on the validation items (train cut {cut})"), rows
        if (why := leak("valid", runs) or why_past_cut(workspace, runs, sequences, "valid")) is not None:
            return _without(why), rows
        held_out = {split: HeldOutQueries.of(workspace, self.lineage, sequences, split) for split in _SPLITS}
        valid = held_out["valid"]
        if len(valid.users) < FEWEST_QUERIES:
            return _without(f"{len(valid.users)} held-out queries are too few; {FEWEST_QUERIES} are needed"), rows
        scored, kind_of = self._scored(valid, "valid"), self._index.kinds
        first = names_first(scored[ALONE], valid.items)
        fitted: dict[str, FittedFusion] = {}
        for name, some in scored.items():
            fit = fit_fusion(some, valid.items, kind_of, names_first=first, seed=seed)
            if fit is None:
                return _without("held-out queries have words of other items than their own"), rows
            fitted[name] = fit
        rows += self._rows("valid", valid, scored, {name: fit.fold_scores for name, fit in fitted.items()})
        test = held_out["test"]
        if len(test.users):
            again = self._scored(test, "test")
            rows += self._rows("test", test, again, {name: fitted[name].fusion.scores(again[name]) for name in again})
        count, share = naming_share(scored[ALONE], valid.items)
        return {
            "fusions": {name: _plain(fit.fusion) for name, fit in fitted.items()},
            "remark": f"weights fitted on {fitted[ALONE].num_fitted:,} held-out queries",
            "num_queries": {split: len(queries.users) for split, queries in held_out.items()},
            "num_fitted": {name: fit.num_fitted for name, fit in fitted.items()},
            "num_naming": count,
            "naming_share": share,
        }, rows

    @cached_property
    def _index(self) -> WordIndex:
        return word_index(self.workspace, self.lineage, self.shop.catalog, self.shop.facets)

    def _scored(self, queries: HeldOutQueries, split: Split) -> dict[str, Scored]:
        """Return the candidates of the queries as questions of nobody, and as questions of their users."""
        workspace = self.workspace
        answering = Answering.load(
            workspace, self.lineage, self.shop, self._index, self.popularity, with_model=True, split=split
        )
        prompts = answering.prompts(queries.texts, workspace.settings.tasks.max_prompt_tokens)
        askers = {ALONE: None, WITH_USER: answering.askers(queries.users)}
        scored = {}
        with workspace.progress.task(f"questions {split}", len(askers) * len(queries.texts), "queries") as bar:
            for name, asker in askers.items():
                scored[name] = answering.scorer.score(Questions(queries.texts, prompts, asker))
                bar.advance(len(queries.texts))
        return scored

    def _rows(
        self,
        split: Split,
        queries: HeldOutQueries,
        scored: Mapping[str, Scored],
        scores: Mapping[str, NDArray[np.float64]],
    ) -> list[dict[str, Any]]:
        """Return the figures of every way to answer the queries of a split."""
        alone = scored[ALONE]

        def ranks(name: str, values: NDArray[np.float64]) -> NDArray[np.int64]:
            return target_ranks(best_answers(scored[name], values, LIST_LENGTH)[0], queries.items)

        found = {
            columns.QUESTION_FUSED_USER: ranks(WITH_USER, scores[WITH_USER]),
            columns.QUESTION_FUSED: ranks(ALONE, scores[ALONE]),
            columns.QUESTION_TEXT: ranks(ALONE, text_alone(alone.names).scores(alone)),
            columns.QUESTION_BM25: ranks_by(WORDS, alone, queries.items, LIST_LENGTH),
            columns.QUESTION_POPULARITY: ranks_by(POPULARITY, alone, queries.items, LIST_LENGTH),
        }
        if alone.by_model is not None:
            found[columns.QUESTION_MODEL] = target_ranks(alone.by_model[:, :LIST_LENGTH], queries.items)
        settings = self.workspace.settings
        details = {
            "candidates": "all servable items",
            "num_candidates": int(self.shop.allowed.sum()),
            "where": settings.recommend.where,
            "fitted_on": f"{len(queries.texts)} queries of the split valid, in two folds"
            if split == "valid"
            else "queries of the split valid",
        }
        protocol = EvaluationProtocol(
            split, self.lineage.split["train_cut"], settings.recommend.seen, LIST_LENGTH, details
        )
        return question_rows(found, protocol, settings.evaluate)


def _without(reason: str) -> dict[str, Any]:
    return {"fusions": {}, "remark": reason}


def _plain(fusion: Fusion) -> dict[str, Any]:
    return {**fusion.weights.plain(), "names_first": fusion.names_first, "kinds_first": fusion.kinds_first}


def _fusion(plain: Mapping[str, Any]) -> Fusion:
    return Fusion(LogitWeights.of_plain(plain), plain["names_first"], plain["kinds_first"])


def _stored(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "protocol": json.dumps(row["protocol"], sort_keys=True)} for row in rows]
