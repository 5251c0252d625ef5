"""The blend as a run: counted and fitted beside a tuned model, and whether it is better than the model alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semconv import columns
from semconv.blend.blend import Blend
from semconv.blend.fit import FitSettings, FittedBlend, fit_blend
from semconv.blend.jobs import search_and_score, shards
from semconv.blend.tables import BlendTables, BlendUsers, EventDays, days_of
from semconv.columns import METHOD_BLEND, METHOD_MODEL, Split
from semconv.counter.transitions import CounterWeights, count_transitions
from semconv.data.histories import Histories
from semconv.data.splits import targets, train_part
from semconv.data.store import Catalog, RunRecord, Sequences
from semconv.errors import InputError
from semconv.evaluation.rows import compare
from semconv.evaluation.segments import draw_users
from semconv.metrics import bootstrap_interval, hit_ratio, ndcg
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.workspace import Context
from semconv.search.search import Searcher
from semconv.search.trie_file import open_trie
from semconv.stages import stage_settings
from semconv.stages.blend.blend_file import BEHAVIOR, blend_vectors, load_blend, read_manifest, save_blend
from semconv.stages.codes.trie_store import trie_file
from semconv.stages.lists.filters import allowed_items
from semconv.stages.lists.job import prompts_of, search_settings
from semconv.stages.tune.prompt_source import tuned_folder
from semconv.stages.tune.tuning import tuned_codes
from semconv.tasks.encoder import PromptEncoder

if TYPE_CHECKING:
    import pyarrow as pa

_HONEST_CUT = "[:-2]"  # the one that keeps validation items out
_LIST_LENGTH = 10
_USERS_AT_ONCE = 1000


@dataclass(frozen=True)
class ChosenBlend:
    """The blend that a recommend run reads, and which lists it serves."""

    record: RunRecord
    served: str  # METHOD_BLEND or METHOD_MODEL

    def load(self, context: Context) -> Blend:
        """Its tables and weights."""
        return load_blend(context, self.record)


def current_blend(context: Context, finetune: RunRecord) -> RunRecord | None:
    """The newest finished blend of a tuned model."""
    return next((run for run in context.book.finished(columns.BLEND) if finetune.run_id in run.inputs), None)


def chosen_blend(context: Context, finetune: RunRecord, split: Split) -> ChosenBlend | None:
    """The blend for lists of a split, None for the model's lists alone.

    Lists to be scored hold both, whichever is served; lists for serving read no blend that they do not serve.
    """
    use = context.settings.blend.use
    record = None if use == "never" else current_blend(context, finetune)
    if record is None:
        return None
    is_served = use == "always" or bool(read_manifest(context, record)["is_better"])
    if split == "serve" and not is_served:
        return None
    return ChosenBlend(record, METHOD_BLEND if is_served else METHOD_MODEL)


def say_without_blend(context: Context, finetune: RunRecord) -> None:
    """Say that lists for serving are the model's alone where a blend could be had and nobody has fitted it yet."""
    is_wanted = context.settings.blend.use != "never" and current_blend(context, finetune) is None
    if is_wanted and can_blend(context, finetune) is None:
        context.progress.say(
            f"no blend of {finetune.run_id} yet, these lists are the model's alone: `semconv blend` first, or `semconv run`"
        )


def can_blend(context: Context, finetune: RunRecord) -> str | None:
    """Why no blend can be made for a model, None where one can."""
    if not (targets(context.sequences(split=finetune.settings["split"]), "valid") >= 0).any():
        return "no user has the three interactions that it is fitted on"
    settings = stage_settings.blend(context, finetune)
    if settings["train_cut"] != _HONEST_CUT and _fitted_before(context, settings) is None:
        return (
            f"the train cut {settings['train_cut']} holds the validation items, and no blend of {_HONEST_CUT} is there"
        )
    return None


def blend_run(context: Context, finetune: RunRecord) -> Outcome:
    """Count transitions, fit weights on validation users, and compare with the model alone.

    With a train cut that holds the validation items, the weights are those of the newest blend with the same parts
    under ``[:-2]``: nothing is chosen on its own data.

    Raises:
        InputError: no such blend, or no validation users.
    """
    codebook = context.input_of(finetune, columns.CODEBOOK)
    behavior = context.input_of(codebook, columns.EMBED_BEHAVIOR)
    text = context.find_input(codebook, columns.EMBED_TEXT)
    settings = stage_settings.blend(context, finetune)
    earlier = None
    if settings["train_cut"] != _HONEST_CUT and (earlier := _fitted_before(context, settings)) is None:
        raise InputError(
            f"a model of the train cut {settings['train_cut']} has seen the validation items that a blend is fitted on;"
            f" run `semconv blend` with a model of the train cut {_HONEST_CUT} first, its weights are taken"
        )
    extra = tuple(run for run in (text, earlier) if run is not None)
    inputs = (finetune, codebook, *context.assigns_of(codebook), behavior, *extra)

    def compute(folder: Path) -> dict[str, pa.Table]:
        with context.store.snapshot():
            catalog, sequences = context.store.catalog(), context.sequences(split=finetune.settings["split"])
            allowed = allowed_items(context, catalog, None) if earlier is None else catalog.is_servable
        tables = _tables(context, len(catalog), sequences, settings, tuple(run.run_id for run in inputs))
        if earlier is not None:
            before = load_blend(context, earlier)
            manifest = {**read_manifest(context, earlier), "fitted_by": earlier.run_id}
            blend = Blend(tables, before.first, before.weights, before.proposals, before.shortlist)
        else:
            fitted = _fitted(context, finetune, tables, _Read(catalog, sequences, allowed))
            blend, manifest = fitted.blend, _figures(context, fitted)
        save_blend(folder, blend, manifest)
        return {}

    return context.book.execute(StageRequest(columns.BLEND, settings, inputs, ("interaction",)), compute)


def tables_of_today(context: Context, num_items: int, sequences: Sequences, record: RunRecord) -> BlendTables:
    """The tables of a blend made anew from all interactions, for lists that are served: nothing is held out of them."""
    return _tables(context, num_items, sequences, {**record.settings, "train_cut": "[:]"}, record.inputs)


def blend_report(context: Context, record: RunRecord) -> dict[str, Any]:
    """What a blend run found: ``weights`` and ``figures`` as rows, the comparison and the verdict."""
    manifest = read_manifest(context, record)
    both = manifest["weights"]
    first = dict(zip(manifest["first"]["names"], manifest["first"]["weights"], strict=True))
    weights = [
        {"feature": name, "weight": weight, "weight_without_model": first.get(name)}
        for name, weight in zip(both["names"], both["weights"], strict=True)
    ]
    kept = ("figures", "comparison", "is_better", "num_users", "num_fitted", "num_candidates", "fitted_by")
    return {"run_id": record.run_id, "weights": weights, **{name: manifest[name] for name in kept if name in manifest}}


def _fitted_before(context: Context, settings: dict[str, Any]) -> RunRecord | None:
    """The newest blend with the same parts whose weights were fitted."""
    return next(
        (
            run
            for run in context.book.finished(columns.BLEND)
            if run.settings["train_cut"] == _HONEST_CUT and run.settings["blend"] == settings["blend"]
        ),
        None,
    )


@dataclass(frozen=True)
class _Read:
    """What a blend is fitted on, read at one moment."""

    catalog: Catalog
    sequences: Sequences
    allowed: NDArray[np.bool_]  # (I,) items that may be listed


def _tables(
    context: Context, num_items: int, sequences: Sequences, settings: dict[str, Any], inputs: tuple[str, ...]
) -> BlendTables:
    parts = settings["blend"]
    train = train_part(sequences, settings["train_cut"], 1, num_items)  # of everybody, as in SQL
    counter = None
    if parts["transition"]:
        counter = count_transitions(train, num_items, CounterWeights(**settings["counter"]), parts["successors"])
    return BlendTables(
        counter=counter,
        history_decay=settings["counter"]["history_decay"],
        vectors=blend_vectors(context, inputs, parts, num_items),
        popularity=np.bincount(train.items, minlength=num_items),
        events=EventDays.of(train.items, train.times, num_items) if parts["recency"] else None,
        with_popularity=parts["popularity"],
        proposing=(BEHAVIOR,) if parts["neighbor"] else (),
    )


def read_users(context: Context, sequences: Sequences, histories: Histories, users: NDArray[np.int32]) -> BlendUsers:
    """What a blend reads of some users under a split."""
    items, lengths = histories.latest(users, context.settings.split.history_length)
    is_masked = context.settings.recommend.seen == "masked"
    seen = [histories.of(int(user)) for user in users] if is_masked else None
    return BlendUsers(items, lengths, days_of(histories.latest_times(sequences.times))[users], seen)


def _fitted(context: Context, finetune: RunRecord, tables: BlendTables, read: _Read) -> FittedBlend:
    settings, sequences = context.settings.blend, read.sequences
    held_out = targets(sequences, "valid")
    have_target = np.flatnonzero(held_out >= 0).astype(np.int32)
    if len(have_target) == 0:
        raise InputError("no user has the three interactions that fitting a blend needs")
    users = draw_users(have_target, settings.fit_users, settings.seed)
    histories = Histories.under(sequences, "valid")
    searcher, prompts = _searcher(context, finetune, read.catalog, [histories.of(int(user)) for user in users])
    of_users = read_users(context, sequences, histories, users)
    fit = FitSettings(settings.candidates, settings.shortlist, settings.l2, _LIST_LENGTH, settings.seed)
    compute = _ByShards(context, searcher, prompts, of_users.seen)
    return fit_blend(tables, of_users, held_out[users], read.allowed, compute, fit)


@dataclass(frozen=True)
class _ByShards:
    """Search and score of all users, shard by shard, with a bar."""

    context: Context
    searcher: Searcher
    prompts: list[NDArray[Any]]
    seen: Sequence[NDArray[np.int32]] | None

    def __call__(self, others: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
        parts = []
        with self.context.progress.task("blend", len(others), "users") as bar:
            for rows in shards(len(others), _USERS_AT_ONCE):
                seen = None if self.seen is None else self.seen[rows]
                parts.append(search_and_score(self.searcher, self.prompts[rows], seen)(others[rows]))
                bar.advance(len(parts[-1][0]))
        items, scores, of_others = (np.concatenate(part) for part in zip(*parts, strict=True))
        return items, scores, of_others


def _searcher(
    context: Context, finetune: RunRecord, catalog: Catalog, histories: list[NDArray[np.int32]]
) -> tuple[Searcher, list[NDArray[Any]]]:
    """The tuned model's search as a recommend run does it, and prompts of histories."""
    import torch

    from semconv.tuning.model import load_tuned

    settings = context.settings
    codes, digest = tuned_codes(context, finetune)
    tuned = load_tuned(tuned_folder(context, finetune), digest, settings.recommend.dtype)
    encoder = PromptEncoder(tuned.tokenizer, tuned.level_tokens, codes.item_index, codes.codes, len(catalog))
    searcher = Searcher(
        tuned.model.to("cuda" if torch.cuda.is_available() else "cpu"),
        open_trie(trie_file(context, finetune, codes)).restrict(allowed_items(context, catalog, None)),
        tuned.level_tokens,
        search_settings(settings),
        context.progress.say,
    )
    return searcher, prompts_of(encoder, histories, settings.split.history_length)[0]


def _figures(context: Context, fitted: FittedBlend) -> dict[str, Any]:
    """What each method gives on the validation users, how the blend compares with the model, and the verdict."""
    settings, ranks = context.settings.evaluate, fitted.ranks
    figures: list[dict[str, Any]] = []
    for method, mine in ranks.items():
        low, high = bootstrap_interval(
            ndcg(mine, _LIST_LENGTH),
            samples=settings.bootstrap_samples,
            confidence=settings.confidence,
            seed=settings.seed,
        )
        at_ten = {"ndcg@10": float(ndcg(mine, _LIST_LENGTH).mean()), "ci_low": low, "ci_high": high}
        hits = {f"hr@{k}": float(hit_ratio(mine, k).mean()) for k in (1, 5, 10)}
        figures.append({"method": method, **at_ten, **hits})
    rows = compare(ranks[METHOD_BLEND], ranks[METHOD_MODEL], _LIST_LENGTH, settings)
    comparison = next(row for row in rows if (row["name"], row["k"]) == ("ndcg", _LIST_LENGTH))
    return {
        "figures": figures,
        "comparison": comparison,
        "is_better": comparison["ci_low"] > 0,
        "num_users": len(ranks[METHOD_MODEL]),
        "num_fitted": fitted.num_fitted,
        "num_candidates": fitted.num_candidates,
    }
