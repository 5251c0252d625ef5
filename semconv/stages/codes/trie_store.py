"""The code trie of the codes in force as a file that every process of a job, and the next job, maps into memory."""

from __future__ import annotations

from pathlib import Path

from semconv import columns
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.runs.workspace import Context, ItemCodes
from semconv.search.trie import CodeTrie
from semconv.search.trie_file import codes_source, open_trie, save_trie

TRIE = "trie.safetensors"


def trie_file(context: Context, finetune: RunRecord, codes: ItemCodes) -> Path:
    """The trie's file, in the folder of the run that gave the latest of the codes.

    Built where it is missing, damaged or of other codes; the last two are said.
    """
    codebook = context.input_of(finetune, columns.CODEBOOK)
    path = context.book.folder((codebook, *context.assigns_of(codebook))[-1]) / TRIE
    source = codes_source(codes.codes, codes.item_index, codes.popularity)
    if path.exists():
        try:
            open_trie(path, source)
        except InputError as error:
            context.progress.say(f"{str(error).split(';')[0]}; it is built again")
        else:
            return path
    save_trie(path, CodeTrie.build(codes.codes, codes.item_index, codes.popularity), source)
    return path
