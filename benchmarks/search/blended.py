"""Lists of a blend without a model: users by second in catalogues of 17,000 and 200,000 items, which should cost the same.

The data is drawn. The catalogues have the same number of successors and of days for each item. So the ratio shows
whether any step makes a row of all items for a user. The share of the nearest items that the index finds is measured
beside a scan of all items.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.rows import Comparison, Row, Size, command
from benchmarks.search.recommend import DAYS, make_blend
from benchmarks.timing import in_own_process, peak_memory_bytes, timed
from semconv.blend.blend import Blend
from semconv.blend.tables import BlendUsers
from semconv.lists.recommender import Recommender, ShardUsers

SMALL, LARGE = 17_000, 200_000
SMALLER = Comparison("blended", f"the same on {SMALL:,} items", ["numpy", "scipy"])
SCAN = Comparison("blended", "a scan of all items", ["numpy", "scipy"])
USERS = {"small": 1024, "full": 8192}
HISTORY, NEAREST = 10, 60


def run(size: Size) -> list[Row]:
    """Measure both catalogues, each in its own process."""
    users = USERS[size]
    small, large = (in_own_process(measure, items, users) for items in (SMALL, LARGE))
    case = f"{users:,} users, history {HISTORY}, {LARGE:,} items"
    return [
        SMALLER.row(case, "throughput", "users/s", ours=large[0], peer=small[0], higher_is_better=True),
        SMALLER.row(
            case, "throughput, of the processor", "users/s", ours=large[1], peer=small[1], higher_is_better=True
        ),
        SMALLER.row(case, "peak memory", "bytes", ours=large[2], peer=small[2]),
        SCAN.row(case, f"share of the {NEAREST} nearest items", "", ours=large[3], peer=1.0, higher_is_better=True),
        SCAN.row(
            f"{SMALL:,} items",
            f"share of the {NEAREST} nearest items",
            "",
            ours=small[3],
            peer=1.0,
            higher_is_better=True,
        ),
    ]


def measure(num_items: int, num_users: int) -> tuple[float, float, float, float]:
    """Return users by wall second and by processor second, the peak memory, and the share of nearest items found."""
    rng = np.random.default_rng(0)
    blend, allowed = make_blend(rng, num_items, 0), np.ones(num_items, dtype=bool)
    recommender = Recommender(None, np.arange(100), None, blend=blend, allowed=allowed)
    recommender.lists(_shard(blend, 8, rng))  # the first call also builds the index
    seconds, _ = timed(lambda: recommender.lists(_shard(blend, num_users, rng)))
    rates = num_users / seconds.wall, num_users / seconds.processor
    return *rates, float(peak_memory_bytes()), _found(blend, allowed, rng)


def _shard(blend: Blend, count: int, rng: np.random.Generator) -> ShardUsers:
    seen = [own.astype(np.int32) for own in rng.integers(0, blend.tables.num_items, (count, HISTORY))]
    days = rng.integers(0, DAYS, count) + 0.0
    users = BlendUsers(np.concatenate(seen), np.full(count, HISTORY), days, seen)
    return ShardUsers(np.arange(count, dtype=np.int32), [], seen, seen, users)


def _found(blend: Blend, allowed: NDArray[np.bool_], rng: np.random.Generator) -> float:
    """Return the share of the nearest items of 200 users that the index finds."""
    table = blend.tables.vectors["behavior"]
    histories = rng.integers(0, len(table), (200, HISTORY))
    weights = (np.arange(HISTORY)[::-1] + 1.0) ** -blend.tables.history_decay
    profiles = np.einsum("h,uhd->ud", weights, table[histories]).astype(np.float32)
    users, items = blend.tables.cells["behavior"].nearest(profiles, NEAREST, allowed, None)
    nearest = np.argpartition(-(profiles @ table.T), NEAREST, axis=1)[:, :NEAREST]
    hits = sum(len(np.intersect1d(nearest[user], items[users == user])) for user in range(len(profiles)))
    return hits / nearest.size


if __name__ == "__main__":
    command(run, __doc__)
