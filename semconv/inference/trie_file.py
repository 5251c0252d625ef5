"""The code trie as a file that processes map into memory: they share its pages, and none reads what it does not touch."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.artifacts import map_arrays, write_arrays
from semconv.errors import InputError
from semconv.inference.trie import CodeTrie

_CHECKSUM = "checksum"


def save_trie(path: Path, trie: CodeTrie) -> None:
    """Write a trie as safetensors, whole or not at all; which items are closed is no part of it.

    With four levels of 256 codes an item takes 4 bytes for itself, 1 for its last code, at most 5 for the node
    above, and 8 for a leaf of several items.
    """
    arrays: dict[str, NDArray[Any]] = {
        "row_items": trie.row_items,
        "shared_leaves": trie.shared_leaves,
        "shared_extra": trie.shared_extra,
    }
    for depth in range(trie.levels):
        arrays[f"child_offsets_{depth}"] = trie.child_offsets[depth]
        arrays[f"child_codes_{depth}"] = trie.child_codes[depth]
    write_arrays(path, {**arrays, _CHECKSUM: np.array([_checksum(arrays)], dtype=np.uint32)})


def open_trie(path: Path) -> CodeTrie:
    """Map a saved trie into memory.

    Raises:
        InputError: no such file, one that is no trie, or one whose content has changed since it was written.
    """
    arrays = map_arrays(path)
    try:
        expected = int(arrays.pop(_CHECKSUM)[0])
        levels = (len(arrays) - 3) // 2
        trie = CodeTrie(
            arrays["row_items"],
            tuple(arrays[f"child_offsets_{depth}"] for depth in range(levels)),
            tuple(arrays[f"child_codes_{depth}"] for depth in range(levels)),
            arrays["shared_leaves"],
            arrays["shared_extra"],
        )
    except (KeyError, IndexError) as error:
        raise InputError(f"{path}: not a code trie ({error} is missing); remove it, it is built again") from error
    if levels < 1 or _checksum(arrays) != expected:
        raise InputError(f"{path}: its content is not what was written; remove it, it is built again")
    return trie


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> int:
    value = 0
    for name in sorted(arrays):
        value = zlib.crc32(arrays[name].data, zlib.crc32(name.encode(), value))
    return value
