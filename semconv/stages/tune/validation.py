"""Read the users on whom a model is validated after each epoch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from semconv.data.histories import Histories
from semconv.data.store import RunRecord
from semconv.item_head.prompts import MomentEvents
from semconv.item_head.setup import ItemSetup
from semconv.ragged import offsets_of
from semconv.runs.workspace import Workspace
from semconv.settings.tuning import TuningSettings
from semconv.stages.agreement import HONEST_CUT, code_scores, leak
from semconv.stages.codes.item_codes import ItemCodes
from semconv.stages.held_out import held_out_items, why_past_cut
from semconv.stages.tune.item_setup import SplitMoments
from semconv.tasks.encoder import PromptEncoder
from semconv.train.validation import Validation


@dataclass(frozen=True)
class ValidationUsers:
    """The validation data of a tuning, and the ``user_index`` of its users."""

    users: NDArray[np.int64]
    data: Validation


def read_validation(
    workspace: Workspace,
    encoder: PromptEncoder,
    codes: ItemCodes,
    tuning: TuningSettings,
    setup: ItemSetup | None,
    before: Iterable[RunRecord],
) -> ValidationUsers | None:
    """Read a fixed sample of users whose lists a training scores.

    Return None if the training, or a run from which it starts, is trained on the validation items, because scores on them
    would be too optimistic. Users are left out if such a run was trained on their item.

    Args:
        tuning: the settings of the tuning, with all defaults filled in.
        encoder: knows whether prompts have dates.
        setup: of a model that reads items; None for one that reads code tokens.
        before: the runs from which the training starts: vectors, codes, backbone, and the tuning that it continues.
    """
    settings, say, before = workspace.settings, workspace.progress.say, tuple(before)
    if not tuning.validation_users or settings.split.train_cut != HONEST_CUT:
        return None
    sequences = workspace.sequences()
    if (why := leak("valid", before) or why_past_cut(workspace, before, sequences, "valid")) is not None:
        say(f"no validation, because figures would be too high: {why}")
        return None
    histories = Histories.under(sequences, "valid", settings.recommend.seen_days)
    targets, left_out = held_out_items(workspace, before, sequences, "valid")
    if left_out:
        say(
            f"validation: {left_out} users are left out, because vectors or the earlier model were trained on their item"
        )
    users = validation_users(histories, targets >= 0, encoder.has_codes, tuning)
    if len(users) == 0:
        return None
    catalog, moments, successors = workspace.store.catalog(), None, None
    split_moments = SplitMoments(sequences, "valid", settings.split.train_cut)
    if encoder.dates is not None:
        days = split_moments.events(len(catalog), is_dated=True).days[users]
        moments = replace(MomentEvents.unknown(len(users), len(catalog)), days=days)
    if setup is not None:
        is_dated = setup.calendar.num_periods > 0
        moments = split_moments.events(len(catalog), is_dated=is_dated).of_users(users)
        successors = split_moments.successors(len(catalog)) if setup.num_latest else None
    data = Validation(
        histories=histories.of_users(users),
        targets=targets[users],
        is_allowed=catalog.is_servable,
        is_masked=settings.recommend.seen == "masked",
        scores=code_scores(settings.recommend, asdict(tuning)),
        popularity=codes.popularity,
        moments=moments,
        successors=successors,
    )
    return ValidationUsers(users, data)


def validation_users(
    histories: Histories, has_target: NDArray[np.bool_], has_codes: NDArray[np.bool_], tuning: TuningSettings
) -> NDArray[np.int64]:
    """Return a fixed sample of the users whose history under the split valid has an item with codes.

    Args:
        has_target: ``(U,)`` users with a held-out item that may be scored.
        has_codes: ``(I,)``.
    """
    coded, starts, lengths = offsets_of(has_codes[histories.items]), histories.starts, histories.lengths
    with_history = has_target & (lengths > 0) & (coded[starts + np.maximum(lengths, 0)] > coded[starts])
    users = np.flatnonzero(with_history)
    wanted = min(tuning.validation_users or 0, len(users))
    return np.sort(np.random.default_rng(tuning.seed).choice(users, wanted, replace=False))
