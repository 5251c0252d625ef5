"""Tuning that goes on from an earlier run: which runs it may start from, and what is new since.

Every tuning keeps what it drew its samples from. One that starts from it asks about what came since and about a drawn
share of the rest (``tuning.replay``).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from semconv import columns
from semconv.artifacts import read_arrays, read_json, write_arrays
from semconv.data.store import RunRecord
from semconv.errors import InputError, SettingsError
from semconv.runs.workspace import Context
from semconv.tasks.data import TaskData
from semconv.tasks.replay import Replay, TunedOn

TUNED_ON = "tuned_on.safetensors"
EPOCHS_BEFORE = "epochs_before"  # among the figures: epochs of the tunings that the weights come from
FIGURES_FILE = "figures.json"
_OF_AN_ADAPTER = ("lora_rank", "lora_alpha")  # the shape of its matrices, and what their product is multiplied by


def check_start(context: Context, start: RunRecord, codebook: RunRecord) -> None:
    """Whether a tuning on ``codebook`` can go on from ``start``.

    Raises:
        InputError: ``start`` is no finished tuning of this code set.
        SettingsError: the settings ask for another mode, or for an adapter of another shape or scale.
    """
    if start.stage != columns.FINETUNE or start.status != "finished":
        raise InputError(f"{start.run_id} is no finished tuning to go on from; `semconv runs` lists them")
    had, asked = start.settings["tuning"], context.settings.tuning
    for name in ("mode", *(_OF_AN_ADAPTER if asked.mode == "lora" else ())):
        if had[name] != getattr(asked, name):
            raise SettingsError(
                f"tuning.{name} = {getattr(asked, name)}: {start.run_id} was tuned with {had[name]}, and what goes on from it"
                f" keeps that; set tuning.{name} = {had[name]}, or tune from the backbone without --from"
            )
    if context.input_of(start, columns.CODEBOOK).run_id != codebook.run_id:
        raise InputError(
            f"{start.run_id} was tuned on another code set than {codebook.run_id}; tune from the backbone instead"
        )


def keep_tuned_on(folder: Path, data: TaskData) -> None:
    """Keep in a run's folder what it was tuned on."""
    write_arrays(folder / TUNED_ON, TunedOn.of(data).arrays())


def epochs_before(context: Context, start: RunRecord) -> int:
    """Epochs that the weights of ``start`` have seen, in all tunings they come from."""
    figures = read_json(context.intact(start, FIGURES_FILE))
    return int(figures["epochs"]) + int(figures.get(EPOCHS_BEFORE, 0))


def since_start(context: Context, start: RunRecord, data: TaskData) -> TaskData:
    """``data`` with a mark on what ``start`` was not tuned on; all of it for a run that kept no such record."""
    path = context.intact(start, TUNED_ON)
    if path.exists():
        before = TunedOn(**read_arrays(path))
    else:
        before = TunedOn.nothing()
        context.progress.say(f"{start.run_id} kept no record of what it was tuned on: everything counts as new")
    share = context.settings.tuning.replay
    return dataclasses.replace(data, replay=Replay.since(before, data, share, epochs_before(context, start)))


def has_work(context: Context, start: RunRecord, data: TaskData) -> bool:
    """Say what is new since ``start``, and whether there is anything to tune on."""
    assert data.replay is not None
    say, new, share = context.progress.say, data.replay.num_new(data), data.replay.share
    if share < 1 and not any(new.values()):
        say(
            f"nothing is new since {start.run_id} was tuned: it stays current (tuning.replay = 1 tunes on all of it again)"
        )
        return False
    named = ", ".join(f"{count:,} {kind}" for kind, count in new.items())
    say(f"new since {start.run_id}: {named} to ask about; an epoch draws {share:.0%} of the others")
    return True
