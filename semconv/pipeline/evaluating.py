"""Figures as a run: the model beside the SQL baselines, the same users, the same mask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import atomic_path
from semconv.behavior.vectors import FILE_NAME as VECTORS
from semconv.behavior.vectors import BehaviorVectors
from semconv.columns import Split
from semconv.errors import InputError
from semconv.evaluation.evaluate import EvaluationProtocol, compare, metric_rows, sample_users
from semconv.evaluation.vector_ranking import rank_by_vectors
from semconv.metrics import target_ranks
from semconv.pipeline.context import Context
from semconv.pipeline.list_parts import read_parts
from semconv.runs import Outcome, StageRequest
from semconv.splits import history_lengths, targets
from semconv.store import BaselineRequest, RunRecord, Sequences

BASELINES = ("popularity", "transition")
RANKS = "ranks.parquet"


def evaluate_run(context: Context, recommend: RunRecord) -> Outcome:
    """Score a recommend run of the split valid or test, and the baselines with it.

    Raises:
        InputError: the run's lists are for serving, or hold no user with a target.
    """
    split = recommend.settings["split"]
    if split == "serve":
        raise InputError(
            f"{recommend.run_id} was made for serving and sees the held-out items; `semconv recommend --split test` makes lists to score"
        )

    finetune, behavior = (context.input_of(recommend, stage) for stage in (columns.FINETUNE, columns.EMBED_BEHAVIOR))
    behavior_method = f"behavior-{behavior.settings['behavior']['source']}"

    def compute(folder: Path) -> dict[str, pa.Table]:
        sequences = context.sequences()
        users = evaluated_users(context, split)
        held_out = targets(sequences, split)[users]
        lengths = history_lengths(sequences.lengths, split)[users]
        ranks = {"model": target_ranks(_model_items(context, recommend, sequences, users), held_out)}
        allowed = _candidates(context, recommend)
        for name in BASELINES:
            request = _baseline(context, recommend, name, users, allowed)
            ranks[name] = target_ranks(context.store.baseline_top_k(request).items, held_out)
        by_vectors = _behavior_items(context, recommend, behavior, (sequences, users, allowed))
        ranks[behavior_method] = target_ranks(by_vectors, held_out)
        protocol = _protocol(context, recommend, len(sequences) - len(users))
        rows = [
            row
            for method, mine in ranks.items()
            for row in metric_rows(method, mine, lengths, protocol, context.settings.evaluate)
        ]
        _write_ranks(folder / RANKS, sequences, users, ranks)
        return {"metric": _metric_table(rows)}

    content = {"methods": ",".join(methods(behavior.settings["behavior"]["source"]))}
    settings = context.section("evaluate")
    request = StageRequest(columns.EVALUATE, settings, (finetune, recommend), ("interaction",), content)
    return context.book.execute(request, compute)


def methods(behavior_source: str) -> tuple[str, ...]:
    """What an evaluation sets side by side, by the names of its metric rows."""
    return ("model", *BASELINES, f"behavior-{behavior_source}")


def compare_runs(context: Context, ours: RunRecord, theirs: RunRecord) -> list[dict[str, Any]]:
    """Paired bootstrap of two evaluate runs over the users that both ranked.

    Raises:
        InputError: a run is of another stage or its ranks are gone, or they share no user.
    """
    mine, other = (_read_ranks(context, run) for run in (ours, theirs))
    before = {row[columns.USER_ID]: row["model"] for row in other}
    both = [(row["model"], before[row[columns.USER_ID]]) for row in mine if row[columns.USER_ID] in before]
    pairs = np.array(both, dtype=np.int64).reshape(-1, 2)
    lengths = [context.input_of(run, columns.RECOMMEND).settings["recommend"]["top_k"] for run in (ours, theirs)]
    return compare(pairs[:, 0], pairs[:, 1], min(lengths), context.settings.evaluate)


def _read_ranks(context: Context, run: RunRecord) -> list[dict[str, Any]]:
    if run.stage != columns.EVALUATE or run.status != "finished":
        raise InputError(f"{run.run_id} is no finished evaluate run to compare with; `semconv runs` lists them")
    try:
        rows: list[dict[str, Any]] = pq.read_table(context.book.folder(run) / RANKS).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{run.run_id}: its ranks cannot be read ({str(error).splitlines()[0]})") from error
    return rows


def evaluated_users(context: Context, split: Split) -> NDArray[np.int32]:
    """Users with a held-out item, or the fixed sample of them; InputError when there are none."""
    have_target = np.flatnonzero(targets(context.sequences(), split) >= 0).astype(np.int32)
    if len(have_target) == 0:
        raise InputError(f"no user has the three interactions that an evaluation of the split {split} needs")
    return sample_users(have_target, context.settings.evaluate)


def _model_items(
    context: Context, recommend: RunRecord, sequences: Sequences, users: NDArray[np.int32]
) -> NDArray[np.int32]:
    """``(U, K)`` item_index of the run's lists, -1 where a list is shorter."""
    rows = read_parts(context.book.folder(recommend))
    item_index = {item_id: index for index, item_id in enumerate(context.store.catalog().item_ids)}
    place = {sequences.user_ids[int(user)]: row for row, user in enumerate(users)}
    items = np.full((len(users), recommend.settings["recommend"]["top_k"]), -1, dtype=np.int32)
    names, ranks, ids = (rows.column(name).to_pylist() for name in (columns.USER_ID, columns.RANK, columns.ITEM_ID))
    for name, rank, item_id in zip(names, ranks, ids, strict=True):
        row = place.get(name)
        if row is not None:
            items[row, rank - 1] = item_index[item_id]
    return items


def _candidates(context: Context, recommend: RunRecord) -> NDArray[np.bool_]:
    """``(I,)`` items that the run could list: every method is measured on the same ones."""
    allowed = context.store.catalog().is_servable.copy()
    for condition in filter(None, (recommend.settings["recommend"]["where"], recommend.settings["where"])):
        allowed &= context.store.allowed_items(condition)
    return allowed


def _behavior_items(
    context: Context,
    recommend: RunRecord,
    behavior: RunRecord,
    asked: tuple[Sequences, NDArray[np.int32], NDArray[np.bool_]],
) -> NDArray[np.int32]:
    """``(U, K)`` item_index of stage one's own ranking, over the model's candidates and under its mask."""
    made = recommend.settings
    sequences, users, allowed = asked
    vectors = BehaviorVectors.load(context.book.folder(behavior) / VECTORS)
    ends = history_lengths(sequences.lengths, made["split"])
    masked = made["recommend"]["seen"] == "masked"
    seen = [sequences.of(int(user))[: ends[user]] for user in users] if masked else None
    return rank_by_vectors(vectors, users, allowed, seen, made["recommend"]["top_k"])


def _baseline(
    context: Context, recommend: RunRecord, name: str, users: NDArray[np.int32], allowed: NDArray[np.bool_]
) -> BaselineRequest:
    settings = context.settings.evaluate
    parameters = {
        "decay": settings.transition_decay,
        "symmetry": settings.transition_symmetry,
        "history_decay": settings.transition_history_decay,
        "alpha": settings.transition_alpha,
    }
    made = recommend.settings
    return BaselineRequest(
        name=name,
        split=made["split"],
        train_cut=made["train_cut"],
        seen=made["recommend"]["seen"],
        k=made["recommend"]["top_k"],
        history_length=made["history_length"],
        parameters=parameters if name == "transition" else {},
        users=users,
        items=allowed,
    )


def _protocol(context: Context, recommend: RunRecord, num_left_out: int) -> EvaluationProtocol:
    made = recommend.settings
    details = {
        "wording": "inference",
        "history_length": made["history_length"],
        "beams": made["recommend"]["beams"] or max(20, made["recommend"]["top_k"]),
        "scores": made["recommend"]["scores"],
        "where": made["recommend"]["where"],
        "candidates": "all servable items",
        "tuning_seed": context.input_of(recommend, columns.FINETUNE).settings["tuning"]["seed"],
        "num_users_left_out": num_left_out,
    }
    return EvaluationProtocol(
        made["split"], made["train_cut"], made["recommend"]["seen"], made["recommend"]["top_k"], details
    )


def _metric_table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{**row, "protocol": json.dumps(row["protocol"], sort_keys=True)} for row in rows])


def _write_ranks(
    path: Path, sequences: Sequences, users: NDArray[np.int32], ranks: dict[str, NDArray[np.int64]]
) -> None:
    """Rank of every evaluated user's target by method, 0 for a miss."""
    names = pa.array([sequences.user_ids[int(user)] for user in users], pa.string())
    with atomic_path(path) as temporary:
        pq.write_table(
            pa.table({columns.USER_ID: names, **{name: pa.array(values) for name, values in ranks.items()}}), temporary
        )
