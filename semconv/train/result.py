"""The result of a training elsewhere, in the folder of its pack: the trained weights, the step log and the figures.

The weights and the figures may come from anybody, so the project checks all of them before it uses one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from semconv import __version__
from semconv.artifacts import file_digest, write_bytes
from semconv.errors import InputError
from semconv.item_head.parts import NAME
from semconv.modes import OWNER_FILE
from semconv.runs.files import STEPS
from semconv.train.pack import TRAINING, Pack, load_weights, read_pack_json, require_plain_file, write_weights
from semconv.train.task import TuningTask
from semconv.train.training import TOO_LONG, Trained
from semconv.tuning.model import trainable
from semconv.tuning.step_log import read_steps
from semconv.tuning.validation_score import NDCG, SUCCESSOR_FACTOR

RESULT: Final = "result.json"  # written last
TRAINED: Final = "trained.safetensors"
_FORMAT: Final = 1
_STEPS: Final = f"{TRAINING}/{STEPS}"
_MOST_BYTES_OF_STEPS: Final = 1 << 28
_TRAIN: Final = "train it with `python -m semconv.train DIR`"
_AGAIN: Final = f"copy the result again, or remove {RESULT} and {_TRAIN}"
Check = Callable[[Any], bool]


@dataclass(frozen=True)
class Result:
    """A complete result.

    Attributes:
        pack: the pack that it was trained from.
        figures: the figures of the training.
        steps: the lines of the step log.
    """

    pack: Pack
    figures: Mapping[str, Any]
    steps: list[dict[str, Any]]

    def model(self, task: TuningTask) -> Trained:
        """Return the trained model with its figures; raise InputError if its weights cannot be those of this task."""
        start = self.pack.model(task)
        if start.rows is not None:
            start.rows.fold()
        factor = self.figures.get(SUCCESSOR_FACTOR)
        if factor is not None and task.setup is not None:
            # The result has only the weights that training changes; the factor is none of them.
            getattr(start.model, NAME).multiply_successors(factor)
        load_weights(self.pack.folder / TRAINED, trainable(start.model), _AGAIN)
        return Trained(start.model, dict(self.figures))


def write_result(pack: Pack, trained: Trained) -> None:
    """Write the trained weights and the figures into the folder of the pack."""
    folder = pack.folder
    write_weights(folder / TRAINED, trainable(trained.model))
    figures = {**trained.figures, TOO_LONG: {str(epoch): count for epoch, count in trained.figures[TOO_LONG].items()}}
    content = {
        "format": _FORMAT,
        "version": __version__,
        "pack": pack.pack_id,
        "pack_digest": pack.digest,
        "files": {name: file_digest(folder / name) for name in (TRAINED, _STEPS)},
        "figures": figures,
    }
    write_bytes(folder / RESULT, json.dumps(content, indent=1, sort_keys=True, allow_nan=False).encode(), OWNER_FILE)


def has_result(pack: Pack) -> bool:
    """Return whether the folder of a pack has a result."""
    return (pack.folder / RESULT).exists()


def read_result(pack: Pack) -> Result:
    """Read the result in the folder of a pack, but not yet the weights.

    Raises:
        InputError: there is no result, it belongs to another pack, or a file of it is damaged.
    """
    path = pack.folder / RESULT
    content = read_pack_json(path, f"this pack has no result yet; {_TRAIN}")
    if content.get("format") != _FORMAT:
        raise InputError(f"{path}: written by another version of semconv; install the same version on both machines")
    if (content.get("pack"), content.get("pack_digest")) != (pack.pack_id, pack.digest):
        raise InputError(f"{path}: the result of another pack, or of a pack that was changed since; {_AGAIN}")
    files = content.get("files")
    if not isinstance(files, dict) or set(files) != {TRAINED, _STEPS}:
        raise InputError(f"{path}: damaged; {_AGAIN}")
    for name, digest in files.items():
        require_plain_file(pack.folder / name, f"missing; {_AGAIN}", _MOST_BYTES_OF_STEPS if name == _STEPS else None)
        if file_digest(pack.folder / name) != digest:
            raise InputError(f"{pack.folder / name}: damaged: its checksum is not the one in {RESULT}; {_AGAIN}")
    figures = content.get("figures")
    _require(path, figures, _FIGURES)
    steps = read_steps(pack.folder / TRAINING)
    for step in steps:
        _require(pack.folder / _STEPS, step, _STEP)
    assert isinstance(figures, dict)
    return Result(pack, figures, steps)


def _require(path: Path, found: Any, wanted: Mapping[str, Check]) -> None:
    """Raise InputError if ``found`` has other keys than ``wanted``, or a value that its check refuses."""
    if not isinstance(found, dict) or set(found) != set(wanted):
        raise InputError(f"{path}: its figures are not those of a training; {_AGAIN}")
    wrong = sorted(name for name, is_right in wanted.items() if not is_right(found[name]))
    if wrong:
        raise InputError(f"{path}: {wrong[0]} has a value that a training cannot have; {_AGAIN}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_score(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_amount(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _are_validations(value: Any) -> bool:
    wanted = {"epoch": _is_count, "step": _is_count, NDCG: _is_score, SUCCESSOR_FACTOR: _is_amount}
    return isinstance(value, list) and all(
        isinstance(row, dict)
        and set(row) | {SUCCESSOR_FACTOR} == set(wanted)
        and all(wanted[name](of_row) for name, of_row in row.items())
        for row in value
    )


def _are_counts_of_epochs(value: Any) -> bool:
    return isinstance(value, dict) and all(name.isdecimal() and _is_count(count) for name, count in value.items())


def _are_losses(value: Any) -> bool:
    from semconv.tasks.registry import TASK_NAMES

    return isinstance(value, dict) and set(value) <= set(TASK_NAMES) and all(map(_is_number, value.values()))


_FIGURES: Final[Mapping[str, Check]] = {
    "epochs": _is_count,
    "steps": _is_count,
    "samples": _is_count,
    "seconds": _is_amount,
    "processor_seconds": _is_amount,
    "best_epoch": lambda value: value == -1 or _is_count(value),
    "best_ndcg": lambda value: value is None or _is_score(value),
    "validations": _are_validations,
    "is_reproducible": lambda value: isinstance(value, bool),
    SUCCESSOR_FACTOR: lambda value: value is None or _is_amount(value),
    TOO_LONG: _are_counts_of_epochs,
}
_STEP: Final[Mapping[str, Check]] = {
    "step": _is_count,
    "epoch": _is_count,
    "loss": _is_number,
    "losses": _are_losses,
    "learning_rate": _is_amount,
    "gradient_norm": _is_amount,
    "samples": _is_count,
    "tokens": _is_count,
    "seconds": _is_number,
}
