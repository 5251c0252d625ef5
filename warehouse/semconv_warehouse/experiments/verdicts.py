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


@dataclass(frozen=True)
class Measured:
    """A difference in NDCG@10, with its confidence interval."""

    difference: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """The width of the interval."""
        return self.high - self.low


def verdict(measured: Measured | None, paper: float | None, *, is_learned: bool = True, is_aligned: bool = True) -> str:
    """Return what a measured difference says about the paper's claim that the difference is positive.

    - Nothing, if the rows differ in ``codebook.alignment``, but the codes of one row were not aligned with some seed.
    - Nothing, if a trained row of the claim is not above popularity: then it has learned too little for a comparison.
    - The claim holds if the whole interval lies above 0, and does not hold if it lies below 0.
    - Otherwise the difference is too small to tell if the interval is wider than the paper's own difference, because
      such an interval contains 0 even where the paper's difference is real. The same is said if the paper reports no
      difference.
    - A narrower interval around 0 shows that there is no difference as large as the paper's.

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
    if measured.low > 0:
        return HOLDS
    if measured.high < 0:
        return FAILS
    if paper is None or measured.width > abs(paper):
        return TOO_SMALL
    return NO_SUCH_DIFFERENCE
