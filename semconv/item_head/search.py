"""Find the best items for users, or for queries in words, with the item head: every item is scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.backbone.forward import ModelInput, decode_hidden, input_matrix, model_device
from semconv.item_head.parts import ItemInputs, ItemParts
from semconv.item_head.popularity import MomentTable
from semconv.item_head.prompts import ItemPrompt, padded_inputs
from semconv.item_head.scores import Added, Entries, best_columns
from semconv.item_head.successors import SuccessorTable, latest_items
from semconv.ragged import lengths_of, padded, row_of
from semconv.search.beams import require_numbers
from semconv.search.search import ITEM_SCORE, SearchResult, SearchSettings, empty_result

_USERS_AT_ONCE: Final = 512  # users of one batch
_ITEMS_AT_ONCE: Final = 1 << 13  # items whose scores for a batch are computed together
_COLUMNS_AT_ONCE: Final = 1 << 12  # scores of a user in a processor's cache


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


@dataclass(frozen=True)
class Scan:
    """What a pass over all items keeps of a batch of B users.

    Attributes:
        log_sums: ``(B,)`` log sum exp of the scores without the successors.
        without_added: ``(z,)`` these scores at the entries of the successors.
        best: ``(B, W)`` the best scores of items that may be listed, -inf where there is none.
        best_at: ``(B, W)`` their columns.
        given: ``(B, n)`` scores of the given columns, -inf for none.
    """

    log_sums: NDArray[np.float64]
    without_added: NDArray[np.float64]
    best: NDArray[np.float64]
    best_at: NDArray[np.int64]
    given: NDArray[np.float64]


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
        with torch.no_grad():
            matrix = input_matrix(model)  # (V, D)
        self._model, self._device = model, model_device(model)
        self._parts = parts.to(self._device, matrix.dtype).eval()
        self._items = np.sort(item_index).astype(np.int64)  # (M,)
        self._rows = np.full(len(allowed), -1, dtype=np.int64)  # (I,) row of an item with codes
        self._rows[self._items] = np.arange(len(self._items))
        self._may_list = torch.from_numpy(allowed[self._items]).to(self._device)  # (M,)
        self._lists_all = bool(allowed[self._items].all())
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
            for rows, part in zip(
                *(torch.split(whole, _ITEMS_AT_ONCE) for whole in (self._vectors, index)), strict=True
            ):
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
        lengths = np.array([len(prompt) for prompt in prompts], dtype=np.int64)
        is_query = np.array([len(prompt.tokens) > 0 for prompt in prompts], dtype=bool)
        for kind in (False, True):
            chosen = np.flatnonzero((lengths > 0) & (is_query == kind))
            chosen = chosen[np.argsort(lengths[chosen], kind="stable")]
            for start in range(0, len(chosen), _USERS_AT_ONCE):
                yield chosen[start : start + _USERS_AT_ONCE]

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
        result, others = empty_result(len(hidden.states), count, hidden.seen, hidden.others)
        added = self._added(hidden)
        columns = np.where(others >= 0, self._rows[others], -1)
        found = self._scan(hidden, added, columns, min(count, len(self._items)))
        factor = self._factor
        total = added.log_sums(found.log_sums, found.without_added, 1.0)[:, None]
        trained_total = added.log_sums(found.log_sums, found.without_added, 1.0 / factor)[:, None]
        by_factor = 1.0 - 1.0 / factor  # the share of the numbers that trained weights do not have
        width = found.best.shape[1]
        for given, trained, scores, at in (
            (result.other_scores, result.other_trained_scores, found.given, columns),
            (result.scores[:, :width], result.trained_scores[:, :width], found.best, found.best_at),
        ):
            given[:] = scores - total
            trained[:] = np.where(np.isneginf(scores), -np.inf, scores - by_factor * added.at(at) - trained_total)
        result.items[:, :width] = np.where(np.isneginf(found.best), -1, self._items[found.best_at])
        return result

    def _scan(self, hidden: Hidden, added: Added, columns: NDArray[np.int64], width: int) -> Scan:
        """Score all items for a batch, block after block, and keep what the lists need.

        Args:
            columns: ``(B, n)`` columns to score in any case, -1 for none.
        """
        log_sums, best, given = [], [], np.full(columns.shape, -np.inf)
        without_added = np.zeros(len(added.keys))
        seen = self._seen(hidden)
        for start in range(0, len(self._items), _ITEMS_AT_ONCE):
            end = min(start + _ITEMS_AT_ONCE, len(self._items))
            scores = self._of_states(hidden, start, end)  # (B, end - start)
            log_sums.append(_log_sums(scores))
            flat = scores.view(-1)
            part, places = added.within(start, end)
            at = torch.from_numpy(places).to(self._device)
            before = flat[at]
            without_added[part] = before.cpu().numpy()
            flat[at] = before + torch.from_numpy(added.values[part].astype(np.float32)).to(self._device)
            is_here = (columns >= start) & (columns < end)
            wanted = np.nonzero(is_here)[0] * (end - start) + columns[is_here] - start
            given[is_here] = flat[torch.from_numpy(wanted).to(self._device)].cpu().numpy()
            if not self._lists_all:
                scores.masked_fill_(~self._may_list[start:end], -torch.inf)
            flat[torch.from_numpy(seen.within(start, end)[1]).to(self._device)] = -torch.inf
            values, column = best_columns(scores, min(width, end - start))
            best.append((values, column + start))
        values, column = (torch.cat(parts, dim=1) for parts in zip(*best, strict=True))
        highest, order = values.topk(width, dim=1)
        total = torch.cat(log_sums, dim=1).logsumexp(dim=1)  # (B,)
        require_numbers(total - total)  # also NaN where a score is infinite
        best_at = column.gather(1, order).cpu().numpy()
        return Scan(total.cpu().double().numpy(), without_added, highest.cpu().double().numpy(), best_at, given)

    def _seen(self, hidden: Hidden) -> Entries:
        """Return the scores of the items that each user has seen."""
        num_users = len(hidden.states)
        if hidden.seen is None:
            return Entries(np.zeros(0, dtype=np.int64), num_users)
        columns = self._rows[np.concatenate([np.asarray(own, dtype=np.int64) for own in hidden.seen])]
        return Entries(np.sort((columns * num_users + row_of(lengths_of(hidden.seen)))[columns >= 0]), num_users)

    def _added(self, hidden: Hidden) -> Added:
        """Return the part of the scores that comes from the successors of the latest items, by the served weights."""
        followed = self._parts.successor_weights(hidden.states)
        num_users = len(hidden.states)
        if followed is None or self._successors is None:
            return Added.of(np.zeros(0, dtype=np.int64), np.zeros(0), num_users)
        numbers = self._successors.numbers(hidden.latest)
        columns, users = self._rows[numbers.items], row_of(numbers.lengths)
        known = columns >= 0
        values = numbers.values * followed.float().cpu().numpy()[users, numbers.kinds]
        return Added.of((columns * num_users + users)[known], values[known], num_users)

    @property
    def _factor(self) -> float:
        """The number by which the weights of the successors were multiplied after the training; 1 if it is lost (0)."""
        factor = self._parts.successor_factor
        return 1.0 if factor is None else factor.item() or 1.0

    def _of_states(self, hidden: Hidden, start: int, end: int) -> Tensor:
        """Return the part of the scores ``(B, end - start)`` that comes from item vectors and popularity."""
        states, weights = hidden.states, self._parts.popularity_weights(hidden.states)
        if weights is not None and not hidden.moments.any():
            return (torch.cat([states, weights], dim=1) @ self._joint[start:end].t()).float()
        scores = (states @ self._vectors[start:end].t()).float()
        if weights is not None:
            for moment in np.unique(hidden.moments).tolist():
                rows = torch.from_numpy(np.flatnonzero(hidden.moments == moment)).to(self._device)
                of_moment = self._features[moment, :, start:end].to(weights.dtype)
                scores.index_add_(0, rows, (weights[rows] @ of_moment).float())
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
    """Return the log sum exp of parts of each row of scores ``(B, M)``, ``(B, parts)``."""
    return torch.stack([part.logsumexp(dim=1) for part in torch.split(scores, _COLUMNS_AT_ONCE, dim=1)], dim=1)


def latest_of(histories: Sequence[NDArray[np.int32]], number: int) -> NDArray[np.int64]:
    """Return the latest items of B histories, the latest first, ``(B, number)``; -1 for none."""
    lengths = lengths_of(histories)
    ends = np.cumsum(lengths)
    items = np.concatenate([*histories, np.zeros(1, dtype=np.int32)])
    return latest_items(items, ends - lengths, ends, number)
