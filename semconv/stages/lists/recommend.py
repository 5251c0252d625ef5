"""Top-K of every user as a run: what is read for it, and which users it computes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semconv import columns
from semconv.behavior.vectors import FILE_NAME as VECTORS
from semconv.behavior.vectors import BehaviorVectors
from semconv.blend.reasons import vector_table
from semconv.blend.tables import days_of
from semconv.columns import Split, TrainCut
from semconv.data.histories import Histories
from semconv.data.splits import history_lengths
from semconv.data.store import BaselineRequest, Catalog, RunRecord, Sequences
from semconv.evaluation.methods import RECENT_POPULARITY
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.workspace import Context, ItemCodes
from semconv.stages import stage_settings
from semconv.stages.blend.blending import ChosenBlend, chosen_blend, tables_of_today
from semconv.stages.codes.trie_store import trie_file
from semconv.stages.lists.carrying import Carried, Listable, States, carry_over, user_states
from semconv.stages.lists.engines import require_engine, write_lists
from semconv.stages.lists.filters import allowed_items
from semconv.stages.lists.job import JobBlend, ListJob
from semconv.stages.tune.prompt_source import tuned_folder
from semconv.stages.tune.tuning import tuned_codes


@dataclass(frozen=True)
class Request:
    """What a recommend run is asked for."""

    split: Split = "serve"
    users: NDArray[np.int32] | None = None  # None for all
    where: str | None = None  # an ad-hoc filter on top of the standing one; such a run cannot be published
    carry_from: RunRecord | None = None  # unchanged users keep their lists of this run
    refresh: NDArray[np.int32] | None = None  # with carry_from: recompute these users and new ones, carry all others


def recommend_run(context: Context, finetune: RunRecord, request: Request) -> Outcome:
    """Lists of the asked users, written shard by shard.

    Raises:
        SettingsError: the engine is not installed, or a filter is no condition or allows nothing.
    """
    require_engine(context.settings)
    codebook = context.input_of(finetune, columns.CODEBOOK)
    behavior = context.input_of(codebook, columns.EMBED_BEHAVIOR)
    chosen = chosen_blend(context, finetune, request.split)
    inputs = (finetune, codebook, *context.assigns_of(codebook), behavior)
    if chosen is not None:
        inputs = (*inputs, chosen.record)
    settings = {
        **stage_settings.recommend(context),
        "split": request.split,
        "users": users_digest(request.users),
        "where": request.where or "",
        "history_length": context.settings.split.history_length,
        "train_cut": finetune.settings["split"]["train_cut"],
        "pass": "full" if request.carry_from is None else "changed",
        **({} if chosen is None else {"method": chosen.served}),
    }

    def compute(folder: Path) -> dict[str, pa.Table]:
        read = _read(context, finetune, request)
        job = _prepared(context, finetune, behavior, request, folder, read)
        blend = job_blend(context, chosen, request.split, job.histories, read.sequences, len(read.catalog))
        job = replace(job, blend=blend)
        states = user_states(job.users, job.histories, _code_table(job.codes, len(job.item_ids)))
        if request.carry_from is not None:
            carried, states = _carried(context, request.carry_from, request.refresh, states, job)
            job = replace(job, carried=carried)
        states.write(folder)
        write_lists(job, context.progress)
        return {}

    content = {
        "refresh": users_digest(request.refresh),
        "carry_from": "" if request.carry_from is None else request.carry_from.fingerprint,
    }
    tables = ("item", "interaction")
    return context.book.execute(StageRequest(columns.RECOMMEND, settings, inputs, tables, content), compute)


def users_digest(users: NDArray[np.int32] | None) -> str:
    """A digest of a list of users, 'all' for none given."""
    return "all" if users is None else hashlib.sha256(np.sort(users).tobytes()).hexdigest()


@dataclass(frozen=True)
class _Read:
    """What a recommend run takes from the warehouse's tables, all of one moment."""

    catalog: Catalog
    allowed: NDArray[np.bool_]  # (I,)
    sequences: Sequences
    fallback_ranking: NDArray[np.int32]  # (F,) item_index


def _read(context: Context, finetune: RunRecord, request: Request) -> _Read:
    with context.store.snapshot():
        catalog = context.store.catalog()
        allowed = allowed_items(context, catalog, request.where)
        sequences = context.sequences(split=finetune.settings["split"])
        cut = finetune.settings["split"]["train_cut"]
        return _Read(catalog, allowed, sequences, _fallback_ranking(context, request.split, cut, allowed, sequences))


def _prepared(
    context: Context, finetune: RunRecord, behavior: RunRecord, request: Request, folder: Path, read: _Read
) -> ListJob:
    """Everything that the shards need, of the warehouse and of the runs before."""
    catalog, sequences = read.catalog, read.sequences
    codes, digest = tuned_codes(context, finetune)
    histories = Histories.under(sequences, request.split)
    vectors = BehaviorVectors.load(context.intact(behavior, VECTORS))
    asked = np.arange(len(sequences), dtype=np.int32) if request.users is None else np.sort(request.users)
    return ListJob(
        folder=folder,
        fingerprint=_fingerprint(context, folder),
        model=tuned_folder(context, finetune),
        codes_digest=digest,
        split=request.split,
        settings=context.settings,
        users=asked[
            (histories.lengths[asked] >= 0) & (sequences.lengths[asked] > 0)
        ],  # who was forgotten has a place alone
        user_ids=pa.array(sequences.user_ids, pa.string()),
        item_ids=pa.array(catalog.item_ids, pa.string()),
        histories=histories,
        codes=codes,
        trie=trie_file(context, finetune, codes),
        allowed=read.allowed,
        fallback_ranking=read.fallback_ranking,
        vectors=vector_table(vectors.item_index, vectors.item_vectors, len(catalog)),
    )


def job_blend(
    context: Context,
    chosen: ChosenBlend | None,
    split: Split,
    histories: Histories,
    sequences: Sequences,
    num_items: int,
) -> JobBlend | None:
    """The blend of a job. Lists that are served know all interactions, and the day is that of the newest one.

    Args:
        sequences: all interactions, which the histories lie in.
        num_items: I, all items that there were when the interactions were read.
    """
    if chosen is None:
        return None
    blend = chosen.load(context)
    days = days_of(histories.latest_times(sequences.times))
    if split == "serve":
        blend = replace(blend, tables=tables_of_today(context, num_items, sequences, chosen.record))
        days = np.full(len(days), np.nan if np.isnan(days).all() else np.nanmax(days))
    return JobBlend(blend, chosen.served, days, with_both=split != "serve")


def _fingerprint(context: Context, folder: Path) -> str:
    """Of the run that is being computed in a folder."""
    running = context.store.runs(stage=columns.RECOMMEND, status="running")
    return next(run.fingerprint for run in running if context.book.folder(run) == folder)


def _code_table(codes: ItemCodes, num_items: int) -> NDArray[np.int64]:
    """``(I, N)`` codes by item_index, -1 in the rows of items without any."""
    table = np.full((num_items, codes.codes.shape[1]), -1, dtype=np.int64)
    table[codes.item_index] = codes.codes
    return table


def _fallback_ranking(
    context: Context, split: Split, train_cut: TrainCut, allowed: NDArray[np.bool_], sequences: Sequences
) -> NDArray[np.int32]:
    """Allowed items by recent popularity, enough of them for the longest list beside the longest history."""
    longest = int(sequences.lengths.max(initial=0))
    some_user = np.array([int(np.argmax(history_lengths(sequences, split)))], dtype=np.int32)
    count = min(int(allowed.sum()), context.settings.recommend.top_k + longest)
    cut: TrainCut = "[:]" if split == "serve" else train_cut
    request = BaselineRequest(
        RECENT_POPULARITY, split, cut, "kept", count, users=some_user, items=allowed, cuts=sequences.cuts
    )
    ranking: NDArray[np.int32] = (
        context.store.baseline_top_k(request).items[:1].ravel()
    )  # no row: no history to the split
    return ranking[ranking >= 0]


def _carried(
    context: Context, before: RunRecord, refresh: NDArray[np.int32] | None, states: States, job: ListJob
) -> tuple[Carried, States]:
    coded = job.codes.item_index[job.allowed[job.codes.item_index]]
    with_codes = np.unique(np.concatenate([coded, job.fallback_ranking]))
    listed = with_codes if job.blend is None else np.flatnonzero(job.allowed)  # a blend lists items without codes too
    is_masked = context.settings.recommend.seen == "masked"
    listable = Listable(job.item_ids.take(pa.array(listed)), job.user_ids, job.item_ids, job.histories, is_masked)
    shard_users = int(before.settings["recommend"]["shard_users"])
    carried, states = carry_over(
        context.book.folder(before), shard_users, states, refresh, listable, context.progress.say
    )
    count = int((carried.places >= 0).sum())
    if count:
        context.progress.say(f"{count} of {len(job.users)} users are unchanged, their lists are carried over")
    return carried, states
