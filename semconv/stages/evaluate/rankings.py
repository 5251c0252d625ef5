"""The lists that an evaluation sets side by side, one method at a time so that few are in memory at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from semconv import columns
from semconv.behavior.vectors import FILE_NAME as VECTORS
from semconv.behavior.vectors import BehaviorVectors
from semconv.data.store import BaselineRequest, RunRecord, TopK
from semconv.evaluation.vector_ranking import rank_by_vectors
from semconv.runs.workspace import Context
from semconv.stages.blend.blend_file import read_manifest
from semconv.stages.evaluate.case import EvaluationCase
from semconv.stages.evaluate.counter_search import tuned_parameters
from semconv.stages.lists.parts import part_methods, part_paths, read_part
from semconv.stages.stage_settings import transition_parameters

POPULARITY, RECENT, TRANSITION, TUNED, COSINE = (
    "popularity",
    "recent-popularity",
    "transition",
    "transition-tuned",
    "item-cosine",
)
_SQL = {POPULARITY: "popularity", RECENT: "recent_popularity", TRANSITION: "transition", COSINE: "item_cosine"}


@dataclass(frozen=True)
class Ranking:
    """One method's lists for the evaluated users.

    Attributes:
        method: value of the column ``method``.
        items: ``(U, K)`` item_index, -1 where a list is shorter.
        is_fallback: ``(U, K)`` what is not the method's own but the fallback's; None for nothing.
        details: what of the protocol is the method's own.
    """

    method: str
    items: NDArray[np.int32]
    is_fallback: NDArray[np.bool_] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def methods(
    behavior_source: str, listed: Sequence[str] = (columns.METHOD_MODEL,), *, is_tuned: bool = True
) -> tuple[str, ...]:
    """What an evaluation sets side by side, by the names of its metric rows; ``listed`` are those of the run itself."""
    tuned = (TUNED,) if is_tuned else ()
    return (*listed, POPULARITY, RECENT, TRANSITION, *tuned, COSINE, f"behavior-{behavior_source}")


def rankings(context: Context, case: EvaluationCase, tuning: RunRecord | None) -> Iterator[Ranking]:
    """Every method's lists, the model's first; ``tuning`` is the search of the counter's parameters, if there was one."""
    yield from listed(context, case)
    yield _baseline(context, case, POPULARITY, {})
    yield _baseline(context, case, RECENT, {})
    settings = transition_parameters(context)
    counter = _baseline(context, case, TRANSITION, settings)
    yield counter
    if tuning is not None:
        found = tuned_parameters(context, tuning)
        best: dict[str, float] = found["parameters"]
        ranked = counter if best == settings else _baseline(context, case, TRANSITION, best)
        details = {
            "parameters": best,
            "tuned_on": f"{found['num_users']} users of the split valid",
            "tuned_by": tuning.run_id,
            **({"tuned_on_this_split": True} if case.split == "valid" else {}),
        }
        yield Ranking(TUNED, ranked.items, ranked.is_fallback, details)
    yield _baseline(context, case, COSINE, {"history_decay": settings["history_decay"]})
    yield _by_behavior(context, case)


def listed_methods(context: Context, recommend: RunRecord) -> list[str]:
    """The methods whose lists a recommend run holds, the model first."""
    found = part_methods(context.book.folder(recommend))
    return sorted(found, key=lambda name: (name != columns.METHOD_MODEL, name))


def listed(context: Context, case: EvaluationCase) -> Iterator[Ranking]:
    """The lists of the recommend run itself, by each method that its parts hold."""
    for method in listed_methods(context, case.recommend):
        details = _fitted_on(context, case) if method == columns.METHOD_BLEND else {}
        yield replace(_of_parts(context, case, method), details=details)


def _fitted_on(context: Context, case: EvaluationCase) -> dict[str, Any]:
    """Whose held-out items a blend's weights were chosen by: on the split valid they flatter it."""
    run = context.input_of(case.recommend, columns.BLEND)
    users = read_manifest(context, run)["num_users"]
    mine = {"fitted_on_this_split": True} if case.split == "valid" else {}
    return {"blend_run": run.run_id, "fitted_on": f"{users} users of the split valid", **mine}


def _of_parts(context: Context, case: EvaluationCase, method: str) -> Ranking:
    items = np.full((len(case.users), case.list_length), -1, dtype=np.int32)
    is_fallback = np.zeros(items.shape, dtype=bool)
    row_of = {case.sequences.user_ids[int(user)]: row for row, user in enumerate(case.users)}
    item_of = {item_id: index for index, item_id in enumerate(case.item_ids)}
    wanted = (columns.USER_ID, columns.RANK, columns.ITEM_ID, columns.SOURCES)
    for path in part_paths(context.book.folder(case.recommend)):
        part = read_part(path, wanted, method)
        rows, found = _places(part.column(columns.USER_ID), row_of), _places(part.column(columns.ITEM_ID), item_of)
        kept = rows >= 0
        places = (rows[kept], part.column(columns.RANK).to_numpy()[kept] - 1)
        items[places] = found[kept]
        is_fallback[places] = _is_fallback(part.column(columns.SOURCES))[kept]
    return Ranking(method, items, is_fallback)


def _places(names: pa.ChunkedArray, place_of: Mapping[str, int]) -> NDArray[np.int64]:
    """Place of every id of a column, -1 for one that is unknown; each different id is looked up once."""
    encoded = names.combine_chunks().dictionary_encode()
    places = np.array([place_of.get(name, -1) for name in encoded.dictionary.to_pylist()], dtype=np.int64)
    found: NDArray[np.int64] = places[encoded.indices.to_numpy()]
    return found


def _is_fallback(sources: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Rows that the fallback ranking proposed."""
    column = sources.combine_chunks()
    proposed = pc.equal(column.flatten(), columns.SOURCE_FALLBACK).to_numpy(zero_copy_only=False)
    result = np.zeros(len(column), dtype=bool)
    result[pc.list_parent_indices(column).to_numpy()[proposed]] = True
    return result


def _baseline(context: Context, case: EvaluationCase, method: str, parameters: Mapping[str, float]) -> Ranking:
    made = case.recommend.settings
    request = BaselineRequest(
        name=_SQL[method],
        split=made["split"],
        train_cut=made["train_cut"],
        seen=made["recommend"]["seen"],
        k=case.list_length,
        history_length=made["history_length"],
        parameters=parameters,
        users=case.users,
        items=case.allowed,
        cuts=case.sequences.cuts,
        vectors=case.behavior.run_id,
    )
    top = _for_all(case, context.store.baseline_top_k(request))
    return Ranking(method, top.items, top.is_filler, {"parameters": dict(parameters)} if parameters else {})


def _for_all(case: EvaluationCase, top: TopK) -> TopK:
    """The lists in the order of the evaluated users, empty for one who has none."""
    if np.array_equal(top.users, case.users):
        return top
    items = np.full((len(case.users), top.items.shape[1]), -1, dtype=np.int32)
    is_filler = np.zeros(items.shape, dtype=bool)
    rows = np.searchsorted(case.users, top.users)
    items[rows] = top.items
    if top.is_filler is not None:
        is_filler[rows] = top.is_filler
    return TopK(case.users, items, np.zeros(items.shape, dtype=np.float32), is_filler)


def _by_behavior(context: Context, case: EvaluationCase) -> Ranking:
    """Stage one's own ranking, over the model's candidates and under its mask."""
    vectors = BehaviorVectors.load(context.intact(case.behavior, VECTORS))
    histories = case.histories
    seen = [histories.of(int(user)) for user in case.users] if case.is_masked else None
    items = rank_by_vectors(vectors, case.users, case.allowed, seen, case.list_length)
    source = case.behavior.settings["behavior"]["source"]
    return Ranking(f"behavior-{source}", items, None, {"behavior_run": case.behavior.run_id})
