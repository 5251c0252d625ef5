"""Tuning from an earlier run: which runs it may start from, and which samples are new since then.

Every tuning records the interactions and items that it drew its samples from. A tuning that starts from it asks about
everything that came later, and about a drawn share of the rest (``tuning.replay``).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from semconv import columns
from semconv.artifacts import read_arrays, write_arrays
from semconv.data.store import RunRecord
from semconv.errors import InputError, SettingsError
from semconv.runs.files import TUNED_ON
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages.tune.figures import epochs_trained
from semconv.tasks.data import TaskData
from semconv.tasks.replay import TunedOn, count_new, replay_since

_ADAPTER_SHAPE = ("lora_rank", "lora_alpha")  # the size of its matrices, and the factor of their product


def check_start(workspace: Workspace, start: Lineage, codebook: RunRecord) -> None:
    """Refuse a run that a tuning on ``codebook`` cannot start from.

    Raises:
        InputError: it is no finished tuning, or was tuned on another code set.
        SettingsError: the settings ask for another mode, or for an adapter of another shape or scale.
    """
    run = start.run
    if run.stage != columns.FINETUNE or run.status != "finished":
        raise InputError(f"{run.run_id} is no finished tuning to go on from; `semconv runs` lists them")
    had, asked = run.settings["tuning"], workspace.settings.tuning
    for name in ("mode", *(_ADAPTER_SHAPE if asked.mode == "lora" else ())):
        if had[name] != getattr(asked, name):
            raise SettingsError(
                f"tuning.{name} = {getattr(asked, name)}: {run.run_id} was tuned with {had[name]}, and a tuning that starts"
                f" from it must keep that; set tuning.{name} = {had[name]}, or tune from the backbone without --from"
            )
    if start.codebook.run_id != codebook.run_id:
        raise InputError(
            f"{run.run_id} was tuned on another code set than {codebook.run_id}; tune from the backbone instead"
        )


def record_samples(folder: Path, data: TaskData) -> None:
    """Record in a run's folder which interactions and items it was tuned on."""
    write_arrays(folder / TUNED_ON, TunedOn.of(data).arrays())


def since_start(workspace: Workspace, start: RunRecord, data: TaskData) -> TaskData:
    """``data`` with a mark on everything that ``start`` was not tuned on."""
    before = TunedOn.from_arrays(read_arrays(workspace.intact(start, TUNED_ON)))
    share = workspace.settings.tuning.replay
    return dataclasses.replace(data, replay=replay_since(before, data, share, epochs_trained(workspace, start)))


def has_work(workspace: Workspace, start: RunRecord, data: TaskData) -> bool:
    """Say what is new since ``start``, and whether there is anything to tune on."""
    assert data.replay is not None
    say, new, share = workspace.progress.say, count_new(data), data.replay.share
    if share < 1 and not any(new.values()):
        say(
            f"nothing is new since {start.run_id} was tuned: it stays current (tuning.replay = 1 tunes on all of it again)"
        )
        return False
    named = ", ".join(f"{count:,} {kind}" for kind, count in new.items())
    say(f"new since {start.run_id}: {named} to ask about; an epoch draws {share:.0%} of the others")
    return True
