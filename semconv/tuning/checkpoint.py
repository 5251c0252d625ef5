"""Everything that a killed training needs to go on as if nothing had happened, in one file.

Draws of prompts, order and dropout are functions of seed, epoch and step, so weights, optimizer
moments and a few counters are the whole state.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from semconv.artifacts import atomic_path, read_arrays
from semconv.errors import InputError
from semconv.tuning.model import trainable

STATE = "checkpoint.safetensors"
BEST = "best.safetensors"


@dataclass
class Counters:
    """Where training is."""

    epoch: int = 0
    batch: int = 0  # batches done of this epoch
    step: int = 0  # updates done
    samples: int = 0
    seconds: float = 0.0  # of training and validation, over all resumes
    best_score: float = -1.0
    best_epoch: int = -1
    rounds_without_better: int = 0
    stopped: bool = False
    validations: list[dict[str, float]] = field(default_factory=list)


def save_state(folder: Path, model: Any, optimizer: torch.optim.Optimizer, counters: Counters) -> None:
    """Write the state whole or not at all."""
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in trainable(model).items():
        tensors[f"weight/{name}"] = parameter.detach()
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{moment}/{name}"] = torch.as_tensor(value).detach()
    with atomic_path(folder / STATE) as path:
        save_file(
            {key: value.contiguous() for key, value in tensors.items()},
            path,
            metadata={"counters": json.dumps(asdict(counters))},
        )


def load_state(folder: Path, model: Any, optimizer: torch.optim.Optimizer) -> Counters:
    """Put weights and moments back; fresh counters when there is no state."""
    path = folder / STATE
    if not path.exists():
        return Counters()
    try:
        with safe_open(path, framework="pt") as file:
            counters = Counters(**json.loads(file.metadata()["counters"]))
        tensors = load_file(path)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error}); remove it to train this run from its start") from error
    state: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        kind, name = key.split("/", 1)
        state.setdefault(name, {})[kind] = value
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            parameter.copy_(state[name].pop("weight"))
            if state[name]:  # `step` stays where the optimizer keeps it, on the CPU
                optimizer.state[parameter] = {
                    kind: value if kind == "step" else value.to(parameter) for kind, value in state[name].items()
                }
    return counters


def save_best(folder: Path, model: Any) -> None:
    """Keep the trained weights of the best validation so far."""
    with atomic_path(folder / BEST) as path:
        save_file({name: parameter.detach().contiguous() for name, parameter in trainable(model).items()}, path)


def load_best(folder: Path, model: Any) -> None:
    """Put the best weights into the model."""
    arrays = read_arrays(folder / BEST)
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            parameter.copy_(torch.from_numpy(arrays[name]))
