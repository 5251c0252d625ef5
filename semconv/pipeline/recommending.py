"""Top-K of every user as a run: shards that survive a kill, users carried over, answers to a query."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import atomic_path, read_arrays, write_arrays
from semconv.behavior.vectors import BehaviorVectors
from semconv.columns import Split, TrainCut
from semconv.errors import InputError
from semconv.inference.jobs import Recommender, ShardResult, ShardUsers, recommend_shard, shards
from semconv.inference.reasons import vector_table
from semconv.inference.search import SearchSettings, beam_search
from semconv.inference.trie import CodeTrie
from semconv.pipeline import stage_settings
from semconv.pipeline.context import Context
from semconv.pipeline.tuning_stage import MODEL_FOLDER, tuned_codes, visible_history
from semconv.runs import Outcome, StageRequest
from semconv.splits import history_lengths
from semconv.store import BaselineRequest, Catalog, RunRecord, Sequences
from semconv.tasks.encoder import PromptEncoder

STATES = "states.safetensors"
PART_SCHEMA = pa.schema(
    [
        (columns.USER_ID, pa.string()),
        (columns.RANK, pa.int32()),
        (columns.ITEM_ID, pa.string()),
        (columns.SCORE, pa.float64()),
        (columns.SOURCES, pa.list_(pa.string())),
        (columns.REASON_ITEM_ID, pa.string()),
    ]
)


@dataclass(frozen=True)
class Request:
    """What a recommend run is asked for."""

    split: Split = "serve"
    users: NDArray[np.int32] | None = None  # None for all
    where: str | None = None  # an ad-hoc filter on top of the standing one; such a run cannot be published
    carry_from: RunRecord | None = None  # unchanged users keep their lists of this run
    refresh: NDArray[np.int32] | None = None  # with carry_from: recompute these users and new ones, carry all others


@dataclass(frozen=True)
class _Job:
    """Everything a shard needs."""

    context: Context
    request: Request
    recommender: Recommender
    encoder: PromptEncoder
    sequences: Sequences
    catalog: Catalog
    ends: NDArray[np.int64]  # (U,) length of each history

    def histories(self, users: NDArray[np.int32]) -> list[NDArray[np.int32]]:
        return [
            visible_history(self.sequences, int(user), int(self.ends[user]), self.encoder, self.context.settings)
            for user in users
        ]


def recommend_run(context: Context, finetune: RunRecord, request: Request) -> Outcome:
    """Lists of the asked users, written shard by shard."""
    codebook = context.input_of(finetune, columns.CODEBOOK)
    behavior = context.input_of(codebook, columns.EMBED_BEHAVIOR)
    inputs = (finetune, codebook, *context.assigns_of(codebook), behavior)
    settings = {
        **stage_settings.recommend(context),
        "split": request.split,
        "users": users_digest(request.users),
        "where": request.where or "",
        "history_length": context.settings.split.history_length,
        "train_cut": finetune.settings["split"]["train_cut"],
        "pass": "full" if request.carry_from is None else "changed",
    }

    def compute(folder: Path) -> dict[str, pa.Table]:
        job = _prepare(context, finetune, behavior, request)
        users = _users(job)
        states = user_states(job, users)
        carry = None
        if request.carry_from is not None:
            carry, states = _carried_over(context, request.carry_from, users, states, job)
        write_arrays(folder / STATES, {"users": users, "states": states})
        _write_shards(job, folder, users, carry)
        return {}

    content = {
        "refresh": users_digest(request.refresh),
        "carry_from": "" if request.carry_from is None else request.carry_from.fingerprint,
    }
    tables = ("item", "interaction")
    return context.book.execute(StageRequest(columns.RECOMMEND, settings, inputs, tables, content), compute)


def _prepare(context: Context, finetune: RunRecord, behavior: RunRecord, request: Request) -> _Job:
    from semconv.tuning.model import load_tuned

    codes, digest = tuned_codes(context, finetune)
    tuned = load_tuned(context.book.folder(finetune) / MODEL_FOLDER, digest)
    catalog = context.store.catalog()
    sequences = context.sequences()
    allowed = allowed_items(context, catalog, request.where)
    trie = CodeTrie.build(codes.codes, codes.item_index, codes.popularity).restrict(allowed)
    vectors = BehaviorVectors.load(context.book.folder(behavior) / "vectors.safetensors")
    recommender = Recommender(
        tuned.model,
        trie,
        tuned.level_tokens,
        search_settings(context),
        _fallback_ranking(context, request.split, finetune.settings["split"]["train_cut"], allowed, sequences),
        vector_table(vectors.item_index, vectors.item_vectors, len(catalog)),
    )
    encoder = PromptEncoder(tuned.tokenizer, tuned.level_tokens, codes.item_index, codes.codes, len(catalog))
    ends = history_lengths(sequences.lengths, request.split)
    return _Job(context, request, recommender, encoder, sequences, catalog, ends)


def users_digest(users: NDArray[np.int32] | None) -> str:
    """A digest of a list of users, 'all' for none given."""
    return "all" if users is None else hashlib.sha256(np.sort(users).tobytes()).hexdigest()


def search_settings(context: Context) -> SearchSettings:
    """The search as the settings say."""
    settings = context.settings.recommend
    return SearchSettings(settings.top_k, settings.beams, settings.scores, settings.batch_tokens)


def allowed_items(context: Context, catalog: Catalog, where: str | None) -> NDArray[np.bool_]:
    """``(I,)`` servable items that pass the standing filter and the ad-hoc one."""
    allowed = catalog.is_servable.copy()
    for condition in (context.settings.recommend.where, where):
        if condition:
            allowed &= context.store.allowed_items(condition)
    return allowed


def _fallback_ranking(
    context: Context, split: Split, train_cut: TrainCut, allowed: NDArray[np.bool_], sequences: Sequences
) -> NDArray[np.int32]:
    """Allowed items by recent popularity, enough of them for the longest list beside the longest history."""
    longest = int(sequences.lengths.max(initial=0))
    some_user = np.array([int(np.argmax(sequences.lengths))], dtype=np.int32)
    count = min(int(allowed.sum()), context.settings.recommend.top_k + longest)
    cut: TrainCut = "[:]" if split == "serve" else train_cut
    request = BaselineRequest("recent_popularity", split, cut, "kept", count, users=some_user, items=allowed)
    ranking: NDArray[np.int32] = (
        context.store.baseline_top_k(request).items[:1].ravel()
    )  # no row: no history to the split
    return ranking[ranking >= 0]


def _users(job: _Job) -> NDArray[np.int32]:
    asked = np.arange(len(job.sequences), dtype=np.int32) if job.request.users is None else np.sort(job.request.users)
    return asked[job.ends[asked] >= 0]


def user_states(job: _Job, users: NDArray[np.int32]) -> NDArray[np.uint64]:
    """``(R,)`` a hash of what a user's list depends on besides model and filters: history and its codes."""
    states = np.zeros(len(users), dtype=np.uint64)
    for row, user in enumerate(users):
        items = job.sequences.of(int(user))[: job.ends[user]]
        digest = hashlib.blake2b(items.tobytes() + job.encoder.codes[items].tobytes(), digest_size=8).digest()
        states[row] = int.from_bytes(digest, "little")
    return states


def _carried_over(
    context: Context, previous: RunRecord, users: NDArray[np.int32], states: NDArray[np.uint64], job: _Job
) -> tuple[pa.Table, NDArray[np.uint64]]:
    """Rows of the previous run of users who keep their lists, and the states that all lists then belong to.

    A user who is carried over although their history changed keeps the old state too, or nobody would ever
    look at them again.
    """
    folder = context.book.folder(previous)
    before = read_arrays(folder / STATES)
    known = dict(zip(before["users"].tolist(), before["states"].tolist(), strict=True))
    now = dict(zip(users.tolist(), states.tolist(), strict=True))
    if job.request.refresh is None:
        same = [user for user, state in now.items() if known.get(user) == state]
    else:
        same = sorted(now.keys() & known.keys() - set(job.request.refresh.tolist()))
    rows = read_parts(folder)
    touched = _listing_what_is_gone(job, rows) | _listing_what_is_seen(
        job, rows, [u for u in same if known[u] != now[u]]
    )
    kept = [user for user in same if job.sequences.user_ids[user] not in touched]
    names = pa.array([job.sequences.user_ids[user] for user in kept], pa.string())
    carried = rows.filter(pa.compute.is_in(rows.column(columns.USER_ID), value_set=names))
    now.update((user, known[user]) for user in kept)
    return carried, np.array([now[user] for user in users.tolist()], dtype=np.uint64)


def _listing_what_is_gone(job: _Job, rows: pa.Table) -> set[str]:
    """Users with an item in their list that cannot be listed any more."""
    still = {job.catalog.item_ids[int(item)] for item in job.recommender.trie.row_items} | _fallback_names(job)
    gone = pa.array([item not in still for item in rows.column(columns.ITEM_ID).to_pylist()], pa.bool_())
    return set(rows.filter(gone).column(columns.USER_ID).to_pylist())


def _listing_what_is_seen(job: _Job, rows: pa.Table, changed: list[int]) -> set[str]:
    """Of users whose history changed, those with an item of it in their list, where seen items are masked."""
    if job.context.settings.recommend.seen != "masked" or not changed:
        return set()
    have = {
        job.sequences.user_ids[user]: {
            job.catalog.item_ids[int(item)] for item in job.sequences.of(user)[: job.ends[user]]
        }
        for user in changed
    }
    listed = rows.filter(pa.compute.is_in(rows.column(columns.USER_ID), value_set=pa.array(list(have), pa.string())))
    pairs = zip(listed.column(columns.USER_ID).to_pylist(), listed.column(columns.ITEM_ID).to_pylist(), strict=True)
    return {user for user, item in pairs if item in have[user]}


def _fallback_names(job: _Job) -> set[str]:
    return {job.catalog.item_ids[int(item)] for item in job.recommender.fallback_ranking}


def _write_shards(job: _Job, folder: Path, users: NDArray[np.int32], carry: pa.Table | None) -> None:
    size = job.context.settings.recommend.shard_users
    parts = shards(users, size)
    carried = set() if carry is None else set(carry.column(columns.USER_ID).unique().to_pylist())
    paths = [folder / f"part-{place:05d}.parquet" for place in range(len(parts))]
    done = sum(len(part) for part, path in zip(parts, paths, strict=True) if path.exists())
    if carried:
        job.context.progress.say(f"{len(carried)} of {len(users)} users are unchanged, their lists are carried over")
    with job.context.progress.task(f"recommend {job.request.split}", len(users), "users", done) as bar:
        for part, path in zip(parts, paths, strict=True):
            if path.exists():
                continue
            changed = np.array(
                [user for user in part if job.sequences.user_ids[int(user)] not in carried], dtype=np.int32
            )
            rows = _part_table(job, recommend_shard(job.recommender, _shard_users(job, changed)))
            if carry is not None:
                names = pa.array([job.sequences.user_ids[int(user)] for user in part], pa.string())
                kept = carry.filter(pa.compute.is_in(carry.column(columns.USER_ID), value_set=names))
                rows = pa.concat_tables([rows, kept]).sort_by(
                    [(columns.USER_ID, "ascending"), (columns.RANK, "ascending")]
                )
            with atomic_path(path) as temporary:
                pq.write_table(rows, temporary)
            bar.advance(len(part))


def _shard_users(job: _Job, users: NDArray[np.int32]) -> ShardUsers:
    histories = job.histories(users)
    prompts = [
        job.encoder.inference_prompt(history) if len(history) else np.zeros(0, np.int64) for history in histories
    ]
    masked = job.context.settings.recommend.seen == "masked"
    seen = [job.sequences.of(int(user))[: job.ends[user]] for user in users] if masked else None
    return ShardUsers(users, prompts, histories, seen)


def _part_table(job: _Job, result: ShardResult) -> pa.Table:
    items, ids = result.top_k.items, job.catalog.item_ids
    rows, places = np.nonzero(items >= 0)
    reasons = result.reasons[rows, places]
    sources = np.where(result.is_fallback[rows, places], columns.SOURCE_FALLBACK, columns.SOURCE_MODEL)
    table = pa.table(
        {
            columns.USER_ID: pa.array(
                [job.sequences.user_ids[int(user)] for user in result.top_k.users[rows]], pa.string()
            ),
            columns.RANK: pa.array((places + 1).astype(np.int32)),
            columns.ITEM_ID: pa.array([ids[int(item)] for item in items[rows, places]], pa.string()),
            columns.SCORE: pa.array(result.top_k.scores[rows, places].astype(np.float64)),
            columns.SOURCES: pa.array([[source] for source in sources.tolist()], pa.list_(pa.string())),
            columns.REASON_ITEM_ID: pa.array([ids[int(item)] if item >= 0 else None for item in reasons], pa.string()),
        },
        schema=PART_SCHEMA,
    )
    return table.sort_by([(columns.USER_ID, "ascending"), (columns.RANK, "ascending")])


def read_parts(folder: Path) -> pa.Table:
    """All rows of a recommend run; InputError when there are none."""
    paths = sorted(folder.glob("part-*.parquet"))
    if not paths:
        raise InputError(f"{folder}: holds no parts; run `semconv recommend` again")
    try:
        return pa.concat_tables([pq.read_table(path, schema=PART_SCHEMA) for path in paths])
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"{folder}: a part cannot be read ({str(error).splitlines()[0]}); remove it and run `semconv recommend` again"
        ) from error


def answer_query(context: Context, finetune: RunRecord, text: str, user: int | None) -> list[tuple[int, float]]:
    """Best items for a user's words, what the user has left out: ``(item_index, score)``, best first."""
    from semconv.tuning.model import load_tuned

    if not text.strip():
        raise InputError("the query is empty")
    codes, digest = tuned_codes(context, finetune)
    tuned = load_tuned(context.book.folder(finetune) / MODEL_FOLDER, digest)
    catalog = context.store.catalog()
    trie = CodeTrie.build(codes.codes, codes.item_index, codes.popularity).restrict(
        allowed_items(context, catalog, None)
    )
    encoder = PromptEncoder(tuned.tokenizer, tuned.level_tokens, codes.item_index, codes.codes, len(catalog))
    seen: Sequence[NDArray[Any]] | None = None
    if user is not None and context.settings.recommend.seen == "masked":
        seen = [context.sequences().of(user)]
    prompt, limit = encoder.query_prompt(text), context.settings.tasks.max_prompt_tokens
    if len(prompt) > limit:
        raise InputError(
            f"the query is {len(prompt)} tokens long, at most {limit} can be asked (tasks.max_prompt_tokens)"
        )
    items, scores = beam_search(tuned.model, trie, tuned.level_tokens, [prompt], seen, search_settings(context))
    return [(int(item), float(score)) for item, score in zip(items[0], scores[0], strict=True) if item >= 0]
