"""Compare measured differences with the differences that the paper reports, and say what the measurement shows."""

from __future__ import annotations

from dataclasses import dataclass

HOLDS = "holds"
FAILS = "does not hold"
TOO_SMALL = "too small to tell"
NO_SUCH_DIFFERENCE = "no difference of the paper's size"
NOT_MEASURED = "not measured"
NOT_LEARNED = "not above popularity"
NOT_ALIGNED = "alignment is off"
SEEDS_DISAGREE = "seeds disagree"
SAME_LISTS = "the same lists"


@dataclass(frozen=True)
class Measured:
    """A difference in NDCG@10, with its confidence interval over users.

    Attributes:
        difference: the mean over seeds.
        by_seed: the difference with each seed.
    """

    difference: float
    low: float
    high: float
    by_seed: tuple[float, ...] = ()

    @property
    def width(self) -> float:
        """The width of the interval."""
        return self.high - self.low

    @property
    def seed_range(self) -> float:
        """The largest difference minus the smallest one over seeds; 0 for one seed."""
        return max(self.by_seed, default=0.0) - min(self.by_seed, default=0.0)

    @property
    def is_nothing(self) -> bool:
        """Whether no user has another value in one row than in the other."""
        return not any((self.difference, self.low, self.high, *self.by_seed))

    @property
    def has_one_sign(self) -> bool:
        """Whether the difference has the sign of the mean with every seed."""
        return all(one * self.difference > 0 for one in self.by_seed)


def verdict(measured: Measured | None, paper: float | None, *, is_learned: bool = True, is_aligned: bool = True) -> str:
    """Return what a measured difference says about the paper's claim that the difference is positive.

    - Nothing, if the rows differ in ``codebook.alignment``, but the codes of one row were not aligned with some seed.
    - Nothing, if a trained row of the claim is not above popularity: then it has learned too little for a comparison.
    - The lists are the same if nothing differs: difference and interval are exactly 0.
    - The claim holds if the whole interval lies above 0, and does not hold if it lies below 0. But the interval is one
      over users, for these seeds. If the difference has the other sign with one of the seeds, then other seeds could turn
      the result around, so the seeds disagree.
    - Otherwise the difference is too small to tell if the interval is wider than the paper's own difference, because
      such an interval contains 0 even where the paper's difference is real. The same is said if the paper reports no
      difference.
    - It is also too small to tell if the differences of the seeds are further apart than the paper's difference, because
      the interval is one over users only.
    - Otherwise the interval around 0 shows that there is no difference as large as the paper's.

    Args:
        measured: None if a row of the claim was not measured.
        paper: the difference that the paper reports; None if it reports none.
        is_learned: whether every trained row of the claim is above popularity on the same users.
        is_aligned: False if the rows differ in ``codebook.alignment``, but the fit turned the alignment of one of them off.
    """
    if measured is None:
        return NOT_MEASURED
    if not is_aligned:
        return NOT_ALIGNED
    if not is_learned:
        return NOT_LEARNED
    if measured.is_nothing:
        return SAME_LISTS
    if measured.low > 0 or measured.high < 0:
        if not measured.has_one_sign:
            return SEEDS_DISAGREE
        return HOLDS if measured.low > 0 else FAILS
    if paper is None or max(measured.width, measured.seed_range) > abs(paper):
        return TOO_SMALL
    return NO_SUCH_DIFFERENCE
