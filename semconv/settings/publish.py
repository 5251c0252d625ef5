"""Settings of the section [publish]."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.settings.option import option


@dataclass(frozen=True)
class PublishSettings:
    """Memory of the commands that write the lists of all users."""

    memory_mb: int = option(
        1024,
        "Megabytes of memory that DuckDB may use for `semconv publish` and `semconv recommend load`. Data that"
        " needs more memory is written to temporary files in the project's data folder.",
        low=256,
    )
