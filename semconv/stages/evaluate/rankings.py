"""Yield the lists that an evaluation compares. Memory holds the lists of one method at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from semconv import columns
from semconv.behavior.vectors import BehaviorVectors
from semconv.data.splits import counted_cut
from semconv.data.store import BaselineRequest, RunRecord, TopK
from semconv.evaluation.gain import COMPARED
from semconv.evaluation.methods import NEWEST, TEXT_COSINE, Method, baselines, report_order
from semconv.evaluation.new_items import rank_by_text, rank_newest
from semconv.evaluation.vector_ranking import rank_by_vectors
from semconv.runs.files import BEHAVIOR_VECTORS
from semconv.runs.workspace import Workspace
from semconv.stages.blend.files import read_manifest
from semconv.stages.evaluate.case import EvaluationCase
from semconv.stages.evaluate.counter_search import tuned_parameters
from semconv.stages.lists.parts import part_methods, part_paths, read_part
from semconv.stages.tune.item_setup import item_texts


@dataclass(frozen=True)
class Ranking:
    """One method's lists for the evaluated users.

    Attributes:
        method: the method's name in the column ``method``.
        items: ``(U, K)`` item index, -1 where a list is shorter.
        is_fallback: ``(U, K)`` whether an item comes from the fallback ranking; None if no item comes from it.
        details: conditions of the evaluation that only this method has.
    """

    method: str
    items: NDArray[np.int32]
    is_fallback: NDArray[np.bool_] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def rankings(workspace: Workspace, case: EvaluationCase, tuning: RunRecord | None) -> Iterator[Ranking]:
    """Yield the lists of every method: first the methods of the recommend run, then the baselines.

    Args:
        tuning: the run that searched the transition counter's parameters, None if there was none.
    """
    yield from listed(workspace, case)
    latest: dict[str, Ranking] = {}  # SQL file -> its lists; only the last one, to save memory
    source = case.lineage.behavior.settings["behavior"]["source"]
    for method in baselines(source, is_tuned=tuning is not None, for_new=methods_for_new(case)):
        if method.is_for_new:
            yield _for_new(workspace, case, method)
        elif method.behavior_source:
            yield _by_behavior(workspace, case, method)
        elif method.is_tuned and tuning is not None:
            yield _tuned(workspace, case, method, tuning, latest.get(method.sql))
        else:
            latest = {method.sql: baseline(workspace, case, method, method.parameters(workspace.settings))}
            yield latest[method.sql]


def methods_for_new(case: EvaluationCase) -> tuple[str, ...]:
    """Return the methods that rank new items, if some held-out item has no counted interactions."""
    if (case.popularity[case.targets] > 0).all():
        return ()
    return (NEWEST,) if case.lineage.text is None else (NEWEST, TEXT_COSINE)


def listed_methods(workspace: Workspace, recommend: RunRecord) -> list[str]:
    """Return the methods whose lists a recommend run contains, the model first."""
    return sorted(part_methods(workspace.book.folder(recommend)), key=lambda name: (report_order(name), name))


def listed(workspace: Workspace, case: EvaluationCase) -> Iterator[Ranking]:
    """Yield the lists of each method from the part files of the recommend run."""
    for method in listed_methods(workspace, case.recommend):
        details = _fitted_on(workspace, case) if method in COMPARED else {}
        yield replace(_of_parts(workspace, case, method), details=details)


def _fitted_on(workspace: Workspace, case: EvaluationCase) -> dict[str, Any]:
    """Return which users the blend was fitted on. For the same users, the figures of the blend are too high."""
    run = case.lineage.need(columns.BLEND)
    users = read_manifest(workspace, run)["num_users"]
    mine = {"fitted_on_this_split": True} if case.split == "valid" else {}
    return {"blend_run": run.run_id, "fitted_on": f"{users} users of the split valid", **mine}


def _of_parts(workspace: Workspace, case: EvaluationCase, method: str) -> Ranking:
    items = np.full((len(case.users), case.list_length), -1, dtype=np.int32)
    is_fallback = np.zeros(items.shape, dtype=bool)
    row_of = {case.sequences.user_ids[int(user)]: row for row, user in enumerate(case.users)}
    item_of = {item_id: index for index, item_id in enumerate(case.item_ids)}
    wanted = (columns.USER_ID, columns.RANK, columns.ITEM_ID, columns.SOURCES)
    for path in part_paths(workspace.book.folder(case.recommend)):
        part = read_part(path, wanted, method)
        rows, found = _index_of(part.column(columns.USER_ID), row_of), _index_of(part.column(columns.ITEM_ID), item_of)
        kept = rows >= 0
        cells = (rows[kept], part.column(columns.RANK).to_numpy()[kept] - 1)
        items[cells] = found[kept]
        is_fallback[cells] = _is_fallback(part.column(columns.SOURCES))[kept]
    return Ranking(method, items, is_fallback)


def _index_of(names: pa.ChunkedArray, index_of: Mapping[str, int]) -> NDArray[np.int64]:
    """Return the index of every id of a column, -1 for an unknown id."""
    encoded = names.combine_chunks().dictionary_encode()
    index = np.array([index_of.get(name, -1) for name in encoded.dictionary.to_pylist()], dtype=np.int64)
    found: NDArray[np.int64] = index[encoded.indices.to_numpy()]
    return found


def _is_fallback(sources: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return for each row whether the fallback ranking proposed the item."""
    column = sources.combine_chunks()
    proposed = pc.equal(column.flatten(), columns.SOURCE_FALLBACK).to_numpy(zero_copy_only=False)
    result = np.zeros(len(column), dtype=bool)
    result[pc.list_parent_indices(column).to_numpy()[proposed]] = True
    return result


def _tuned(
    workspace: Workspace, case: EvaluationCase, method: Method, tuning: RunRecord, untuned: Ranking | None
) -> Ranking:
    """Rank with the parameters that a search found. Reuse ``untuned`` if these lists have the same parameters."""
    found = tuned_parameters(workspace, tuning)
    best: dict[str, float] = found["parameters"]
    is_same = untuned is not None and untuned.details.get("parameters") == best
    ranking = untuned if untuned is not None and is_same else baseline(workspace, case, method, best)
    details = {
        "parameters": best,
        "tuned_on": f"{found['num_users']} users of the split valid",
        "tuned_by": tuning.run_id,
        **({"tuned_on_this_split": True} if case.split == "valid" else {}),
    }
    return replace(ranking, method=method.name, details=details)


def baseline(workspace: Workspace, case: EvaluationCase, method: Method, parameters: Mapping[str, float]) -> Ranking:
    """Return the lists of a SQL baseline for the evaluated users."""
    made = case.recommend.settings
    request = BaselineRequest(
        method=method.name,
        split=made["split"],
        train_cut=counted_cut(case.sequences.cuts, made["split"], made["train_cut"]),
        seen=made["recommend"]["seen"],
        k=case.list_length,
        history_length=made["history_length"],
        parameters=parameters,
        users=case.users,
        items=case.allowed,
        cuts=case.sequences.cuts,
        rules=case.sequences.rules,
        seen_days=made["recommend"].get("seen_days", 0.0),
        vectors=case.lineage.behavior.run_id,
    )
    top = _for_all(case, workspace.store.baseline_top_k(request))
    return Ranking(method.name, top.items, top.is_filler, {"parameters": dict(parameters)} if parameters else {})


def _for_all(case: EvaluationCase, top: TopK) -> TopK:
    """Return the lists in the order of the evaluated users; a user without a list gets an empty one."""
    if np.array_equal(top.users, case.users):
        return top
    items = np.full((len(case.users), top.items.shape[1]), -1, dtype=np.int32)
    is_filler = np.zeros(items.shape, dtype=bool)
    rows = np.searchsorted(case.users, top.users)
    items[rows] = top.items
    if top.is_filler is not None:
        is_filler[rows] = top.is_filler
    return TopK(case.users, items, np.zeros(items.shape, dtype=np.float32), is_filler)


def _by_behavior(workspace: Workspace, case: EvaluationCase, method: Method) -> Ranking:
    """Rank by behaviour vectors alone, with the candidate items and masked items of the model."""
    vectors = BehaviorVectors.load(workspace.intact(case.lineage.behavior, BEHAVIOR_VECTORS))
    histories = case.histories
    seen = histories.masked_items(case.users, is_masked=case.is_masked)
    items = rank_by_vectors(vectors, case.users, case.allowed, seen, case.list_length)
    return Ranking(method.name, items, None, {"behavior_run": case.lineage.behavior.run_id})


def _for_new(workspace: Workspace, case: EvaluationCase, method: Method) -> Ranking:
    """Rank with a method for new items, with the candidate items and masked items of the model."""
    seen = case.histories.masked_items(case.users, is_masked=case.is_masked)
    if method.name == NEWEST:
        return Ranking(NEWEST, rank_newest(case.popularity, case.allowed, len(case.users), seen, case.list_length))
    texts = item_texts(workspace, case.lineage, workspace.store.catalog())
    parameters = method.parameters(workspace.settings)
    shape = (case.list_length, int(case.recommend.settings["history_length"]), parameters["history_decay"])
    items = rank_by_text(texts, case.histories, case.users, case.allowed, seen, shape)
    return Ranking(method.name, items, None, {"parameters": parameters})
