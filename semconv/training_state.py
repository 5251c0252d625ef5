"""The state of a training in one file, from which a killed training continues: weights, moments of Adam, and counters."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from semconv.artifacts import atomic_path
from semconv.errors import InputError

_MOMENTS: Final = ("step", "exp_avg", "exp_avg_sq")


def write_state(path: Path, tensors: Mapping[str, Tensor], **notes: Any) -> None:
    """Write tensors and notes atomically. Notes are values that JSON can hold, such as counters."""
    plain = {name: value.detach().contiguous().cpu() for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(plain, temporary, metadata={name: json.dumps(value) for name, value in notes.items()})


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the notes of a state, within ``damage_named``."""
    with safe_open(path, framework="pt") as file:
        notes = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
    return load_file(path), notes


@contextlib.contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Raise InputError with the path of the state if what is read from it is not what ``write_state`` wrote."""
    try:
        yield
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{path}: damaged ({error}); delete the file to restart this training") from error


def adam_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the weights of a model and their moments by name: ``weight/NAME``, ``exp_avg/NAME``, ..."""
    tensors: dict[str, Tensor] = {}
    for name, weight in model.named_parameters():
        tensors[f"weight/{name}"] = weight
        for moment, value in optimizer.state.get(weight, {}).items():
            tensors[f"{moment}/{name}"] = torch.as_tensor(value)
    return tensors


@torch.no_grad()
def restore_adam(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Set the weights of a model and their moments to those of ``adam_tensors``, for a state after at least one step."""
    for name, weight in model.named_parameters():
        weight.copy_(tensors[f"weight/{name}"])
        moments = {moment: tensors[f"{moment}/{name}"] for moment in _MOMENTS}
        # The optimizer keeps its step count on the CPU.
        optimizer.state[weight] = {
            kind: value if kind == "step" else value.to(weight) for kind, value in moments.items()
        }
