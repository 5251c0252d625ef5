"""Build prompts from pieces that are tokenized once. The token ids equal those of the whole prompt.

Code tokens are added tokens of the tokenizer. A tokenizer splits a text at added tokens, and tokenizes the words
between two added tokens without looking at the rest of the text. So each fixed piece (the head before a history, the
separator between items, the tail after the history) is tokenized once, next to a code token. A prompt is a
concatenation of such pieces.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.columns import code_token
from semconv.errors import InputError
from semconv.ragged import lengths_of
from semconv.tasks.history_tasks import HISTORY_TASKS, SEQUENTIAL
from semconv.tasks.text_tasks import QUERY
from semconv.tasks.wordings import HISTORY_HEADS, SEPARATOR, closing, opening

_PROMPTS_AT_ONCE = 4096


class PromptEncoder:
    """The token ids of I items and of the fixed pieces of prompts, for one tokenizer and one set of codes."""

    def __init__(
        self,
        tokenizer: Any,
        level_tokens: NDArray[np.int64],
        item_index: NDArray[np.int32],
        codes: NDArray[np.uint16],
        num_items: int,
    ) -> None:
        """Tokenize the fixed pieces of prompts.

        Args:
            level_tokens: ``(N, C)`` token id of each code.
            item_index: ``(M,)`` items that have codes.
            codes: ``(M, N)`` their codes.
        Raises:
            InputError: the tokenizer splits code tokens.
        """
        self.tokenizer = tokenizer
        self.num_levels = codes.shape[1]
        self.codes = np.full((num_items, self.num_levels), -1, dtype=np.int64)  # (I, N)
        self.codes[item_index] = codes
        self.end = int(tokenizer.eos_token_id)
        first, last = code_token(0, 0), code_token(self.num_levels - 1, 0)
        first_id, last_id = int(level_tokens[0, 0]), int(level_tokens[-1, 0])
        self.heads = [self._before(opening(head), first, first_id) for head in HISTORY_HEADS]
        self.separator = self._after(SEPARATOR, last, last_id)
        self.tails = {  # by task name, one array for each tail
            task.name: [self._after(closing(tail), last, last_id) for tail in task.tails] for task in HISTORY_TASKS
        }
        width = self.num_levels + len(self.separator)
        self.separated_tokens = np.full((num_items, width), -1, dtype=np.int64)  # (I, N + S): codes, then separator
        self.item_tokens = self.separated_tokens[:, : self.num_levels]  # (I, N), -1 for items without codes
        self.item_tokens[item_index] = level_tokens[np.arange(self.num_levels), codes.astype(np.int64)]
        self.separated_tokens[:, self.num_levels :] = self.separator

    @property
    def has_codes(self) -> NDArray[np.bool_]:
        """A mask ``(I,)`` of the items that have codes. Only items with codes can be in a prompt."""
        return self.item_tokens[:, 0] >= 0

    def trunk(self, items: NDArray[np.int32], head: int) -> NDArray[np.int64]:
        """Return the tokens that several prompts share: a head, and a history with separators between its items."""
        body = self.separated_tokens[items].ravel()
        return np.concatenate([self.heads[head], body[: max(0, body.size - len(self.separator))]])

    def inference_prompt(self, items: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the paper's inference prompt for a history of items that all have codes."""
        return np.concatenate([self.trunk(items, 0), self.tails[SEQUENTIAL.name][0]])

    def query_prompt(self, text: str) -> NDArray[np.int64]:
        """Return the tokens of the prompt for a user's query, in the first wording of the query task."""
        return self.tokenize([QUERY.prompt([text], 0)])[0]

    def tokenize(self, prompts: Iterable[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the token ids of n prompts, one after the other ``(T,)``, and the length of each ``(n,)``."""
        tokens, lengths = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        stream = iter(prompts)
        while batch := list(itertools.islice(stream, _PROMPTS_AT_ONCE)):
            found = self.tokenizer(batch, return_attention_mask=False, return_token_type_ids=False)["input_ids"]
            found = [ids[:-1] if ids and ids[-1] == self.end else ids for ids in found]  # labels add the end token
            lengths.append(lengths_of(found))
            tokens.append(np.fromiter(itertools.chain.from_iterable(found), np.int64, int(lengths[-1].sum())))
        return np.concatenate(tokens), np.concatenate(lengths)

    def item_text(self, item: int) -> str:
        """Return the code tokens of an item as text."""
        return "".join(code_token(level, int(code)) for level, code in enumerate(self.codes[item]))

    def history_text(self, items: NDArray[np.int32]) -> str:
        """Return a history as text: the code tokens of its items, with separators between them."""
        return SEPARATOR.join(self.item_text(int(item)) for item in items)

    def _before(self, text: str, token: str, token_id: int) -> NDArray[np.int64]:
        return self._split(text + token, token_id)[0]

    def _after(self, text: str, token: str, token_id: int) -> NDArray[np.int64]:
        return self._split(token + text + token, token_id)[1]

    def _split(self, text: str, token_id: int) -> list[NDArray[np.int64]]:
        """Tokenize ``text``, and return the token ids of its pieces before, between and after each ``token_id``."""
        ids = np.array(self.tokenizer(text)["input_ids"], dtype=np.int64)
        at = np.flatnonzero(ids == token_id)
        if len(at) == 0:
            raise InputError("the backbone's tokenizer splits code tokens into parts; use another backbone")
        return np.split(ids, np.sort(np.concatenate([at, at + 1])))[::2]
