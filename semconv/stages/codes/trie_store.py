"""The file of the code trie. Every process of this job and of later jobs maps this file into memory."""

from __future__ import annotations

from pathlib import Path

from semconv.errors import InputError
from semconv.runs.files import TRIE
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.search.trie import CodeTrie
from semconv.search.trie_file import codes_source, open_trie, save_trie
from semconv.stages.codes.item_codes import ItemCodes


def trie_file(workspace: Workspace, lineage: Lineage, codes: ItemCodes) -> Path:
    """Return the file of the code trie, in the folder of the newest run that made codes.

    The trie is built if the file is missing, is damaged, or belongs to other codes. A message says if the file was
    damaged or belonged to other codes.

    Args:
        codes: the current codes of the lineage.
    """
    path = workspace.book.folder(lineage.code_runs[-1]) / TRIE
    source = codes_source(codes.codes, codes.item_index, codes.popularity)
    if path.exists():
        try:
            open_trie(path, source)
        except InputError as error:
            workspace.progress.say(f"{str(error).split(';')[0]}; rebuilding it")
        else:
            return path
    save_trie(path, CodeTrie.build(codes.codes, codes.item_index, codes.popularity), source)
    return path
