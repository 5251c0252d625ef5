"""The code report as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from semconv.columns import code_token
from semconv.reports.charts import usage_chart
from semconv.reports.code_sections import overview, sections
from semconv.reports.page import render

_EXAMPLE = (17, 203, 4, 99, 51, 8)


def report_page(report: Mapping[str, Any]) -> str:
    """Return the HTML page for the figures of ``codebook_report`` or ``external_report``."""
    levels = [
        {
            **usage_chart(level["counts"]),
            "number": level["level"] + 1,
            "error_length": f"{min(1.0, level.get('reconstruction_error', 0.0)):.1%}",
        }
        for level in report["levels"]
    ]
    return render(
        "codes.html",
        title=str(report.get("run_id") or report["file"]),
        example="".join(code_token(level, code) for level, code in zip(range(len(levels)), _EXAMPLE, strict=False)),
        overview=overview(report),
        sections=sections(report),
        levels=levels,
        tree=report["tree"],
    )
