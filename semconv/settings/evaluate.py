"""Settings of the section [evaluate]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from semconv.settings.option import option


@dataclass(frozen=True)
class EvaluateSettings:
    """Metrics of `semconv evaluate` and their confidence intervals."""

    bootstrap_samples: int = option(
        1000, "Number of bootstrap samples of the users from which each confidence interval is computed.", low=10
    )
    confidence: float = option(
        0.95, "Confidence level of the bootstrap intervals; 0.95 means 95 %.", low=0.5, high=0.999
    )
    max_users: int = option(0, "Evaluate only this many users, a fixed random sample. 0 evaluates all users.", low=0)
    counter_search_users: int = option(
        5000,
        "Number of validation users on whom parameters for the transition counter are searched. `semconv"
        " evaluate` reports the counter with the best parameters as the method transition-tuned. 0 turns the"
        " search off.",
        low=0,
    )
    seed: int = option(0, "Random seed for the bootstrap and for the sample of users.", low=0)

    def bootstrap(self) -> dict[str, Any]:
        """Return the arguments of ``metrics.bootstrap_interval`` and ``metrics.paired_bootstrap``."""
        return {"samples": self.bootstrap_samples, "confidence": self.confidence, "seed": self.seed}
