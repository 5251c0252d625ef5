"""The index of words of the catalogue, in a file that processes map into memory."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator

from semconv.artifacts import map_rebuilt_arrays, write_rebuilt_arrays
from semconv.data.store import Catalog, ItemFacets
from semconv.errors import InputError
from semconv.questions.index import ItemTexts, WordIndex
from semconv.runs.files import WORDS
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace

_FORMAT = b"words 1"
_MANY_ITEMS = 100_000  # an index of so many items takes seconds


def word_index(workspace: Workspace, lineage: Lineage | None, catalog: Catalog, facets: ItemFacets) -> WordIndex:
    """Return the index of the words of all items.

    The file of the index lies in the folder of the text vectors. It is built if it is missing or damaged, or if the text
    of an item changed since. Without text vectors the index is built in memory.
    """
    texts = ItemTexts(catalog.titles, (catalog.descriptions, facets.brands), facets.categories)
    record = None if lineage is None else lineage.text
    if record is None:
        return WordIndex.build(texts)
    path, source = workspace.book.folder(record) / WORDS, _source(texts)
    if path.exists():
        try:
            return WordIndex(**map_rebuilt_arrays(path, "index of words", source))
        except (InputError, TypeError):
            workspace.progress.say(f"{path}: damaged, or items have other texts now; rebuilding it")
    elif len(catalog) >= _MANY_ITEMS:
        workspace.progress.say(f"indexing the words of {len(catalog):,} items, once for this catalogue")
    index = WordIndex.build(texts)
    write_rebuilt_arrays(path, {field.name: getattr(index, field.name) for field in dataclasses.fields(index)}, source)
    return index


def _source(texts: ItemTexts) -> bytes:
    """Return a digest of the texts of all items."""
    digest = hashlib.sha256(_FORMAT)
    for text in _every_text(texts):
        digest.update(b"\0" if text is None else text.encode() + b"\1")
    return digest.digest()


def _every_text(texts: ItemTexts) -> Iterator[str | None]:
    yield from texts.titles
    for column in texts.others:
        yield from column
    for names in texts.kinds:
        yield from names or ()
        yield None
