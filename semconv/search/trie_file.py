"""The code trie as a file that processes map into memory: they share its pages, and none reads what it does not touch."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.artifacts import map_arrays, write_arrays
from semconv.errors import InputError
from semconv.search.trie import CodeTrie

_CHECKSUM, _SOURCE = "checksum", "source"


def codes_source(codes: NDArray[Any], item_index: NDArray[Any], popularity: NDArray[Any]) -> bytes:
    """A digest of what a trie is built from."""
    digest = hashlib.sha256()
    for array in (codes, item_index, popularity):
        digest.update(str((array.dtype, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def save_trie(path: Path, trie: CodeTrie, source: bytes = b"") -> None:
    """Write a trie as safetensors, whole or not at all; which items are closed is no part of it.

    Args:
        source: of ``codes_source``, so that a file of other codes is not taken for this one.

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
    arrays[_SOURCE] = np.frombuffer(source, dtype=np.uint8)
    write_arrays(path, {**arrays, _CHECKSUM: np.array([_checksum(arrays)], dtype=np.uint32)})


def open_trie(path: Path, source: bytes | None = None) -> CodeTrie:
    """Map a saved trie into memory.

    Raises:
        InputError: no such file, one that is no trie, one whose content has changed since it was written, or
            one of another ``source``.
    """
    arrays = map_arrays(path)
    try:
        expected = int(arrays.pop(_CHECKSUM)[0])
        made_from = arrays[_SOURCE].tobytes()
        levels = (len(arrays) - 4) // 2
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
    if source is not None and made_from != source:
        raise InputError(f"{path}: a trie of other codes; remove it, it is built again")
    return trie


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> int:
    value = 0
    for name in sorted(arrays):
        value = zlib.crc32(arrays[name].data, zlib.crc32(name.encode(), value))
    return value
