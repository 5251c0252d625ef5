"""Pieces of prompts as token ids, so that a prompt built from pieces equals the tokenized text.

Code tokens are added tokens: a tokenizer splits the text at them, so what stands between two of them
is tokenized by itself. Head, separator and tails are therefore tokenized once, in the place where
they stand, and prompts are put together as arrays.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.columns import code_token
from semconv.errors import InputError
from semconv.ragged import lengths_of, offsets_of
from semconv.tasks import wordings

_PROMPTS_AT_ONCE = 4096
_TAG = re.compile(r"<([^\s<>]+)>")  # a code token, an end of text, whatever else a tokenizer may hold as a tag


class PromptEncoder:
    """Token ids of items and of the fixed pieces, for one tokenizer and one set of codes."""

    def __init__(
        self,
        tokenizer: Any,
        level_tokens: NDArray[np.int64],
        item_index: NDArray[np.int32],
        codes: NDArray[np.uint16],
        num_items: int,
    ) -> None:
        """``level_tokens`` ``(N, C)``; ``item_index`` ``(M,)``; ``codes`` ``(M, N)``."""
        self.tokenizer = tokenizer
        self.num_levels = codes.shape[1]
        self.codes = np.full((num_items, self.num_levels), -1, dtype=np.int64)  # (I, N)
        self.codes[item_index] = codes
        self.end = int(tokenizer.eos_token_id)
        first, last = code_token(0, 0), code_token(self.num_levels - 1, 0)
        first_id, last_id = int(level_tokens[0, 0]), int(level_tokens[-1, 0])
        self.heads = [self._before(wordings.opening(head), first, first_id) for head in wordings.HISTORY_HEADS]
        self.separator = self._after(wordings.SEPARATOR, last, last_id)
        self.sequential_tails = [
            self._after(wordings.closing(tail), last, last_id) for tail in wordings.SEQUENTIAL_TAILS
        ]
        self.negative_tails = [self._after(wordings.closing(tail), last, last_id) for tail in wordings.NEGATIVE_TAILS]
        self.steps = np.full((num_items, self.num_levels + len(self.separator)), -1, dtype=np.int64)  # (I, N + sep)
        self.steps[item_index, : self.num_levels] = level_tokens[np.arange(self.num_levels), codes.astype(np.int64)]
        self.steps[:, self.num_levels :] = self.separator
        self.item_tokens = self.steps[:, : self.num_levels]  # (I, N), -1 without codes; steps: and the separator

    @property
    def has_codes(self) -> NDArray[np.bool_]:
        """``(I,)`` items that a prompt can name."""
        return self.item_tokens[:, 0] >= 0

    def trunk(self, items: NDArray[np.int32], head: int) -> NDArray[np.int64]:
        """Head and history, items joined by the separator."""
        body = self.steps[items].ravel()
        return np.concatenate([self.heads[head], body[: max(0, body.size - len(self.separator))]])

    def inference_prompt(self, items: NDArray[np.int32]) -> NDArray[np.int64]:
        """The paper's inference prompt for a history of items that all have codes."""
        return np.concatenate([self.trunk(items, 0), self.sequential_tails[0]])

    def query_prompt(self, text: str) -> NDArray[np.int64]:
        """The query task's first wording around a user's words."""
        return self.tokenize([query_text(text, 0)])[0]

    def tokenize(self, prompts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Token ids of whole prompts."""
        tokens, lengths = self.tokenize_flat(prompts)
        return np.split(tokens, offsets_of(lengths)[1:-1]) if len(lengths) else []

    def tokenize_flat(self, prompts: Iterable[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Token ids of whole prompts one after the other ``(T,)`` and how many each has ``(n,)``."""
        tokens, lengths = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        stream = iter(prompts)
        while some := list(itertools.islice(stream, _PROMPTS_AT_ONCE)):
            found = self.tokenizer(some, return_attention_mask=False, return_token_type_ids=False)["input_ids"]
            found = [
                ids[:-1] if ids and ids[-1] == self.end else ids for ids in found
            ]  # the label ends, not the prompt
            lengths.append(lengths_of(found))
            tokens.append(np.fromiter(itertools.chain.from_iterable(found), np.int64, int(lengths[-1].sum())))
        return np.concatenate(tokens), np.concatenate(lengths)

    def item_text(self, item: int) -> str:
        """An item as text: its code tokens."""
        return "".join(code_token(level, int(code)) for level, code in enumerate(self.codes[item]))

    def history_text(self, items: NDArray[np.int32]) -> str:
        """A history as text."""
        return wordings.SEPARATOR.join(self.item_text(int(item)) for item in items)

    def _before(self, text: str, token: str, token_id: int) -> NDArray[np.int64]:
        return self._split(text + token, token_id)[0]

    def _after(self, text: str, token: str, token_id: int) -> NDArray[np.int64]:
        return self._split(token + text + token, token_id)[1]

    def _split(self, text: str, token_id: int) -> list[NDArray[np.int64]]:
        """Token ids of the pieces of ``text`` around each ``token_id``."""
        ids = np.array(self.tokenizer(text)["input_ids"], dtype=np.int64)
        places = np.flatnonzero(ids == token_id)
        if len(places) == 0:
            raise InputError("the backbone's tokenizer does not keep code tokens whole; it cannot be used")
        return np.split(ids, np.sort(np.concatenate([places, places + 1])))[::2]


def clean(text: str) -> str:
    """A user's or a catalogue's words without anything that would read as a code token or another tag."""
    while (bare := _TAG.sub(r"\1", text)) != text:  # the outer of nested brackets would make a tag of its own
        text = bare
    return text.strip()


def query_text(text: str, wording: int) -> str:
    """The prompt of the query task."""
    words = wordings.QUERY_WORDINGS[wording]
    return wordings.opening(words.before) + clean(text) + wordings.closing(words.after)


def text_text(title: str | None, description: str | None, wording: int) -> str:
    """The prompt of the text task; with either title or description missing, the other stands alone."""
    words = wordings.TEXT_WORDINGS[wording]
    title, description = clean(title or ""), clean(description or "")
    if title and description:
        return wordings.opening(words.before) + title + words.between + description + wordings.closing(words.after)
    return wordings.opening(words.before) + (title or description) + wordings.closing(words.alone)
