"""The report on codes as people read it in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from semconv_cli import output

_TABLES = ("levels", "collisions", "agreement", "tree", "refit", "variance_within")
_NOT_SHOWN = ("counts", "objective")


def write_report(report: Mapping[str, Any]) -> None:
    """Print single figures, then a table a subject, then whether a refit is due."""
    output.write_fields({name: value for name, value in report.items() if name not in _TABLES})
    within = dict(enumerate(report.get("variance_within", ())))
    levels = [
        {
            **{name: value for name, value in level.items() if name not in _NOT_SHOWN},
            "variance_within": within.get(place),
        }
        for place, level in enumerate(report["levels"])
    ]
    output.write("\nlevels")
    output.write_rows(levels)
    if report.get("collisions"):
        output.write("\ncollisions, by number of levels")
        output.write_rows(report["collisions"])
    if report["agreement"]:
        output.write("\noverlap of two items that share their first two codes, or shuffled ones, or nothing")
        output.write_rows([{"of": name, **row} for name, row in report["agreement"].items()])
    if "refit" in report:
        _write_refit(report["refit"])


def _write_refit(refit: Mapping[str, Any]) -> None:
    output.write("\nsince the fit")
    output.write_fields({name: value for name, value in refit.items() if name not in ("is_due", "reasons")})
    if refit["is_due"]:
        output.write("\na refit is due: " + "; ".join(refit["reasons"]))
    else:
        output.write("\nno refit is due")
