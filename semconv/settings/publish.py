"""Settings of the section [publish]."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.settings.option import option


@dataclass(frozen=True)
class PublishSettings:
    """DuckDB's memory for `semconv recommend load` and `semconv publish`, which move the lists of all users."""

    memory_mb: int = option(
        1024,
        "Megabytes of memory that DuckDB may use. It writes the rest to temporary files in the project's data folder.",
        low=256,
    )
