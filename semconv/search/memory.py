"""How many prompts the model reads at once: as many as free memory holds, fewer where that was too many after all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from semconv.backbone.forward import decoder, model_device
from semconv.errors import InputError, MachineError
from semconv.ragged import lengths_of

# What a batch may take of the memory that is free when the search starts.
_SHARE = 0.5
_REFUSALS = ("can't allocate memory", "not enough memory", "out of memory")


class Batches:
    """Prompts in batches of like length, longest first, so that padding is small and memory trouble shows at once.

    Args:
        tokens: bound of ``batch x width``; one prompt alone may pass it. It halves for good when memory runs out.
        say: where that is said.
    """

    def __init__(self, tokens: int, say: Callable[[str], None]) -> None:
        self.tokens = tokens
        self._say = say

    def run(
        self, prompts: Sequence[NDArray[Any]], step_tokens: int, compute: Callable[[NDArray[np.int64]], None]
    ) -> None:
        """Call ``compute`` with the indices of each batch.

        Args:
            prompts: token ids, each at least one.
            step_tokens: tokens a prompt feeds later side by side; they count like prompt tokens.
            compute: may be called again with fewer indices of a batch that memory did not hold.

        Raises:
            InputError: a prompt is empty.
            MachineError: memory does not even hold one prompt.
        """
        lengths = lengths_of(prompts)
        if len(lengths) and lengths.min() < 1:
            raise InputError(f"prompt {int(lengths.argmin())} is empty; a prompt has at least one token")
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order):
            width = max(int(lengths[order[start]]), step_tokens)
            rows = order[start : start + max(1, self.tokens // width)]
            if _fits(compute, rows):
                start += len(rows)
                continue
            if len(rows) == 1:
                raise MachineError(
                    f"memory does not hold the search for one prompt of {lengths[rows[0]]} tokens;"
                    " free some, or set fewer recommend.beams or a shorter split.history_length"
                )
            self.tokens = width * (len(rows) // 2)
            self._say(f"out of memory with {len(rows)} prompts at once; going on with {len(rows) // 2}")


def tokens_that_fit(model: Any, codes: int, most: int) -> int:
    """Prompt tokens of a batch, ``most`` at most, that half of the free memory holds.

    Args:
        codes: C, codes of a level; a beam's scores of them count like a prompt token.
    """
    free = free_bytes(model_device(model))
    if free is None:
        return most
    stack: Any = decoder(model)
    config = stack.config
    head_width: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    kept = 2 * config.num_hidden_layers * config.num_key_value_heads * head_width
    passing = 8 * config.hidden_size + 4 * config.intermediate_size
    token_bytes = (kept + passing) * next(model.parameters()).element_size() + 40 * codes
    return int(max(1, min(most, _SHARE * free // token_bytes)))


def free_bytes(device: torch.device) -> int | None:
    """Memory that a process can still get on a device: of the card, or of the machine or its control group; None if unknown."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = [_available(Path("/proc/meminfo")), _left_in_group(Path("/sys/fs/cgroup"))]
    return min((value for value in found if value is not None), default=None)


def _available(file: Path) -> int | None:
    try:
        lines = dict(line.split(":", 1) for line in file.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def _left_in_group(folder: Path) -> int | None:
    try:
        most, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
        stats = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(most) - int(used) + int(stats.get("inactive_file", 0))  # the kernel gives up pages of files first
    except (OSError, ValueError):  # no such group, or one without a limit
        return None


def _fits(compute: Callable[[NDArray[np.int64]], None], rows: NDArray[np.int64]) -> bool:
    try:
        compute(rows)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(words in str(error).lower() for words in _REFUSALS):
            raise
    else:
        return True
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return False
