"""The stage that searches for the best parameters of the transition counter."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from semconv import columns
from semconv.artifacts import read_json, write_json
from semconv.counter.counts import item_weights
from semconv.data.core import train_part
from semconv.data.histories import Histories
from semconv.data.splits import targets
from semconv.data.store import RunRecord, Sequences
from semconv.evaluation.segments import draw_users
from semconv.evaluation.transition import Case, search_parameters
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.files import TRANSITION
from semconv.runs.workspace import Workspace
from semconv.stages.evaluate.case import EvaluationCase, allowed_digest

_MOST_INTERACTIONS = 2_000_000  # This many interactions are enough to choose the parameters.


def tune_transition_run(workspace: Workspace, case: EvaluationCase) -> Outcome | None:
    """Search for the transition counter's best parameters; return None if there are no validation users.

    The search always uses the held-out items of the split valid and the counts of the train cut ``[:-2]``. So the
    parameters are never chosen on the held-out items of the split test. A search is reused until interactions change.
    """
    wanted, split = workspace.settings.evaluate.counter_search_users, case.lineage.split
    held_out = targets(case.sequences, "valid")
    users = draw_users(np.flatnonzero(held_out >= 0).astype(np.int32), wanted, workspace.settings.evaluate.seed)
    if wanted == 0 or len(users) == 0:
        return None

    def compute(folder: Path) -> dict[str, pa.Table]:
        started = time.process_time()
        num_items = len(case.item_ids)
        train = train_part(case.sequences, "[:-2]", 1, num_items)
        days = case.recommend.settings["recommend"].get("seen_days", 0.0)
        histories = Histories.under(case.sequences, "valid", days)
        searched = Case(
            _some(train, workspace.settings.evaluate.seed),
            [histories.of(int(user)) for user in users],
            case.recommend.settings["history_length"],
            held_out[users],
            histories.masked_items(users, is_masked=case.is_masked),
            case.allowed,
            item_weights(train, num_items),
        )
        best, trials = search_parameters(searched, dataclasses.asdict(workspace.settings.counter))
        seconds = round(time.process_time() - started, 3)
        found = {"parameters": best, "trials": trials, "num_users": len(users), "processor_seconds": seconds}
        write_json(folder / TRANSITION, found)
        return {}

    settings = {
        "split": {name: split[name] for name in ("temporal_at", "events") if name in split},
        "history_length": case.recommend.settings["history_length"],
        **{
            name: case.recommend.settings["recommend"][name]
            for name in ("seen", "seen_types", "seen_days")
            if name in case.recommend.settings["recommend"]
        },
        "start": dataclasses.asdict(workspace.settings.counter),
        "users": wanted,
        "seed": workspace.settings.evaluate.seed,
    }
    content = {"allowed": allowed_digest(case.allowed)}
    request = StageRequest(columns.TUNE_BASELINE, settings, (), ("interaction",), content)
    return workspace.book.execute(request, compute)


def tuned_parameters(workspace: Workspace, tuning: RunRecord) -> dict[str, Any]:
    """Return ``parameters``, ``trials``, ``num_users`` and ``processor_seconds`` of a finished search.

    A search of an earlier version has no ``processor_seconds``.
    """
    found: dict[str, Any] = read_json(workspace.intact(tuning, TRANSITION))
    return found


def _some(train: Sequences, seed: int) -> Sequences:
    """Return the sequences of a random sample of users that have about two million interactions in total."""
    total = len(train.items)
    if total <= _MOST_INTERACTIONS:
        return train
    count = int(len(train) * _MOST_INTERACTIONS / total)
    chosen = np.zeros(len(train), dtype=bool)
    chosen[draw_users(np.arange(len(train), dtype=np.int32), count, seed)] = True
    return train.select_rows(np.repeat(chosen, train.lengths))
