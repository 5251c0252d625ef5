"""Saving a code trie to a file, and mapping the file into memory.

All processes that map the file share its memory. The operating system reads a part of the file when it is first used.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.artifacts import map_rebuilt_arrays, write_rebuilt_arrays
from semconv.errors import InputError
from semconv.search.trie import CodeTrie


def codes_source(codes: NDArray[Any], item_index: NDArray[Any], popularity: NDArray[Any]) -> bytes:
    """Return a digest of the arrays from which a trie is built."""
    digest = hashlib.sha256()
    for array in (codes, item_index, popularity):
        digest.update(str((array.dtype, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def save_trie(path: Path, trie: CodeTrie, source: bytes = b"") -> None:
    """Write a trie as safetensors, without ``openness``. The file appears under its name when it is complete.

    With four levels of 256 codes an item takes 4 bytes for its index, 1 byte for its last code and at most 5 bytes for
    the node above it. A leaf with several items takes 8 more bytes.

    Args:
        source: digest of ``codes_source``. ``open_trie`` compares it, to detect a trie that was built from other codes.
    """
    arrays: dict[str, NDArray[Any]] = {
        "row_items": trie.row_items,
        "shared_leaves": trie.shared_leaves,
        "shared_extra": trie.shared_extra,
    }
    for depth in range(trie.levels):
        arrays[f"child_offsets_{depth}"] = trie.child_offsets[depth]
        arrays[f"child_codes_{depth}"] = trie.child_codes[depth]
    write_rebuilt_arrays(path, arrays, source)


def open_trie(path: Path, source: bytes | None = None) -> CodeTrie:
    """Map a saved trie into memory.

    Raises:
        InputError: the file is missing, is no trie, has changed since it was written, or has another ``source``.
    """
    arrays = map_rebuilt_arrays(path, "code trie", source)
    try:
        levels = (len(arrays) - 3) // 2
        trie = CodeTrie(
            arrays["row_items"],
            tuple(arrays[f"child_offsets_{depth}"] for depth in range(levels)),
            tuple(arrays[f"child_codes_{depth}"] for depth in range(levels)),
            arrays["shared_leaves"],
            arrays["shared_extra"],
        )
    except KeyError as error:
        raise InputError(
            f"{path}: not a code trie ({error} is missing); delete the file, and the next run builds it again"
        ) from error
    if levels < 1:
        raise InputError(f"{path}: a code trie without levels; delete the file, and the next run builds it again")
    return trie
