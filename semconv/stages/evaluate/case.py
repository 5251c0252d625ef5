"""The users of an evaluation, their held-out items, and the items that may be listed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv import columns
from semconv.columns import Split, TrainCut
from semconv.data.histories import Histories
from semconv.data.splits import counted_cut, targets, train_mask
from semconv.data.store import RunRecord, Sequences
from semconv.data.time_cuts import dated_users, train_cut_text
from semconv.errors import InputError
from semconv.evaluation.rows import EvaluationProtocol
from semconv.evaluation.segments import EvaluatedUsers, draw_users
from semconv.metrics import prefix_ids
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.settings.recommend import beam_width
from semconv.stages.agreement import filter_of, mask_of
from semconv.stages.codes.item_codes import ItemCodes
from semconv.stages.evaluate.reachable import Reach
from semconv.stages.held_out import held_out_items

NO_CODE = "no code"


@dataclass(frozen=True)
class EvaluationCase:
    """The users, held-out items and candidate items of an evaluation, which are the same for every method.

    Attributes:
        lineage: the lineage of the recommend run that made the lists.
        sequences: the sequences of all users, with the cuts of the model's split.
        users: ``(U,)`` user index of the evaluated users, ascending.
        targets: ``(U,)`` item index of each user's held-out item.
        item_ids: item ids by item index.
        allowed: ``(I,)`` whether the recommend run could list an item; every method chooses from these items.
        popularity: ``(I,)`` interactions of each item in the train cut, or before the cut in time of the split.
        prefixes: ``(N, I)`` ids of the code prefixes, see ``metrics.prefix_ids``.
        sources: ``(I,)`` the source of each item's codes: a ``vector_source``, or 'no code'.
        reach: which held-out items lists can contain, and why not.
        num_left_out: number of users whose held-out item the evaluated runs may have been trained on.
    """

    lineage: Lineage
    sequences: Sequences
    users: NDArray[np.int32]
    targets: NDArray[np.int32]
    item_ids: list[str]
    allowed: NDArray[np.bool_]
    popularity: NDArray[np.int64]
    prefixes: NDArray[np.int32]
    sources: NDArray[np.object_]
    reach: Reach
    num_left_out: int

    @classmethod
    def read(cls, workspace: Workspace, lineage: Lineage) -> EvaluationCase:
        """Read the users and items for evaluating a recommend run. ``lineage`` has the inputs that the run recorded."""
        recommend, split = lineage.recommend, lineage.recommend.settings["split"]
        with workspace.store.snapshot():
            sequences, users, left_out = evaluated_users(workspace, lineage, split)
            if sequences.rules is not None:  # the types that masked items in these lists
                seen = tuple(recommend.settings["recommend"].get("seen_types", ()))
                sequences = replace(sequences, rules=replace(sequences.rules, seen=seen))
            catalog = workspace.store.catalog()
            allowed = catalog.is_servable.copy()
            for condition in filter(None, (recommend.settings["recommend"]["where"], recommend.settings["where"])):
                allowed &= workspace.store.allowed_items(condition)
        prefixes, sources = _codes(workspace, lineage, len(catalog))
        held_out = targets(sequences, split)[users]
        masking = None
        if recommend.settings["recommend"]["seen"] == "masked":
            masking = Histories.under(sequences, split, recommend.settings["recommend"].get("seen_days", 0.0))
        return cls(
            lineage,
            sequences,
            users,
            held_out,
            list(catalog.item_ids),
            allowed,
            _popularity(sequences, counted_cut(sequences.cuts, split, recommend.settings["train_cut"]), len(catalog)),
            prefixes,
            sources,
            # Lists that were made without a model need no codes.
            Reach.of(held_out, users, masking, catalog, allowed, (sources != NO_CODE) | (not lineage.code_runs)),
            left_out,
        )

    @property
    def recommend(self) -> RunRecord:
        """The recommend run that made the lists."""
        return self.lineage.recommend

    @property
    def split(self) -> Split:
        """The split, ``valid`` or ``test``, whose target items are held out."""
        split: Split = self.recommend.settings["split"]
        return split

    @property
    def list_length(self) -> int:
        """The number of items K of each list."""
        return int(self.recommend.settings["recommend"]["top_k"])

    @property
    def is_masked(self) -> bool:
        """Whether a user's list leaves out the items of the user's history."""
        return bool(self.recommend.settings["recommend"]["seen"] == "masked")

    @cached_property
    def histories(self) -> Histories:
        """The histories of all users under the split."""
        return Histories.under(self.sequences, self.split, self.recommend.settings["recommend"].get("seen_days", 0.0))

    def evaluated(self) -> EvaluatedUsers:
        """Return the properties of the evaluated users that define the segments of the report."""
        popularity, sources = self.popularity[self.targets], self.sources[self.targets]
        is_cold = popularity == 0
        if self.lineage.code_runs:
            is_cold = is_cold | (sources == NO_CODE) | (sources == columns.MAPPED_FROM_TEXT)
        return EvaluatedUsers(self.histories.lengths[self.users], popularity, is_cold, self.reach.is_reachable)

    def protocol(self, workspace: Workspace) -> EvaluationProtocol:
        """Return the protocol that all methods of the evaluation share: how lists were made and are scored."""
        made, tuned = self.recommend.settings, self.lineage.tuned
        evaluable = int((targets(self.sequences, self.split) >= 0).sum())
        left_out = {"num_users_maybe_trained_on": self.num_left_out} if self.num_left_out else {}
        of_model: dict[str, Any] = {}
        if tuned is not None:
            of_model = {
                "wording": "inference",
                "beams": beam_width(made["recommend"]["beams"], made["recommend"]["top_k"]),
                "scores": made["recommend"]["scores"],
                "tuning_seed": tuned.settings["tuning"]["seed"],
            }
        details: dict[str, Any] = {
            **of_model,
            "history_length": made["history_length"],
            "where": filter_of(made),
            **{name: value for name, value in mask_of(made["recommend"]).items() if value and name != "seen"},
            **({"events": made["events"]} if "events" in made else {}),
            "candidates": "all servable items",
            "num_candidates": int(self.allowed.sum()),
            "num_users_without_target": len(self.sequences) - evaluable,
            "num_users_not_sampled": evaluable - self.num_left_out - len(self.users),
            **left_out,
            **self.reach.counts(),
            "user_sample_seed": workspace.settings.evaluate.seed,
            "bootstrap_samples": workspace.settings.evaluate.bootstrap_samples,
            "confidence": workspace.settings.evaluate.confidence,
        }
        if self.sequences.cuts is not None:
            counted = counted_cut(self.sequences.cuts, self.split, made["train_cut"])
            details["temporal_at"] = self.lineage.split["temporal_at"]
            details["counts"] = train_cut_text(self.sequences, counted)
            details["num_users_without_dates"] = int((~dated_users(self.sequences)).sum())
        return EvaluationProtocol(
            self.split,
            train_cut_text(self.sequences, made["train_cut"]),
            made["recommend"]["seen"],
            self.list_length,
            details,
        )


def evaluated_users(workspace: Workspace, lineage: Lineage, split: Split) -> tuple[Sequences, NDArray[np.int32], int]:
    """Return the sequences under the split of a lineage, the users to evaluate, and the number of users left out.

    The users have a held-out item that the runs of the lineage were not trained on (``held_out_items``). They are all
    such users, or a fixed sample of them.

    Raises:
        InputError: no user has such an item.
    """
    sequences = workspace.sequences(split=lineage.split)
    held_out, left_out = held_out_items(workspace, lineage.runs, sequences, split)
    have_target = np.flatnonzero(held_out >= 0).astype(np.int32)
    if len(have_target) == 0:
        needed = (
            "the three interactions" if sequences.cuts is None else "the interactions before and after the cut in time"
        )
        why = f"; {left_out} users may have been trained on theirs, see `semconv run --refit`" if left_out else ""
        raise InputError(
            f"no user has {needed} that an evaluation on the split {split} needs; ingest more interactions{why}"
        )
    settings = workspace.settings.evaluate
    return sequences, draw_users(have_target, settings.max_users, settings.seed), left_out


def allowed_digest(allowed: NDArray[np.bool_]) -> str:
    """Return a digest of the number of items, and of which items may be listed."""
    packed = np.packbits(allowed).tobytes()
    # The last bit that is set gives the number of items if the last item may be listed. Only then is it left out, as in
    # digests of earlier versions.
    number = b"" if allowed[-1:].all() else b"%d items" % len(allowed)
    return hashlib.sha256(packed + number).hexdigest()


def _popularity(sequences: Sequences, train_cut: TrainCut, num_items: int) -> NDArray[np.int64]:
    items = sequences.items[train_mask(sequences, train_cut)]
    return np.bincount(items, minlength=num_items).astype(np.int64)


def _codes(workspace: Workspace, lineage: Lineage, num_items: int) -> tuple[NDArray[np.int32], NDArray[np.object_]]:
    """Return the prefix ids ``(N, I)`` and the sources ``(I,)`` of the codes from which the lists were made.

    Lists that were made without codes have no levels: N is 0.
    """
    if not lineage.code_runs:
        return np.zeros((0, num_items), dtype=np.int32), np.full(num_items, NO_CODE, dtype=object)
    codes = ItemCodes.read(workspace, lineage.code_runs)
    fitted = len(ItemCodes.read(workspace, (lineage.codebook,)).item_index)
    sources = np.full(num_items, NO_CODE, dtype=object)
    sources[codes.item_index[:fitted]] = (
        columns.GIVEN if lineage.behavior.settings["behavior"]["source"] == "given" else columns.LEARNED
    )
    sources[codes.item_index[fitted:]] = columns.MAPPED_FROM_TEXT
    return prefix_ids(codes.item_index, codes.codes, num_items), sources
