"""Find the best items for users, or for queries in words, with the item head: every item is scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.backbone.forward import ModelInput, decode_hidden, model_device
from semconv.item_head.parts import ItemInputs, ItemParts
from semconv.item_head.popularity import MomentTable
from semconv.item_head.prompts import ItemPrompt, padded_inputs
from semconv.item_head.successors import SuccessorTable, latest_items
from semconv.ragged import lengths_of, padded, row_of
from semconv.search.beams import require_numbers
from semconv.search.search import ITEM_SCORE, SearchResult, SearchSettings, empty_result

_SCORES_AT_ONCE: Final = 1 << 24  # scores of one batch
_USERS_AT_ONCE: Final = 512
_ITEMS_AT_ONCE: Final = 1 << 16  # vectors that are computed together
_COLUMNS_AT_ONCE: Final = 1 << 14
_BLOCK: Final = 64  # columns of a block


@dataclass(frozen=True)
class Hidden:
    """The hidden states of B users, with what their items are scored by.

    Attributes:
        states: ``(B, D)``.
        moments: ``(B,)`` row of each user's moment in the table of popularity.
        seen: B arrays of item_index that are not proposed, or None.
        others: ``(B, n)`` item_index of items to score in any case, -1 for none.
        latest: ``(B, K)`` the latest items of each user, as ``successors.latest_items`` returns them.
    """

    states: Tensor
    moments: NDArray[np.int64]
    seen: Sequence[NDArray[Any]] | None
    others: NDArray[np.int64]
    latest: NDArray[np.int64]


@dataclass(frozen=True)
class Counted:
    """What is counted at the moment of the lists, and enters the scores beside the model's weights.

    Attributes:
        popularity: popularity of items at the moments that the prompts name.
        successors: the counts of successors, for a model that scores them.
    """

    popularity: MomentTable
    successors: SuccessorTable | None = None


class ItemSearcher:
    """Scores all items that have codes, for many users. A job creates one searcher.

    A score is the log probability of an item among all items that have codes. It does not depend on which items may be
    listed or were seen.

    Args:
        model: the decoder, in eval mode.
        parts: its item parts.
        item_index: ``(M,)`` items that have codes.
        allowed: ``(I,)`` items that may be listed.
        counted: what is counted at the moment of the lists.
        settings: length of the lists.
    """

    score_name: Final = ITEM_SCORE

    def __init__(
        self,
        model: Any,
        parts: ItemParts,
        item_index: NDArray[np.int32],
        allowed: NDArray[np.bool_],
        counted: Counted,
        settings: SearchSettings,
    ) -> None:
        self.settings = settings
        self._successors, self._num_latest = counted.successors, parts.shape.num_latest
        matrix = model.get_input_embeddings().weight
        self._model, self._device = model, model_device(model)
        self._parts = parts.to(self._device, matrix.dtype).eval()
        self._items = np.sort(item_index).astype(np.int64)  # (M,)
        self._rows = np.full(len(allowed), -1, dtype=np.int64)  # (I,) row of an item with codes
        self._rows[self._items] = np.arange(len(self._items))
        self._may_list = torch.from_numpy(allowed[self._items]).to(self._device)  # (M,)
        self._features = torch.from_numpy(counted.popularity.features[:, :, self._items]).to(
            self._device
        )  # (moments + 1, 4, M)
        with torch.inference_mode():
            index = torch.from_numpy(self._items).to(self._device)
            # Vectors with the numbers of the first moment beside them, so that one product gives the scores of a night.
            width = matrix.shape[1]
            self._joint: Tensor = matrix.new_empty(len(index), width + len(self._features[0]))  # (M, D + 4)
            self._joint[:, width:] = self._features[0].t()
            self._vectors: Tensor = self._joint[:, :width]
            for rows, part in zip(*(whole.split(_ITEMS_AT_ONCE) for whole in (self._vectors, index)), strict=True):
                rows[:] = parts.vectors(matrix, part)  # several times as large while it is computed

    def search(
        self,
        prompts: Sequence[ItemPrompt],
        seen: Sequence[NDArray[Any]] | None,
        others: NDArray[Any] | None = None,
    ) -> SearchResult:
        """Find the best items for each prompt, and also score given items; ``Searcher.search`` describes the result.

        Raises:
            InputError: the arguments differ in length, or the model yields NaN.
        """
        width = max(self.settings.width, self.settings.proposals)
        result, others = empty_result(len(prompts), width, seen, others)
        with torch.inference_mode():
            for users in self._batches(prompts):
                seen_items = None if seen is None else [seen[user] for user in users.tolist()]
                self._fill(result, users, [prompts[user] for user in users.tolist()], seen_items, others[users])
        return result

    def _batches(self, prompts: Sequence[ItemPrompt]) -> Iterator[NDArray[np.int64]]:
        """Yield the indices of the prompts of each batch: users and queries apart, similar lengths together."""
        if not len(self._items):
            return
        size = int(np.clip(_SCORES_AT_ONCE // len(self._items), 1, _USERS_AT_ONCE))
        lengths = np.array([len(prompt) for prompt in prompts], dtype=np.int64)
        is_query = np.array([len(prompt.tokens) > 0 for prompt in prompts], dtype=bool)
        for kind in (False, True):
            chosen = np.flatnonzero((lengths > 0) & (is_query == kind))
            chosen = chosen[np.argsort(lengths[chosen], kind="stable")]
            for start in range(0, len(chosen), size):
                yield chosen[start : start + size]

    def _fill(
        self,
        result: SearchResult,
        users: NDArray[np.int64],
        prompts: list[ItemPrompt],
        seen: list[NDArray[Any]] | None,
        others: NDArray[np.int64],
    ) -> None:
        """Compute a batch and write its rows into the result."""
        moments = np.array([prompt.moment for prompt in prompts])
        moments[moments < 0] = len(self._features) - 1
        latest = latest_of([prompt.items for prompt in prompts], self._num_latest)
        hidden = Hidden(self._states(prompts), moments, seen, others, latest)
        found = self.propose(hidden, result.items.shape[1])
        for whole, part in zip(result, found, strict=True):
            whole[users] = part

    def propose(self, hidden: Hidden, count: int) -> SearchResult:
        """Return the ``count`` best items for hidden states, of those that may be listed and were not seen.

        Raises:
            InputError: the model yields NaN.
        """
        scores, trained = self._scores(hidden)  # (B, M)
        total = _log_sums(scores)
        trained_total = total if trained is scores else _log_sums(trained)
        result, others = empty_result(len(scores), count, hidden.seen, hidden.others)
        rows = np.where(others >= 0, self._rows[others], -1)
        columns = torch.from_numpy(np.maximum(rows, 0)).to(self._device)
        for given, values in (
            (result.other_scores, scores.gather(1, columns) - total),
            (result.other_trained_scores, trained.gather(1, columns) - trained_total),
        ):
            given[:] = np.where(rows >= 0, values.cpu().numpy(), -np.inf)
        scores.masked_fill_(~self._may_list, -torch.inf)
        if hidden.seen is not None:
            seen = self._rows[np.concatenate([np.asarray(items, dtype=np.int64) for items in hidden.seen])]
            entry = np.repeat(np.arange(len(hidden.seen)), lengths_of(hidden.seen))
            known = seen >= 0
            scores[torch.from_numpy(entry[known]), torch.from_numpy(seen[known])] = -torch.inf
        width = min(count, scores.shape[1])
        values, found_at = best_columns(scores, width)
        best = (values - total).cpu().numpy()
        result.scores[:, :width] = best
        is_none = np.isneginf(best)
        result.items[:, :width] = np.where(is_none, -1, self._items[found_at.cpu().numpy()])
        best_trained = (trained.gather(1, found_at) - trained_total).cpu().numpy()
        result.trained_scores[:, :width] = np.where(is_none, -np.inf, best_trained)
        return result

    def _scores(self, hidden: Hidden) -> tuple[Tensor, Tensor]:
        """Return the score of every item with codes, ``(B, M)``, and the same by the weights as trained.

        A log probability is a score less the log sum exp of all scores. Both are one tensor if they are equal.
        """
        scores = trained = self._of_states(hidden.states, hidden.moments)
        followed = self._parts.successor_weights(hidden.states)
        if followed is not None and self._successors is not None:
            numbers = self._successors.numbers(hidden.latest)
            columns = self._rows[numbers.items]
            known = columns >= 0
            users = row_of(numbers.lengths)[known]
            at = torch.from_numpy(users * scores.shape[1] + columns[known]).to(self._device)
            kind = torch.from_numpy(users * followed.shape[1] + numbers.kinds[known]).to(self._device)
            values = torch.from_numpy(numbers.values[known]).to(self._device) * followed.float().flatten()[kind]
            factor = 1.0 if self._parts.successor_factor is None else self._parts.successor_factor.item()
            if factor not in (0.0, 1.0):  # with 0, the trained weights are lost
                trained = scores.clone()
                trained.view(-1).index_add_(0, at, values / factor)
            scores.view(-1).index_add_(0, at, values)
        return scores, trained

    def _of_states(self, states: Tensor, moments: NDArray[np.int64]) -> Tensor:
        """Return the part of the scores ``(B, M)`` that comes from item vectors and popularity."""
        weights = self._parts.popularity_weights(states)
        if weights is not None and not moments.any():
            return (torch.cat([states, weights], dim=1) @ self._joint.t()).float()
        scores = (states @ self._vectors.t()).float()
        if weights is not None:
            for moment in np.unique(moments).tolist():
                rows = torch.from_numpy(np.flatnonzero(moments == moment)).to(self._device)
                scores.index_add_(0, rows, (weights[rows] @ self._features[moment].to(weights.dtype)).float())
        return scores

    def _states(self, prompts: list[ItemPrompt]) -> Tensor:
        """Return the hidden state ``(B, D)`` from which each prompt is scored."""
        entries = torch.arange(len(prompts), device=self._device)
        if len(prompts[0].tokens):
            lengths = lengths_of([prompt.tokens for prompt in prompts])
            flat = np.concatenate([prompt.tokens for prompt in prompts])
            tokens = torch.from_numpy(padded(flat, lengths, 0)).to(self._device)
            hidden = decode_hidden(self._model, ModelInput.causal(tokens))
            return hidden[entries, torch.from_numpy(lengths - 1).to(self._device)]
        rows, periods, gaps, ends = (tensor.to(self._device) for tensor in padded_inputs(prompts, self._rows))
        hidden = self._parts.states(self._model, ItemInputs(rows, periods, gaps), self._vectors, 0.0)
        waits = torch.tensor([prompt.wait for prompt in prompts], device=self._device)
        return self._parts.at_moments(hidden[entries, ends - 1], waits)


def _log_sums(scores: Tensor) -> Tensor:
    """Return the log sum exp ``(B, 1)`` of each row of scores ``(B, M)``.

    Raises:
        InputError: it is not a number.
    """
    # In parts that a processor's cache holds.
    parts = [part.logsumexp(dim=1) for part in torch.split(scores, _COLUMNS_AT_ONCE, dim=1)]
    total = torch.stack(parts, dim=1).logsumexp(dim=1, keepdim=True)
    require_numbers(total - total)  # also NaN where a score is infinite
    return total


def latest_of(histories: Sequence[NDArray[np.int32]], number: int) -> NDArray[np.int64]:
    """Return the latest items of B histories, the latest first, ``(B, number)``; -1 for none."""
    lengths = lengths_of(histories)
    ends = np.cumsum(lengths)
    items = np.concatenate([*histories, np.zeros(1, dtype=np.int32)])
    return latest_items(items, ends - lengths, ends, number)


def best_columns(scores: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return the largest scores of each row and their columns, both ``(B, width)``, best first.

    Blocks of columns are compared first: the best scores lie in the blocks with the largest maxima. Finding the maximum of
    each block is many times as fast as ``topk`` over a large catalogue.

    Args:
        scores: ``(B, M)``, with M of at least ``width``.
    """
    users, columns = scores.shape
    blocks = columns // _BLOCK
    if blocks <= width:
        best, column = scores.topk(width, dim=1)
        return best, column
    whole = blocks * _BLOCK
    highest = scores[:, :whole].view(users, blocks, _BLOCK).amax(dim=2)  # (B, blocks)
    first = highest.topk(width, dim=1).indices * _BLOCK  # (B, width) first column of each chosen block
    inside = (first[:, :, None] + torch.arange(_BLOCK, device=scores.device)).flatten(1)
    rest = torch.arange(whole, columns, device=scores.device).expand(users, -1)
    chosen = torch.cat([inside, rest], dim=1)  # (B, width * _BLOCK + rest)
    best, at = scores.gather(1, chosen).topk(width, dim=1)
    return best, chosen.gather(1, at)
