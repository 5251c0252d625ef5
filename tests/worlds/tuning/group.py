"""Trainings in several processes, each of which runs ``python -m tests.worlds.tuning.group FOLDER NAME...``.

They run one after the other. Each writes its final weights and step log into a folder of its own, or with an error the
error of each process.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from semconv.errors import SemconvError
from semconv.settings.tuning import TuningSettings
from semconv.tuning.form import TokenForm
from semconv.tuning.model import trainable
from semconv.tuning.processes import Processes, connect
from semconv.tuning.train import Training, tune
from semconv.tuning.validation_score import ValidationScore
from tests.worlds.tuning.training import SETTINGS, Case

PLAIN = replace(SETTINGS, dropout=0.0, lora_dropout=0.0, learning_rate=1e-3, epochs=2, checkpoint_seconds=10_000)
SHARDS = replace(PLAIN, parallel="fsdp")
KINDS: dict[str, tuple[TuningSettings, bool]] = {  # settings, tied
    "ddp-full": (replace(PLAIN, accumulate=2), True),
    "ddp-lora": (replace(PLAIN, mode="lora", gradient_checkpointing=True), False),
    "fsdp-full": (replace(SHARDS, gradient_checkpointing=True), True),
    "fsdp-lora": (replace(SHARDS, mode="lora", accumulate=2), False),
}
STOPPED = {"ddp-stopped": (PLAIN, False), "fsdp-stopped": (SHARDS, False)}
RESUMED = {"ddp-resumed": (PLAIN, False), "fsdp-resumed": (SHARDS, False)}
WEIGHTS = "weights.safetensors"


def train(case: Case, processes: Processes, rows: Any = None) -> None:
    training = Training(TokenForm(rows or case.rows, 0), case.validate, case.folder, case.remarks)
    tune(case.model, training, case.settings, processes)
    if processes.is_first:
        save_file({name: weight.contiguous() for name, weight in case.weights().items()}, case.folder / WEIGHTS)


def case_of(folder: Path, settings: TuningSettings, tied: bool, processes: Processes) -> Case:
    """Make a case whose other processes start with wrong weights: the first one's must replace them."""
    folder.mkdir(exist_ok=True)
    made = Case(folder, settings, tied=tied)
    if not processes.is_first:
        made.validate = unasked
        with torch.no_grad():
            for weight in trainable(made.model).values():
                weight += 1.0
    return made


def unasked(_: Any) -> ValidationScore:
    raise AssertionError("another process than the first validates")


def stopping(case: Case) -> Any:
    def rows(epoch: int) -> Any:
        if epoch == 1:
            raise KeyboardInterrupt
        return build(epoch)

    build = case.rows
    return rows


def half(root: Path, processes: Processes) -> None:
    train(case_of(root / "fsdp-half", replace(SHARDS, dtype="bfloat16"), False, processes), processes)


def wild(root: Path, processes: Processes) -> None:
    made = case_of(root / "wild", replace(PLAIN, learning_rate=1e30, max_gradient_norm=0.0), False, processes)
    try:
        train(made, processes)
    except SemconvError as error:
        (root / f"error-{processes.rank}").write_text(str(error))


def stopped(folder: Path, settings: TuningSettings, processes: Processes) -> None:
    made = case_of(folder, settings, False, processes)
    try:
        train(made, processes, stopping(made))
    except KeyboardInterrupt:
        return
    raise AssertionError("was to be interrupted")


def main(root: Path, names: list[str]) -> None:
    processes = connect()
    for name in names:
        if name in STOPPED:
            stopped(root / name, STOPPED[name][0], processes)
        elif name in ("half", "wild"):
            {"half": half, "wild": wild}[name](root, processes)
        else:
            settings, tied = {**KINDS, **RESUMED}[name]
            train(case_of(root / name, settings, tied, processes), processes)
    processes.disconnect()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
