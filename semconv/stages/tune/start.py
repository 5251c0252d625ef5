"""Continue an earlier tuning: check that this is possible, and find the samples that are new since then.

Every tuning records the interactions and items that it was trained on. A tuning that continues an earlier one trains on
all interactions and items that came later, and on a random share of the old interactions and items (``tuning.replay``).
"""

from __future__ import annotations

import dataclasses

from semconv import columns
from semconv.artifacts import read_arrays
from semconv.data.store import RunRecord
from semconv.errors import InputError, SettingsError
from semconv.runs.files import TUNED_ON
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages.stage_settings import resolved_tuning
from semconv.stages.tune.figures import epochs_trained
from semconv.tasks.data import TaskData
from semconv.tasks.replay import TunedOn, count_new, replay_since

# The rank of a LoRA adapter's matrices, and the scale of their product.
_ADAPTER_SHAPE = ("lora_rank", "lora_alpha")


def check_start(workspace: Workspace, start: Lineage, codebook: RunRecord) -> None:
    """Raise an error if a tuning on the code set ``codebook`` cannot continue from the tuning ``start``.

    Raises:
        InputError: the run is not a finished tuning, or was tuned on another code set.
        SettingsError: the settings have another mode, or an adapter of another shape or scale.
    """
    run = start.run
    if run.stage != columns.FINETUNE or run.status != "finished":
        raise InputError(f"{run.run_id} is not a finished tuning; choose one that `semconv runs` lists")
    had = run.settings["tuning"]
    asked = resolved_tuning(workspace, start.backbone, codebook, goes_on=True)
    for name in ("mode", "history", *(_ADAPTER_SHAPE if asked.mode == "lora" else ())):
        if had[name] != getattr(asked, name):
            raise SettingsError(
                f"tuning.{name} = {getattr(asked, name)}: {run.run_id} was tuned with {had[name]}, and a tuning that"
                f" continues from it must keep this value; set tuning.{name} = {had[name]}, or tune from the backbone without --from"
            )
    if start.codebook.run_id != codebook.run_id:
        raise InputError(
            f"{run.run_id} was tuned on another code set than {codebook.run_id}; tune from the backbone instead"
        )


def since_start(workspace: Workspace, start: RunRecord, data: TaskData) -> TaskData:
    """Return ``data`` with marks on all samples that the model of the tuning ``start`` was not trained on."""
    before = TunedOn.from_arrays(read_arrays(workspace.intact(start, TUNED_ON)))
    share = workspace.settings.tuning.replay
    return dataclasses.replace(data, replay=replay_since(before, data, share, epochs_trained(workspace, start)))


def has_work(workspace: Workspace, start: RunRecord, data: TaskData) -> bool:
    """Say how many samples are new since the tuning ``start``, and return whether there is anything to tune on."""
    assert data.replay is not None
    say, new, share = workspace.progress.say, count_new(data), data.replay.share
    if share < 1 and not any(new.values()):
        say(
            f"nothing is new since {start.run_id} was tuned, so it stays the current model (tuning.replay = 1 would tune on all"
            " earlier data again)"
        )
        return False
    named = ", ".join(f"{count:,} {kind}" for kind, count in new.items())
    say(f"new since {start.run_id}: {named}; each epoch trains on these and on {share:.0%} of the earlier data")
    return True
