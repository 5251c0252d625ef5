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
from semconv.ragged import Ints, lengths_of
from semconv.tasks.dates import TOKENS_OF_EVENT, DateTokens
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
        dates: DateTokens | None = None,
    ) -> None:
        """Tokenize the fixed pieces of prompts.

        Args:
            level_tokens: ``(N, C)`` token id of each code.
            item_index: ``(M,)`` items that have codes.
            codes: ``(M, N)`` their codes.
            dates: the tokens of dates; None for histories without dates.
        Raises:
            InputError: the tokenizer splits code tokens.
        """
        self.tokenizer = tokenizer
        self.dates = dates
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
        num_dates = 0 if dates is None else TOKENS_OF_EVENT
        width = self.num_levels + num_dates + len(self.separator)
        # (I, N + 2 + S): codes, the place of the two tokens of an event's date, if there are dates, then the separator
        self.separated_tokens = np.full((num_items, width), -1, dtype=np.int64)
        self.item_tokens = self.separated_tokens[:, : self.num_levels]  # (I, N), -1 for items without codes
        self.item_tokens[item_index] = level_tokens[np.arange(self.num_levels), codes.astype(np.int64)]
        self.separated_tokens[:, self.num_levels + num_dates :] = self.separator

    @property
    def has_codes(self) -> NDArray[np.bool_]:
        """A mask ``(I,)`` of the items that have codes. Only items with codes can be in a prompt."""
        return self.item_tokens[:, 0] >= 0

    @property
    def num_waits(self) -> int:
        """The number of rows of the days between a history and the question; 1 without dates."""
        return 1 if self.dates is None else len(self.dates.waits)

    def tail(self, task: str, number: int, wait: int = 0) -> Ints:
        """Return the tokens after a history: with dates the token of the wait, then the tail of a task."""
        tokens: Ints = self.tails[task][number]
        return tokens if self.dates is None else np.concatenate([self.dates.waits[wait : wait + 1], tokens])

    def trunk(self, items: NDArray[np.int32], head: int, dates: Ints | None = None) -> NDArray[np.int64]:
        """Return the tokens that several prompts share: a head, and a history with separators between its items.

        Args:
            dates: ``(n, 2)`` tokens of the dates of the n items (``DateTokens.of_events``); None without dates.
        """
        body = self.separated_tokens[items]
        if dates is not None:
            body[:, self.num_levels : self.num_levels + TOKENS_OF_EVENT] = dates
        return np.concatenate([self.heads[head], body.ravel()[: max(0, body.size - len(self.separator))]])

    def inference_prompt(self, items: NDArray[np.int32], dates: Ints | None = None, wait: int = 0) -> NDArray[np.int64]:
        """Return the paper's inference prompt for a history of items that all have codes.

        Args:
            dates: ``(n, 2)`` tokens of the dates of the items; None without dates.
            wait: row of the days between the last item and the moment of asking.
        """
        return np.concatenate([self.trunk(items, 0, dates), self.tail(SEQUENTIAL.name, 0, wait)])

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

    def history_text(self, items: NDArray[np.int32], dates: Ints | None = None, wait: int = 0) -> str:
        """Return a history as text: the code tokens of its items, with separators between them, and its dates.

        The docstring of ``inference_prompt`` describes the arguments.
        """
        texts = [self.item_text(int(item)) for item in items]
        if self.dates is None or dates is None:
            return SEPARATOR.join(texts)
        names = [self.tokenizer.convert_ids_to_tokens(row) for row in dates.tolist()]
        dated = SEPARATOR.join("".join([text, *of]) for text, of in zip(texts, names, strict=True))
        return dated + str(self.tokenizer.convert_ids_to_tokens(int(self.dates.waits[wait])))

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
