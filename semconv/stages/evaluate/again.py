"""Score the methods of two recommend runs for serving on the same users, with the held-out items of today.

The figures of a kept model stay as they were, while users and their held-out items change. So two models can be compared
only if both are scored again. This module makes lists without the held-out items as each run made its lists for serving:
with the same model, blend and search. The filter and the masked items are those of the new lists on both sides, so a
changed filter is no difference of quality. Finished lists for evaluation are reused. No evaluate run is made, so the
published figures stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.columns import METHOD_BLEND, METHOD_MODEL
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.evaluation.methods import POPULARITY, sql_method
from semconv.evaluation.rows import compare
from semconv.evaluation.segments import draw_users
from semconv.metrics import target_ranks
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace, is_loaded
from semconv.stages.evaluate.case import EvaluationCase
from semconv.stages.evaluate.rankings import baseline, listed
from semconv.stages.held_out import held_out_items
from semconv.stages.lists.job import Request
from semconv.stages.lists.run import list_request, recommend_run

DRAWN_USERS = 2000  # most users that are scored, a fixed random sample
FEWEST_USERS = 30  # a bootstrap over fewer users gives intervals that are too short

Comparison = list[dict[str, Any]]  # rows of ``evaluation.rows.compare``, with ``our_method`` and ``their_method``


@dataclass(frozen=True)
class ScoredLists:
    """The ranks of held-out items in the lists of each method of a recommend run.

    Attributes:
        users: ``(U,)`` user index, ascending.
        ranks: method -> ``(U,)`` rank of each held-out item, 0 for a miss.
        served: the method whose lists the run made for serving.
        list_length: length of the lists.
    """

    users: NDArray[np.int32]
    ranks: Mapping[str, NDArray[np.int64]]
    served: str
    list_length: int

    def of_served(self) -> NDArray[np.int64]:
        """Return the ranks in the lists of the served method, ``(U,)``; InputError if the run has no such lists."""
        if self.served not in self.ranks:
            raise InputError(f"lists of the method {self.served} can no longer be made")
        return self.ranks[self.served]


@dataclass(frozen=True)
class ListMaker:
    """Makes and scores lists for evaluation as a recommend run made its lists for serving.

    Attributes:
        workspace: the workspace, with the settings under which the run made its lists.
        lineage: the lineage of the lists.
        served: the method whose lists the run made for serving.
        targets: ``(U,)`` item index of each user's held-out item of today; -1 for none, and for one that the model may
            have been trained on.
    """

    workspace: Workspace
    lineage: Lineage
    served: str
    targets: NDArray[np.int32]

    @classmethod
    def of(cls, workspace: Workspace, lists: RunRecord, like: RunRecord) -> ListMaker:
        """Read how a recommend run made its lists, and which items are held out today.

        Args:
            lists: a finished recommend run for serving.
            like: the recommend run whose filter and masked items are used: the new lists, on both sides.

        Raises:
            InputError: the lists are external, or a run that they depend on is not in the run table.
        """
        if is_loaded(lists):
            raise InputError(
                f"the lists of {lists.run_id} are external, so no lists without the held-out items can be made"
            )
        made = _as_made(workspace, lists, like)
        lineage = _with_blend(made, Lineage.of(workspace.store, lists))
        held_out, _ = held_out_items(made, lineage.runs, made.sequences(split=lineage.split), "test")
        return cls(made, lineage, served_method(lists), held_out)

    @cached_property
    def users(self) -> NDArray[np.int32]:
        """The users who can be scored, ``(R,)``: those of the finished lists, or all users with a held-out item."""
        return self._with_target if self._finished is None else self._finished[1]

    def score(self, users: NDArray[np.int32], *, with_popularity: bool = False) -> ScoredLists:
        """Rank the held-out items of some users. Their lists are made unless finished lists contain them.

        Args:
            users: ``(R,)`` users with a held-out item, ascending.
            with_popularity: whether the lists of the most popular items are scored too.

        Raises:
            InputError: a run that the lists depend on is damaged or was removed.
        """
        settings = self.workspace.settings
        of_everyone = replace(settings, evaluate=replace(settings.evaluate, max_users=0))
        workspace = replace(self.workspace, settings=of_everyone)
        case = EvaluationCase.read(workspace, Lineage.of(workspace.store, self._lists(users)))
        is_scored = np.isin(case.users, users)
        case = replace(case, users=case.users[is_scored], targets=case.targets[is_scored])
        ranks = {ranking.method: target_ranks(ranking.items, case.targets) for ranking in listed(workspace, case)}
        if with_popularity:
            ranks[POPULARITY] = target_ranks(baseline(workspace, case, sql_method(POPULARITY), {}).items, case.targets)
        return ScoredLists(case.users, ranks, self.served, case.list_length)

    @cached_property
    def _with_target(self) -> NDArray[np.int32]:
        return np.flatnonzero(self.targets >= 0).astype(np.int32)

    @cached_property
    def _finished(self) -> tuple[RunRecord, NDArray[np.int32]] | None:
        """Finished lists for evaluation and their users, ``(R,)``: of all users, or of those that are evaluated."""
        evaluate, everyone = self.workspace.settings.evaluate, self._with_target
        made = [(Request("test"), everyone)]
        if evaluate.max_users:
            drawn = draw_users(everyone, evaluate.max_users, evaluate.seed)
            made.append((Request("test", drawn), drawn))
        for request, users in made:
            found = self.workspace.book.find(list_request(self.workspace, self.lineage, request))
            if found is not None:
                return found, users
        return None

    def _lists(self, users: NDArray[np.int32]) -> RunRecord:
        if self._finished is not None and np.isin(users, self._finished[1]).all():
            return self.workspace.book.take_up(self._finished[0])
        is_everyone = np.array_equal(users, self._with_target)  # as `semconv evaluate` makes them, to be reused by it
        request = Request("test", None if is_everyone else users)
        return recommend_run(self.workspace, self.lineage, request).record


def served_method(lists: RunRecord) -> str:
    """Return the method whose lists a recommend run made for serving."""
    return str(lists.settings.get("method", METHOD_MODEL))


def drawn_users(ours: ListMaker, theirs: ListMaker | None = None) -> NDArray[np.int32]:
    """Draw users to score: with a held-out item and, if ``theirs`` is given, with the same one on both sides.

    The held-out items differ if the two models were trained under different splits.

    Raises:
        InputError: there are too few such users.
    """
    users, where = ours.users, ""
    if theirs is not None:
        users, where = users[ours.targets[users] == theirs.targets[users]], " that is the same under both splits"
    require_enough(len(users), where)
    return draw_users(users, DRAWN_USERS, ours.workspace.settings.evaluate.seed)


def require_enough(num_users: int, where: str = "") -> None:
    """Raise InputError if too few users have a held-out item for a confidence interval."""
    if num_users < FEWEST_USERS:
        have = "1 user has" if num_users == 1 else f"{num_users} users have"
        raise InputError(f"{have} a held-out item{where}, and a comparison needs at least {FEWEST_USERS}")


def compare_served(workspace: Workspace, ours: ScoredLists, theirs: ScoredLists) -> Comparison:
    """Compare the served methods of two scored runs on the users of both."""
    _, mine, other = np.intersect1d(ours.users, theirs.users, assume_unique=True, return_indices=True)
    require_enough(len(mine))
    length = min(ours.list_length, theirs.list_length)
    rows = compare(ours.of_served()[mine], theirs.of_served()[other], length, workspace.settings.evaluate)
    return named(rows, ours.served, theirs.served)


def compare_popularity(workspace: Workspace, ours: ScoredLists) -> Comparison:
    """Compare the served method of a scored run with popularity."""
    require_enough(len(ours.users))
    rows = compare(ours.of_served(), ours.ranks[POPULARITY], ours.list_length, workspace.settings.evaluate)
    return named(rows, ours.served, POPULARITY)


def named(rows: Comparison, ours: str, theirs: str) -> Comparison:
    """Return the rows of a comparison with the names of both methods."""
    return [{**row, "our_method": ours, "their_method": theirs} for row in rows]


def _with_blend(workspace: Workspace, lineage: Lineage) -> Lineage:
    """Return the lineage that an evaluation of the model uses: lists by the model alone get the newest blend, too."""
    if lineage.blend is not None or lineage.tuned is None or workspace.settings.blend.use == "never":
        return lineage
    return replace(lineage, blend=Lineage.current(workspace.store, lineage.tuned).blend)


def _as_made(workspace: Workspace, lists: RunRecord, like: RunRecord) -> Workspace:
    """Return the workspace with the settings under which a run made its lists, but with the filter and mask of ``like``."""
    settings, asked = workspace.settings, like.settings["recommend"]
    known = {field.name for field in fields(settings.recommend)}
    recorded = {name: value for name, value in lists.settings["recommend"].items() if name in known}
    masked = {"where": asked["where"], "seen": asked["seen"], "seen_days": asked.get("seen_days", 0.0)}
    use = settings.blend.use
    if lists.run_id != like.run_id:  # of the served lists only the served method is compared
        use = "always" if served_method(lists) == METHOD_BLEND else "never"
    elif use == "never" and served_method(lists) == METHOD_BLEND:
        use = "always"
    length = lists.settings.get("history_length", settings.split.history_length)
    return replace(
        workspace,
        settings=replace(
            settings,
            recommend=replace(settings.recommend, **{**recorded, **masked}),
            events=replace(settings.events, seen=tuple(asked.get("seen_types", ()))),
            split=replace(settings.split, history_length=length),
            blend=replace(settings.blend, use=use),
        ),
    )
