"""Generate a shop whose customers choose from a known distribution, so that the best possible score is known too.

An item has a kind (what it is), a style (who likes it) and a brand. A customer has a style, and prefers items of kinds
that follow the kind of the customer's last item in a sparse graph (camera, lens, tripod, ...). The next item of a
customer is the item j that the customer does not have yet and that has the largest value of

    (1 - randomness) * affinity(last item, style, j) + randomness * Gumbel noise

So the next item is drawn from softmax(affinity * (1 - randomness) / randomness). At randomness 0 the next item is
certain; at randomness 1 every item is equally likely. If the chosen item has another style, the customer may change to
this style. This module needs only numpy, no model and no database.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from semconv.data.splits import MIN_EVALUATED_LENGTH
from semconv.ragged import offsets_of
from semconv_warehouse.demo.words import KINDS, REVIEW_FORMS, STYLES, wording

BRANDS_PER_STYLE = 4
NUM_ITEMS = len(KINDS) * len(STYLES) * BRANDS_PER_STYLE  # items that customers can choose
_DAY = 86_400_000_000  # microseconds
_START = 1_704_067_200_000_000  # 2024-01-01, microseconds since 1970


@dataclass(frozen=True)
class DemoShape:
    """The size of the generated shop, and how its customers choose items."""

    users: int = 2000
    cold_items: int = 24  # further items in the catalogue that no customer chooses
    shortest: int = 5  # the smallest and the largest number of interactions of a customer
    longest: int = 25
    randomness: float = 0.28  # 0: the next item is certain; 1: every item is equally likely
    style_change: float = 0.3  # probability that an item of another style changes the customer's style
    query_share: float = 0.1  # share of the interactions with a review text
    duplicates: int = 12  # rows that are in the interaction file twice
    seed: int = 0


@dataclass(frozen=True)
class Affinity:
    """The terms that add up to the affinity of a customer to an item, in units of log odds at randomness 0.5."""

    same_kind: float = 0.9
    first_next_kind: float = 1.7
    second_next_kind: float = 1.3
    same_style: float = 1.1
    same_series: float = 0.7  # for the style and brand of the last item, in addition to same_style
    appeal: float = 0.25  # standard deviation of the appeal of items; an item has the same appeal for all customers


@dataclass(frozen=True)
class DemoItem:
    """One item of the generated shop. The title and the description of an item without text are None."""

    item_id: str
    title: str | None
    description: str | None
    brand: str | None
    categories: list[str]
    attributes: dict[str, str]


@dataclass(frozen=True)
class DemoData:
    """The generated data and its true distribution. Arrays ``(n,)`` have one entry per interaction."""

    shape: DemoShape
    items: list[DemoItem]  # rows of the item file: all but the item without metadata, then the cold items
    item_ids: list[str]  # (NUM_ITEMS,) ids in the interactions
    user_ids: list[str]  # (U,)
    offsets: NDArray[np.int64]  # (U + 1,)
    sequence_items: NDArray[np.int64]  # (n,) index into item_ids
    styles_before: NDArray[np.int64]  # (n,) the customer's style at the choice
    times: NDArray[np.int64]  # (n,) microseconds since 1970
    ratings: NDArray[np.float64]  # (n,)
    queries: list[str | None]  # (n,)
    file_rows: NDArray[np.int64]  # interactions in the order of the interaction file; some are repeated
    appeal: NDArray[np.float64] = field(repr=False)  # (NUM_ITEMS,)

    def next_item_probabilities(self, users: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the probability that each item is the user's last item, given the earlier items, ``(B, NUM_ITEMS)``.

        The probabilities depend on the style that the user had before the last item. Items that the user already has
        get probability 0.
        """
        rows = self.offsets[users + 1] - 1  # (B,) row of each user's test target
        seen = np.zeros((len(users), NUM_ITEMS), dtype=bool)
        for row, user in enumerate(users):
            seen[row, self.sequence_items[self.offsets[user] : self.offsets[user + 1] - 1]] = True
        affinity = item_affinity(self.sequence_items[rows - 1], self.styles_before[rows], self.appeal)
        return choice_probabilities(affinity, seen, self.shape.randomness)

    def evaluated_users(self) -> NDArray[np.int64]:
        """Return the users with enough interactions for leave-one-out evaluation, ``(E,)``."""
        return np.flatnonzero(np.diff(self.offsets) >= MIN_EVALUATED_LENGTH)

    def best_possible_ndcg(self, k: int = 10) -> float:
        """Return the NDCG@k to expect on the test items if items are ranked by their true probabilities."""
        return float((self._best_probabilities(k) / np.log2(np.arange(2, k + 2))).sum(axis=1).mean())

    def best_possible_hit_ratio(self, k: int = 10) -> float:
        """Return the HR@k to expect on the test items if items are ranked by their true probabilities."""
        return float(self._best_probabilities(k).sum(axis=1).mean())

    def _best_probabilities(self, k: int) -> NDArray[np.float64]:
        probabilities = self.next_item_probabilities(self.evaluated_users())  # (E, NUM_ITEMS)
        return np.sort(probabilities, axis=1)[:, : -k - 1 : -1]


def kind_style_brand(items: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the kind, the style and the brand of ``items`` as numbers; brands are numbered within a style."""
    per_kind = len(STYLES) * BRANDS_PER_STYLE
    return items // per_kind, items % per_kind // BRANDS_PER_STYLE, items % BRANDS_PER_STYLE


def item_affinity(
    last_items: NDArray[np.int64], styles: NDArray[np.int64], appeal: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the affinity of customers to each item, ``(B, NUM_ITEMS)``. A customer without items has the last item -1."""
    weights = Affinity()
    kinds, item_styles, brands = kind_style_brand(np.arange(NUM_ITEMS))
    last_kinds, _, last_brands = kind_style_brand(np.maximum(last_items, 0))
    started = (last_items >= 0)[:, None]
    by_kind = _kind_affinity(weights)[last_kinds][:, kinds] * started  # (B, NUM_ITEMS)
    same_style = item_styles == styles[:, None]
    same_series = same_style & (brands == last_brands[:, None]) & started
    affinity: NDArray[np.float64] = by_kind + weights.same_style * same_style + weights.same_series * same_series
    return affinity + weights.appeal * appeal


def choice_probabilities(
    affinity: NDArray[np.float64], seen: NDArray[np.bool_], randomness: float
) -> NDArray[np.float64]:
    """Return the probability that a customer chooses an item next, ``(B, NUM_ITEMS)``; 0 for items chosen before."""
    affinity = np.where(seen, -np.inf, affinity)
    best = affinity.max(axis=1, keepdims=True)
    if randomness == 0:
        odds = (affinity == best).astype(np.float64)
    else:
        odds = np.exp(np.where(seen, 0.0, affinity - best) * ((1 - randomness) / randomness)) * ~seen
    probabilities: NDArray[np.float64] = odds / odds.sum(axis=1, keepdims=True)
    return probabilities


def generate(shape: DemoShape | None = None) -> DemoData:
    """Generate the shop and its customers. Two calls with equal shapes return equal data."""
    shape = shape or DemoShape()
    if not 0 <= shape.randomness <= 1:
        raise ValueError(f"randomness is {shape.randomness}, but must lie between 0 and 1")
    rng = np.random.default_rng(shape.seed)
    appeal = rng.standard_normal(NUM_ITEMS)
    lengths = _sequence_lengths(rng, shape)
    chosen, styles = _walk(rng, shape, appeal, lengths)  # (U, longest) each
    inside = np.arange(chosen.shape[1]) < lengths[:, None]
    sequence_items, styles_before = chosen[inside], styles[inside]
    return DemoData(
        shape=shape,
        items=_catalog_rows(shape),
        item_ids=[_item_id(index) for index in range(NUM_ITEMS)],
        user_ids=[f"user-{index:04d}" for index in range(shape.users)],
        offsets=offsets_of(lengths),
        sequence_items=sequence_items,
        styles_before=styles_before,
        times=_event_times(rng, lengths),
        ratings=_ratings(rng, sequence_items, styles_before),
        queries=_queries(rng, sequence_items, shape.query_share),
        file_rows=_file_rows(rng, shape, len(sequence_items)),
        appeal=appeal,
    )


def _kind_affinity(weights: Affinity) -> NDArray[np.float64]:
    index_of = {kind.noun: index for index, kind in enumerate(KINDS)}
    matrix = np.eye(len(KINDS)) * weights.same_kind
    for index, kind in enumerate(KINDS):
        first, second = kind.next_kinds
        matrix[index, index_of[first]] = weights.first_next_kind
        matrix[index, index_of[second]] = weights.second_next_kind
    return matrix  # (kinds, kinds)


def _sequence_lengths(rng: np.random.Generator, shape: DemoShape) -> NDArray[np.int64]:
    spread = shape.longest - shape.shortest
    lengths = shape.shortest + np.floor(rng.beta(1.2, 2.4, size=shape.users) * (spread + 1)).astype(np.int64)
    lengths = np.minimum(lengths, shape.longest)
    lengths[-1] = 1  # a customer with one interaction
    return lengths


def _walk(
    rng: np.random.Generator, shape: DemoShape, appeal: NDArray[np.float64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    users, steps = len(lengths), int(lengths.max())
    chosen = np.zeros((users, steps), dtype=np.int64)
    styles = np.zeros((users, steps), dtype=np.int64)
    seen = np.zeros((users, NUM_ITEMS), dtype=bool)
    style = rng.integers(len(STYLES), size=users)
    last = np.full(users, -1, dtype=np.int64)
    for step in range(steps):
        styles[:, step] = style
        affinity = item_affinity(last, style, appeal)  # (U, NUM_ITEMS)
        noise = rng.gumbel(size=affinity.shape)
        randomness = (
            shape.randomness if step else max(shape.randomness, 0.5)
        )  # so that the first items differ even at randomness 0
        last = np.where(seen, -np.inf, (1 - randomness) * affinity + randomness * noise).argmax(axis=1)
        seen[np.arange(users), last] = True
        chosen[:, step] = last
        moved = rng.random(users) < shape.style_change
        style = np.where(moved, kind_style_brand(last)[1], style)
    return chosen, styles


def _event_times(rng: np.random.Generator, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    begin = _START + (rng.random(len(lengths)) * 500 * _DAY).astype(np.int64)
    gaps = (rng.exponential(9 * _DAY, size=int(lengths.sum()))).astype(np.int64) + 60_000_000
    total = np.cumsum(gaps)
    first = offsets_of(lengths)[:-1]  # (U,) row of each user's first interaction
    times: NDArray[np.int64] = np.repeat(begin, lengths) + total - np.repeat(total[first], lengths)
    return times - times % 1_000_000  # whole seconds; a gap is at least a minute


def _ratings(rng: np.random.Generator, items: NDArray[np.int64], styles: NDArray[np.int64]) -> NDArray[np.float64]:
    liked = np.where(kind_style_brand(items)[1] == styles, 4.6, 3.2)
    return np.clip(np.round(liked + rng.normal(0, 0.7, size=len(items))), 1, 5)


def _file_rows(rng: np.random.Generator, shape: DemoShape, count: int) -> NDArray[np.int64]:
    twice = rng.choice(count, size=min(shape.duplicates, count), replace=False)
    return rng.permutation(np.concatenate([np.arange(count), twice]))


def _item_id(index: int) -> str:
    return f"item-{index:04d}"


def _catalog_rows(shape: DemoShape) -> list[DemoItem]:
    """Return the rows of the item file. One item has no text, one has no row, and cold items come last."""
    rows = [_describe(index, index) for index in range(NUM_ITEMS)]
    without_text, without_metadata = NUM_ITEMS // 3, NUM_ITEMS // 2
    rows[without_text] = DemoItem(rows[without_text].item_id, None, None, None, [], {})
    del rows[without_metadata]
    pick = np.random.default_rng(shape.seed + 1).choice(NUM_ITEMS, size=shape.cold_items, replace=False)
    return rows + [_describe(int(like), NUM_ITEMS + number, " Mark II") for number, like in enumerate(pick)]


def _parts(index: int) -> tuple[int, int, int]:
    kind, style, brand = kind_style_brand(np.array(index))
    return int(kind), int(style), int(brand)


def _describe(index: int, number: int, edition: str = "") -> DemoItem:
    words = wording(*_parts(index))
    return DemoItem(
        _item_id(number), words.title + edition, words.description, words.brand, words.categories, words.attributes
    )


def _queries(rng: np.random.Generator, items: NDArray[np.int64], share: float) -> list[str | None]:
    """Return a text for each interaction: a review of the item for a drawn share of them, None for the others."""
    reviews = [wording(*_parts(index)).reviews for index in range(NUM_ITEMS)]
    asked = rng.random(len(items)) < share
    forms = rng.integers(REVIEW_FORMS, size=len(items))
    return [reviews[item][form] if yes else None for item, form, yes in zip(items, forms, asked, strict=True)]
