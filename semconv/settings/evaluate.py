"""Settings of the section [evaluate]."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.settings.option import option


@dataclass(frozen=True)
class EvaluateSettings:
    """Metrics and their confidence intervals."""

    bootstrap_samples: int = option(1000, "Number of bootstrap samples of the users for an interval.", low=10)
    confidence: float = option(0.95, "Confidence level of the intervals.", low=0.5, high=0.999)
    max_users: int = option(0, "Evaluate a fixed random sample of this many users. 0 evaluates all.", low=0)
    counter_search_users: int = option(
        5000,
        "Number of validation users for the search for better parameters of the transition counter. The report shows the"
        " result as transition-tuned. 0 leaves it out.",
        low=0,
    )
    seed: int = option(0, "Random seed of the bootstrap and of the sample of users.", low=0)
