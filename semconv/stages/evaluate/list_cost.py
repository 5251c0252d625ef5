"""Measure the processor time of making lists, for each method in the same way: on a sample of the evaluated users."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semconv.blend.tables import BlendUsers
from semconv.columns import BLEND, BLENDS, METHOD_WITHOUT_MODEL
from semconv.data.store import RunRecord
from semconv.evaluation.methods import Method
from semconv.evaluation.segments import draw_users
from semconv.lists.recommender import Recommender, ShardUsers
from semconv.runs.workspace import Workspace
from semconv.stages.blend.choice import ChosenBlend
from semconv.stages.evaluate.case import EvaluationCase
from semconv.stages.evaluate.counter_search import tuned_parameters
from semconv.stages.evaluate.rankings import baseline
from semconv.stages.lists.job import ListInputs, job_blend
from semconv.stages.tune.item_setup import SplitMoments
from semconv.stages.tune.tuned import TunedFiles, passes

_SAMPLE: Final = 500  # users whose lists are timed
_WARM: Final = 20  # users whose lists are made before, so that loading and first use are not timed
Users = NDArray[np.int32]
Make = Callable[[Users], object]


@dataclass(frozen=True)
class ListCost:
    """The processor time of making lists.

    Attributes:
        preparation: seconds before the first list: for counting, or for loading a trained model.
        per_thousand: seconds for the lists of a thousand users.
    """

    preparation: float
    per_thousand: float


def timed_users(case: EvaluationCase, seed: int) -> Users:
    """Draw the users whose lists are timed, ascending."""
    return draw_users(case.users, _SAMPLE, seed)


def cost_of_lists(prepare: Callable[[], Make], users: Users) -> ListCost:
    """Time a method that prepares once and then makes lists."""
    started = time.process_time()
    make = prepare()
    preparation = time.process_time() - started
    make(users[:_WARM])
    return ListCost(preparation, _seconds(make, users) * 1000 / len(users))


def cost_of_baseline(
    workspace: Workspace, case: EvaluationCase, method: Method, tuning: RunRecord | None, users: Users
) -> ListCost:
    """Time a SQL baseline, which counts anew in each call: the time for one user is that of its preparation."""
    parameters = method.parameters(workspace.settings)
    if method.is_tuned and tuning is not None:
        parameters = tuned_parameters(workspace, tuning)["parameters"]

    def make(some: Users) -> None:
        rows = np.searchsorted(case.users, some)
        baseline(workspace, replace(case, users=some, targets=case.targets[rows]), method, parameters)

    make(users[:1])  # reads the files of the warehouse into memory
    preparation = _seconds(make, users[:1])
    return ListCost(preparation, max(0.0, _seconds(make, users) - preparation) * 1000 / len(users))


def _seconds(make: Make, users: Users) -> float:
    started = time.process_time()
    make(users)
    return time.process_time() - started


def own_lists(workspace: Workspace, case: EvaluationCase, method: str) -> Make:
    """Load the model, the blend or the blend without a model; return a function that makes lists of some users."""
    lineage, settings, split = case.lineage, workspace.settings, case.split
    read = ListInputs(workspace.store.catalog(), case.allowed, case.sequences, case.histories, np.zeros(0, np.int32))
    tuned = blend = None
    if method != METHOD_WITHOUT_MODEL:
        moments = SplitMoments(case.sequences, split, lineage.split["train_cut"])
        files = TunedFiles.read(workspace, lineage, read.catalog, moments)
        tuned = files.load(settings, case.allowed, workspace.progress.say)
    if method in BLENDS:
        blend = job_blend(workspace, lineage, ChosenBlend(lineage.need(BLEND), method), split, read)
    recommender = Recommender(
        None if tuned is None else tuned.searcher,
        read.fallback_ranking,
        None,
        None if blend is None else blend.blend,
        case.allowed,
        case.list_length,
    )
    length, histories = settings.split.history_length, case.histories

    def make(users: Users) -> None:
        seen = histories.masked_items(users, is_masked=case.is_masked)
        prompts = [] if tuned is None else tuned.prompts(histories, users)
        for_blend = None
        if blend is not None:
            for_blend = BlendUsers(*histories.latest(users, length), blend.days[users], seen)
        shown = [histories.of(int(user))[-length:] for user in users]
        with passes(settings):
            recommender.lists(ShardUsers(users, prompts, shown, seen, for_blend))

    return make
