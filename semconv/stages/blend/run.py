"""The stage that fits a blend: count transitions, fit the weights, and compare its lists with the model's own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import write_json
from semconv.blend.blend import Blend
from semconv.blend.features import feature_names
from semconv.blend.fit import FitSettings, FittedBlend, ModelSearch, fit_blend
from semconv.blend.tables import BlendTables, BlendUsers, EventDays, days_of
from semconv.columns import METHOD_BLEND, METHOD_MODEL, METHOD_WITHOUT_MODEL, Split
from semconv.counter.counts import CounterWeights, count_transitions, item_weights
from semconv.counter.smoothed import SmoothedWeights, count_smoothed
from semconv.data.core import train_part
from semconv.data.histories import Histories
from semconv.data.splits import known_part, train_mask
from semconv.data.store import Catalog, RunRecord, Sequences, newest_time
from semconv.errors import InputError
from semconv.evaluation.rows import compare
from semconv.evaluation.segments import draw_users
from semconv.metrics import bootstrap_interval, hit_ratio, ndcg
from semconv.ragged import slices
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.files import FIGURES
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.search.search import Searcher, SearchResult
from semconv.settings.evaluate import EvaluateSettings
from semconv.stages import stage_settings
from semconv.stages.agreement import HONEST_CUT
from semconv.stages.blend.choice import weights_before
from semconv.stages.blend.files import BEHAVIOR, blend_vectors, read_manifest, read_weights, save_blend, weighted
from semconv.stages.held_out import held_out_items, record_trained
from semconv.stages.lists.filters import allowed_items
from semconv.stages.tune.figures import TRAIN_INTERACTIONS
from semconv.stages.tune.item_setup import SplitMoments
from semconv.stages.tune.tuned import TunedFiles, passes

if TYPE_CHECKING:
    import pyarrow as pa

    from semconv.item_head.search import ItemSearcher

_LIST_LENGTH = 10
_USERS_AT_ONCE = 1000


def blend_run(workspace: Workspace, lineage: Lineage) -> Outcome:
    """Count transitions, fit the blend's weights on validation users, and compare the blend with the model alone.

    The blend without a model is fitted too, from the same counts and the same proposed items. A blend whose training
    data has the validation items takes its weights from an earlier blend (``weights_before``).

    Args:
        lineage: the current lineage of the model, or of the vectors of a blend without a model (``fitting_lineage``).

    Raises:
        InputError: no earlier blend has such weights, or there are no validation users.
        SettingsError: the settings ask for other scores or another mask than the model was tuned for.
    """
    settings = stage_settings.blend(workspace, lineage)
    earlier = weights_before(workspace, lineage)
    made = (lineage.tuned, *lineage.code_runs, lineage.behavior, lineage.text, earlier)
    inputs = tuple(run for run in made if run is not None)

    def compute(folder: Path) -> dict[str, pa.Table]:
        started = time.process_time()
        with workspace.store.snapshot():
            catalog, sequences = workspace.store.catalog(), workspace.sequences(split=lineage.split)
            allowed = allowed_items(workspace, catalog, None) if earlier is None else catalog.is_servable
        tables = blend_tables(workspace, lineage, len(catalog), sequences, settings)
        if earlier is None:
            fitted = _fitted(workspace, lineage, tables, _Read(catalog, sequences, allowed))
            blend, manifest = fitted.blend, _figures(workspace, fitted)
        else:
            manifest = {**read_manifest(workspace, earlier), "fitted_by": earlier.run_id}
            both = read_weights(manifest, is_without_model=lineage.tuned is None)
            blend = weighted(tables, both, settings["blend"])
            _require_features(blend, earlier)
        counted = train_mask(sequences, settings["train_cut"])
        save_blend(folder, blend, {**manifest, TRAIN_INTERACTIONS: int(counted.sum())})
        record_trained(folder, sequences.select_rows(counted))
        write_json(folder / FIGURES, {"processor_seconds": round(time.process_time() - started, 3)})
        return {}

    return workspace.book.execute(StageRequest(columns.BLEND, settings, inputs, ("interaction",)), compute)


def _require_features(blend: Blend, earlier: RunRecord) -> None:
    """Raise InputError if weights of an earlier blend belong to other features, because one of them has no text vectors."""
    had, wanted = blend.weights_without_model.names, feature_names(blend.tables)
    if had != wanted:
        raise InputError(
            f"the weights of {earlier.run_id} are for the features {', '.join(had)}, but this blend has {', '.join(wanted)};"
            f" fit the blend with split.train_cut = {HONEST_CUT} again on the same kinds of vectors, or set blend.text ="
            " false for both train cuts"
        )


def blend_report(workspace: Workspace, record: RunRecord) -> dict[str, Any]:
    """Return the ``weights`` and ``figures`` of a blend as rows, its comparison with the model, and ``is_better``."""
    manifest = read_manifest(workspace, record)
    both, without = (_by_name(manifest.get(name)) for name in ("weights", "first"))
    weights = [
        {"feature": name, "weight": both.get(name), "weight_without_model": without.get(name)}
        for name in both or without
    ]
    kept = ("figures", "comparison", "gain", "is_better", "num_users", "num_fitted", "num_candidates", "fitted_by")
    return {"run_id": record.run_id, "weights": weights, **{name: manifest[name] for name in kept if name in manifest}}


def _by_name(weights: dict[str, Any] | None) -> dict[str, float]:
    return {} if weights is None else dict(zip(weights["names"], weights["weights"], strict=True))


def blend_tables(
    workspace: Workspace, lineage: Lineage, num_items: int, sequences: Sequences, settings: dict[str, Any]
) -> BlendTables:
    """Make the tables of a blend from the train cut in ``settings``; the train cut ``[:]`` means all interactions.

    Args:
        settings: the settings of a blend run.
    """
    parts = settings["blend"]
    train = train_part(sequences, settings["train_cut"], 1, num_items)  # all users and items, as in the SQL baselines
    counter = None
    if parts["transition"]:
        counter = count_transitions(train, num_items, CounterWeights(**settings["counter"]), parts["successors"])
    smoothed = None
    if parts.get("smoothed"):  # the settings of earlier versions have no such part
        smoothed = count_smoothed(train, num_items, SmoothedWeights(**settings["smoothed"]), parts["successors"])
    return BlendTables(
        counter=counter,
        history_decay=settings["counter"]["history_decay"],
        vectors=blend_vectors(workspace, lineage, parts, num_items),
        popularity=item_weights(train, num_items),
        events=EventDays.of(train, num_items) if parts["recency"] else None,
        with_popularity=parts["popularity"],
        proposing=(BEHAVIOR,) if parts["neighbor"] else (),
        smoothed=smoothed,
    )


def list_days(sequences: Sequences, histories: Histories, split: Split) -> NDArray[np.float64]:
    """Return the day for which each user's list is made, ``(U,)`` in days since 1970, NaN where unknown.

    It is the day of the newest interaction of any user for serving, the day of the cut for a split in time, and else the
    day of the latest item of the user's history.
    """
    days = days_of(histories.latest_times())
    if split == "serve":  # in a project ordered by position, the newest interaction may be the last one of no user
        return np.full(len(days), days_of(np.array([newest_time(known_part(sequences, split).times)]))[0])
    cut = None if sequences.cuts is None else sequences.cuts.of_history(split)
    return days if cut is None else np.full(len(days), days_of(np.array([cut]))[0])


@dataclass(frozen=True)
class _Read:
    """The inputs from the warehouse for fitting a blend, read in one snapshot."""

    catalog: Catalog
    sequences: Sequences
    allowed: NDArray[np.bool_]  # (I,) items that may be listed


def _fitted(workspace: Workspace, lineage: Lineage, tables: BlendTables, read: _Read) -> FittedBlend:
    settings, sequences = workspace.settings.blend, read.sequences
    held_out, left_out = held_out_items(workspace, lineage.runs, sequences, "valid")
    if left_out:
        workspace.progress.say(
            f"blend: {left_out} users are left out, because the model may have been trained on their item"
        )
    have_target = np.flatnonzero(held_out >= 0).astype(np.int32)
    if len(have_target) == 0:
        raise InputError("no user has the three interactions that fitting a blend needs")
    users = draw_users(have_target, settings.fit_users, settings.seed)
    histories = Histories.under(sequences, "valid", workspace.settings.recommend.seen_days)
    items, lengths = histories.latest(users, workspace.settings.split.history_length)
    seen = histories.masked_items(users, is_masked=workspace.settings.recommend.seen == "masked")
    of_users = BlendUsers(items, lengths, list_days(sequences, histories, "valid")[users], seen)
    fit = FitSettings(settings.candidates, settings.shortlist, settings.l2, _LIST_LENGTH, settings.seed)
    search = None
    if lineage.tuned is not None:
        split_moments = SplitMoments(sequences, "valid", lineage.split["train_cut"])
        files = TunedFiles.read(workspace, lineage, read.catalog, split_moments)
        tuned = files.load(workspace.settings, read.allowed, workspace.progress.say)
        by_shards = _ByShards(workspace, tuned.searcher, tuned.prompts(histories, users), seen)
        search = ModelSearch(by_shards, tuned.searcher.score_name)
    with passes(workspace.settings):
        return fit_blend(tables, of_users, held_out[users], read.allowed, search, fit)


@dataclass(frozen=True)
class _ByShards:
    """Searches and scores lists for all users, shard by shard, with a progress bar."""

    workspace: Workspace
    searcher: Searcher | ItemSearcher
    prompts: list[Any]
    seen: Sequence[NDArray[np.int32]] | None

    def __call__(self, others: NDArray[np.int64]) -> SearchResult:
        parts = []
        with self.workspace.progress.task("blend", len(others), "users") as bar:
            for rows in slices(len(others), _USERS_AT_ONCE):
                seen = None if self.seen is None else self.seen[rows]
                parts.append(self.searcher.search(self.prompts[rows], seen, others[rows]))
                bar.advance(len(parts[-1].items))
        return SearchResult(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _figures(workspace: Workspace, fitted: FittedBlend) -> dict[str, Any]:
    """Return the validation figures of each method, the blend's comparison with the model, and whether it is better."""
    settings, ranks = workspace.settings.evaluate, fitted.ranks
    figures: list[dict[str, Any]] = []
    for method, mine in ranks.items():
        low, high = bootstrap_interval(ndcg(mine, _LIST_LENGTH), **settings.bootstrap())
        at_ten = {"ndcg@10": float(ndcg(mine, _LIST_LENGTH).mean()), "ci_low": low, "ci_high": high}
        hits = {f"hr@{k}": float(hit_ratio(mine, k).mean()) for k in (1, 5, 10)}
        figures.append({"method": method, **at_ten, **hits})
    counts = {
        "num_users": len(ranks[METHOD_WITHOUT_MODEL]),
        "num_fitted": fitted.num_fitted,
        "num_candidates": fitted.num_candidates,
    }
    if METHOD_BLEND not in ranks:
        return {"figures": figures, **counts}
    comparison, gain = (
        _difference(ranks[METHOD_BLEND], ranks[method], settings) for method in (METHOD_MODEL, METHOD_WITHOUT_MODEL)
    )
    return {
        "figures": figures,
        "comparison": comparison,
        "gain": gain,
        "is_better": comparison["ci_low"] > 0,
        **counts,
    }


def _difference(ours: NDArray[np.int64], theirs: NDArray[np.int64], settings: EvaluateSettings) -> dict[str, Any]:
    """Return the paired difference in NDCG@10 between two methods."""
    rows = compare(ours, theirs, _LIST_LENGTH, settings)
    return next(row for row in rows if (row["name"], row["k"]) == ("ndcg", _LIST_LENGTH))
