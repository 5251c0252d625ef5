"""The batch size of a search: as many prompts as fit into free memory, and fewer after memory has run out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from semconv.backbone.forward import decoder, model_device
from semconv.errors import MachineError

# A batch may take this share of the memory that is free when the search starts.
_SHARE = 0.5
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


class Batches:
    """Cuts prompts into batches of similar length.

    The longest prompts come first. So a batch has little padding, and a lack of memory shows in the first batch.

    Args:
        tokens: largest number of prompts times padded length of a batch; a single prompt may be longer. When memory
            runs out, it is lowered for all later batches.
        say: prints a line when a batch is too large for the memory.
    """

    def __init__(self, tokens: int, say: Callable[[str], None]) -> None:
        self.tokens = tokens
        self._say = say
        self._is_too_large = False

    def cut(self, lengths: NDArray[np.int64], step_tokens: int) -> Iterator[NDArray[np.int64]]:
        """Yield the indices of the prompts of each batch.

        Compute each batch inside ``with attempt()``. A batch that does not fit into memory is yielded again in parts.

        Args:
            lengths: tokens of each prompt, at least one.
            step_tokens: tokens that the model reads after each prompt in one step of the search, one for each beam. A
                batch is sized by the larger of this number and the prompt's length.

        Raises:
            MachineError: memory does not hold a single prompt.
        """
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order):
            width = max(int(lengths[order[start]]), step_tokens)
            rows = order[start : start + max(1, self.tokens // width)]
            self._is_too_large = False
            yield rows
            if not self._is_too_large:
                start += len(rows)
                continue
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if len(rows) == 1:
                raise MachineError(
                    f"the search for one prompt of {lengths[rows[0]]} tokens does not fit into memory;"
                    " free some memory, or lower recommend.beams or split.history_length"
                )
            self.tokens = width * (len(rows) // 2)
            self._say(f"out of memory with {len(rows)} prompts in a batch; continuing with {len(rows) // 2}")

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Catch the error of a batch that is too large for the memory, and let every other error through."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and not any(words in str(error).lower() for words in _OUT_OF_MEMORY):
                raise
            self._is_too_large = True


def tokens_that_fit(model: Any, codes: int, most: int) -> int:
    """Return how many prompt tokens of a batch fit into half of the free memory, at most ``most``.

    Args:
        codes: C, number of codes of a level; the memory of a token includes the scores of that many codes.
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
    """Return how many bytes a process can still get on a device, None if that is unknown.

    For a CPU, the limit of the process's control group counts too.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = [_free_on_machine(Path("/proc/meminfo")), _free_in_group(Path("/sys/fs/cgroup"))]
    return min((value for value in found if value is not None), default=None)


def _free_on_machine(file: Path) -> int | None:
    try:
        lines = dict(line.split(":", 1) for line in file.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def _free_in_group(folder: Path) -> int | None:
    try:
        most, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
        stats = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(most) - int(used) + int(stats.get("inactive_file", 0))  # the kernel gives up pages of files first
    except (OSError, ValueError):  # no such group, or one without a limit
        return None
