"""Save and load the state of a training, so that a killed training continues with bit-identical results.

All random draws (prompts, their order, dropout) depend only on seed, epoch and step. So the state consists of the
weights, the moments of the optimizer and a few counters, in one file.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from semconv.artifacts import atomic_path, read_arrays
from semconv.runs.files import BEST_WEIGHTS, TUNING_STATE
from semconv.training_state import damage_named, read_state, write_state
from semconv.tuning.model import trainable
from semconv.tuning.processes import Processes, unsharded
from semconv.tuning.validation_score import NDCG


@dataclass
class Counters:
    """The progress of a training, saved together with the weights."""

    epoch: int = 0
    batch: int = 0  # number of finished batches in this epoch
    step: int = 0  # number of finished weight updates
    samples: int = 0
    seconds: float = 0.0  # time of training and validation, over all resumes
    processor_seconds: float = 0.0  # time of training alone, over all resumes
    best_score: float = -1.0
    best_epoch: int = -1  # the epoch whose weights are kept so far
    rounds_without_better: int = 0
    stopped: bool = False
    validations: list[dict[str, float]] = field(default_factory=list)

    @property
    def kept_score(self) -> float | None:
        """Return the score of ``best_epoch``, or None without validation."""
        scores = {validation["epoch"]: validation[NDCG] for validation in self.validations}
        return scores.get(self.best_epoch)


def save_state(
    folder: Path, model: Any, optimizer: torch.optim.Optimizer, counters: Counters, processes: Processes
) -> None:
    """Write the state of a training atomically, with unsharded tensors. Every process must call this function."""
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in trainable(model).items():
        for kind, value in {"weight": parameter, **optimizer.state.get(parameter, {})}.items():
            complete = unsharded(torch.as_tensor(value).detach())
            if processes.is_first:
                tensors[f"{kind}/{name}"] = complete.cpu()
    if processes.is_first:
        write_state(folder / TUNING_STATE, tensors, counters=asdict(counters))


def load_state(folder: Path, model: Any, optimizer: torch.optim.Optimizer, processes: Processes) -> Counters:
    """Restore weights and optimizer moments, and return the counters. Without a saved state, the counters are 0.

    The number of processes may differ from the number of processes that wrote the state.

    Raises:
        InputError: the file is damaged.
    """
    counters, tensors = _read_state(folder / TUNING_STATE) if processes.is_first else (Counters(), {})
    counters, kinds = processes.broadcast((counters, sorted({key.split("/", 1)[0] for key in tensors})))
    with torch.no_grad():
        for name, parameter in trainable(model).items() if kinds else ():
            state = {kind: _distribute(tensors, f"{kind}/{name}", parameter, processes) for kind in kinds}
            parameter.copy_(state.pop("weight"))
            if state:
                optimizer.state[parameter] = state
    return counters


def _read_state(path: Path) -> tuple[Counters, dict[str, torch.Tensor]]:
    if not path.exists():
        return Counters(), {}
    with damage_named(path):
        tensors, notes = read_state(path)
        return Counters(**notes["counters"]), tensors


def _distribute(
    tensors: dict[str, torch.Tensor], key: str, parameter: torch.Tensor, processes: Processes
) -> torch.Tensor:
    """Return a tensor of the saved state, sharded like its parameter. The optimizer's step count stays on the CPU."""
    if key.startswith("step/"):
        return torch.tensor(processes.broadcast_number(float(tensors[key]) if tensors else 0.0))
    return processes.distribute(tensors.get(key), parameter.detach())


def save_best(folder: Path, model: Any) -> None:
    """Save the trained weights of the epoch that is kept so far, ``Counters.best_epoch``."""
    with atomic_path(folder / BEST_WEIGHTS) as path:
        save_file({name: parameter.detach().cpu().contiguous() for name, parameter in trainable(model).items()}, path)


def load_best(folder: Path, model: Any) -> None:
    """Restore the weights of ``model`` from the file that ``save_best`` wrote."""
    arrays = read_arrays(folder / BEST_WEIGHTS)
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            parameter.copy_(torch.from_numpy(arrays[name]))
