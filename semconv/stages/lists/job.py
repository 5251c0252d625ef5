"""The job of a recommend run: the data that all its shards of users share, and how this data is read.

A job consists of arrays and settings, so it can be sent to another process or machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import machine_errors
from semconv.behavior.vectors import BehaviorVectors
from semconv.blend.blend import Blend
from semconv.blend.tables import unit_vectors
from semconv.columns import Split, TrainCut
from semconv.data.histories import Histories
from semconv.data.splits import counted_cut, history_lengths
from semconv.data.store import BaselineRequest, Catalog, RunRecord, Sequences
from semconv.evaluation.methods import RECENT_POPULARITY
from semconv.ragged import slices
from semconv.runs.files import BEHAVIOR_VECTORS, part_file, part_files
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.settings.tree import Settings
from semconv.stages.blend.choice import ChosenBlend
from semconv.stages.blend.files import load_blend
from semconv.stages.blend.run import blend_tables, list_days
from semconv.stages.lists.carrying import Carried, Listable, States, carry_over, user_states
from semconv.stages.lists.filters import allowed_items
from semconv.stages.lists.parts import holds_part
from semconv.stages.tune.item_setup import SplitMoments
from semconv.stages.tune.tuned import TunedFiles

# The kinds of a pass (``Request.pass_kind``), as the settings of a run record them.
FULL: Final = "full"
CHANGED: Final = "changed"
SOME_USERS: Final = "some"


@dataclass(frozen=True)
class Request:
    """A request for a recommend run.

    Attributes:
        users: ``(R,)`` user index; None for all.
        where: a filter in addition to ``recommend.where``. A run with such a filter cannot be published.
        carry_from: the earlier run whose lists unchanged users keep.
        refresh: with ``carry_from``, the users to recompute, besides new users; all other users keep their lists.
    """

    split: Split = "serve"
    users: NDArray[np.int32] | None = None
    where: str | None = None
    carry_from: RunRecord | None = None
    refresh: NDArray[np.int32] | None = None

    @property
    def pass_kind(self) -> str:
        """Which lists are computed: FULL for all, CHANGED for users whose data changed, SOME_USERS for ``refresh``."""
        if self.carry_from is None:
            return FULL
        return CHANGED if self.refresh is None else SOME_USERS


@dataclass(frozen=True)
class JobBlend:
    """The blend that a job uses.

    Attributes:
        served: the method whose lists are for serving.
        days: ``(U,)`` the day of each user's recommendations (``list_days``).
        with_all: whether the parts hold the lists of every method, for evaluation.
    """

    blend: Blend
    served: str
    days: NDArray[np.float64]
    with_all: bool


@dataclass(frozen=True)
class ListJob:
    """The data that all shards of a run share.

    Attributes:
        folder: the folder of the run, where the parts are written.
        fingerprint: the fingerprint of the run.
        tuned: the model, its codes and their trie; None for lists of a blend without a model.
        split, settings: the requested split and the settings.
        users: ``(R,)`` user index, ascending; a shard is a slice of it.
        user_ids: ``(U,)`` ids by user index.
        item_ids: ``(I,)`` ids by item index.
        histories: the histories of all users.
        allowed: ``(I,)`` whether an item may be recommended.
        fallback_ranking: ``(F,)`` item index of allowed items, best first.
        vectors: ``(I, D)`` unit behaviour vectors.
        carried: the lists that users keep from an earlier run; None when all are computed.
        blend: ranks the items of the beam search together with other candidates; None for the model's own lists.
    """

    folder: Path
    fingerprint: str
    tuned: TunedFiles | None
    split: Split
    settings: Settings
    users: NDArray[np.int32]
    user_ids: pa.Array
    item_ids: pa.Array
    histories: Histories
    allowed: NDArray[np.bool_]
    fallback_ranking: NDArray[np.int32]
    vectors: NDArray[np.float32]
    carried: Carried | None = None
    blend: JobBlend | None = None

    @cached_property
    def shards(self) -> list[slice]:
        """The shards, each as a slice of ``users``."""
        return slices(len(self.users), self.settings.recommend.shard_users)

    def num_users(self, shard: int) -> int:
        """Return the number of users of a shard."""
        return len(self.users[self.shards[shard]])

    def path(self, shard: int) -> Path:
        """Return the path of the Parquet part of a shard."""
        return self.folder / part_file(shard)

    def label(self, shard: int) -> str:
        """Return the label in the metadata of a shard's part: the run, the shard's number, and the number of shards."""
        return f"{self.fingerprint} {shard} of {len(self.shards)}"

    def missing(self, say: Callable[[str], None]) -> list[int]:
        """Delete incomplete Parquet parts and parts of other runs; return the shards that have no part then."""
        wanted = {self.path(shard) for shard in range(len(self.shards))}
        for path in part_files(self.folder):
            shard = int(path.stem.removeprefix("part-")) if path in wanted else -1
            if shard >= 0 and holds_part(path, self.label(shard)):
                wanted.discard(path)
                continue
            say(f"{path}: incomplete or of another run; recomputing the lists of its users")
            with machine_errors(path):
                path.unlink()
        return [shard for shard in range(len(self.shards)) if self.path(shard) in wanted]


@dataclass(frozen=True)
class ListInputs:
    """The inputs of a recommend run from the warehouse, read in one snapshot."""

    catalog: Catalog
    allowed: NDArray[np.bool_]  # (I,)
    sequences: Sequences
    histories: Histories
    fallback_ranking: NDArray[np.int32]  # (F,) item index

    @classmethod
    def now(cls, workspace: Workspace, lineage: Lineage, request: Request) -> ListInputs:
        """Read the inputs from the warehouse."""
        with workspace.store.snapshot():
            catalog = workspace.store.catalog()
            allowed = allowed_items(workspace, catalog, request.where)
            split = lineage.split
            sequences = workspace.sequences(split=split)
            ranking = _fallback_ranking(workspace, request.split, split["train_cut"], allowed, sequences)
        histories = Histories.under(sequences, request.split, workspace.settings.recommend.seen_days)
        return cls(catalog, allowed, sequences, histories, ranking)


def list_job(
    workspace: Workspace, lineage: Lineage, request: Request, chosen: ChosenBlend | None, folder: Path
) -> tuple[ListJob, States]:
    """Read the inputs of a recommend run, and return its job and the states of its users.

    Args:
        chosen: the blend that ranks the lists; None for the model's own lists.
        folder: the folder of the run.
    """
    read = ListInputs.now(workspace, lineage, request)
    job = _full_job(workspace, lineage, request, folder, read)
    job = replace(job, blend=job_blend(workspace, lineage, chosen, request.split, read))
    num_items = len(job.item_ids)
    codes = np.zeros((num_items, 0), dtype=np.int64) if job.tuned is None else job.tuned.codes.by_item(num_items)
    states = user_states(job.users, job.histories, codes)
    if request.carry_from is not None:
        carried, states = _carried(workspace, request.carry_from, request.refresh, states, job)
        job = replace(job, carried=carried)
    return job, states


def _full_job(workspace: Workspace, lineage: Lineage, request: Request, folder: Path, read: ListInputs) -> ListJob:
    """Return the job that computes the lists of all requested users, still without its blend."""
    sequences, num_items = read.sequences, len(read.catalog)
    tuned = None
    if lineage.tuned is not None:
        split_moments = SplitMoments(sequences, request.split, lineage.split["train_cut"])
        tuned = TunedFiles.read(workspace, lineage, read.catalog, split_moments)
    vectors = BehaviorVectors.load(workspace.intact(lineage.behavior, BEHAVIOR_VECTORS))
    asked = np.arange(len(sequences), dtype=np.int32) if request.users is None else np.sort(request.users)
    # A user who returned everything has an empty history, and gets the fallback list. A user without any event, such as an
    # erased user, gets no list.
    has_list = (read.histories.lengths[asked] >= 0) & (sequences.lengths[asked] > 0)
    return ListJob(
        folder=folder,
        fingerprint=_fingerprint(workspace, folder),
        tuned=tuned,
        split=request.split,
        settings=workspace.settings,
        users=asked[has_list],
        user_ids=pa.array(sequences.user_ids, pa.string()),
        item_ids=pa.array(read.catalog.item_ids, pa.string()),
        histories=read.histories,
        allowed=read.allowed,
        fallback_ranking=read.fallback_ranking,
        vectors=unit_vectors(vectors.item_index, vectors.item_vectors, num_items),
    )


def job_blend(
    workspace: Workspace, lineage: Lineage, chosen: ChosenBlend | None, split: Split, read: ListInputs
) -> JobBlend | None:
    """Return the blend of a job, None for the model's own lists.

    For serving, transitions are counted in all interactions, and the day of every list is the day of the newest
    interaction. For an evaluation in time, they are counted up to the cut, which is the day of every list. For another
    evaluation, the counts of the blend run are used, and each user's day is the day of the latest item of the history.
    """
    if chosen is None:
        return None
    blend = load_blend(workspace, chosen.record, lineage)
    made = chosen.record.settings
    cut = counted_cut(read.sequences.cuts, split, made["train_cut"])
    if cut != made["train_cut"]:
        tables = blend_tables(workspace, lineage, len(read.catalog), read.sequences, {**made, "train_cut": cut})
        blend = replace(blend, tables=tables)
    days = list_days(read.sequences, read.histories, split)
    return JobBlend(blend, chosen.served, days, with_all=split != "serve")


def _fingerprint(workspace: Workspace, folder: Path) -> str:
    """Return the fingerprint of the run that is being computed in a folder."""
    running = workspace.store.runs(stage=columns.RECOMMEND, status="running")
    return next(run.fingerprint for run in running if workspace.book.folder(run) == folder)


def _fallback_ranking(
    workspace: Workspace, split: Split, train_cut: TrainCut, allowed: NDArray[np.bool_], sequences: Sequences
) -> NDArray[np.int32]:
    """Return allowed items by recent popularity: enough to fill a list after the longest history is left out."""
    longest = int(sequences.lengths.max(initial=0))
    some_user = np.array([int(np.argmax(history_lengths(sequences, split)))], dtype=np.int32)
    count = min(int(allowed.sum()), workspace.settings.recommend.top_k + longest)
    cut = counted_cut(sequences.cuts, split, train_cut)
    request = BaselineRequest(
        RECENT_POPULARITY,
        split,
        cut,
        "kept",
        count,
        users=some_user,
        items=allowed,
        cuts=sequences.cuts,
        rules=sequences.rules,
    )
    top_k = workspace.store.baseline_top_k(request)
    ranking: NDArray[np.int32] = top_k.items[:1].ravel()  # empty when no user has a history under the split
    return ranking[ranking >= 0]


def _carried(
    workspace: Workspace, before: RunRecord, refresh: NDArray[np.int32] | None, states: States, job: ListJob
) -> tuple[Carried, States]:
    listed = np.flatnonzero(job.allowed)
    if job.blend is None and job.tuned is not None:  # a blend lists items without codes too
        coded = job.tuned.codes.item_index
        listed = np.unique(np.concatenate([coded[job.allowed[coded]], job.fallback_ranking]))
    is_masked = workspace.settings.recommend.seen == "masked"
    listable = Listable(job.item_ids.take(pa.array(listed)), job.user_ids, job.item_ids, job.histories, is_masked)
    shard_users = int(before.settings["recommend"]["shard_users"])
    carried, states = carry_over(
        workspace.book.folder(before), shard_users, states, refresh, listable, workspace.progress.say
    )
    count = int((carried.shards >= 0).sum())
    if count:
        workspace.progress.say(f"{count} of {len(job.users)} users are unchanged and keep their lists")
    return carried, states
