"""Print the report on the quality of codes in a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from semconv.reports.code_sections import overview, sections
from semconv.reports.section import Section
from semconv_cli import output

_WIDTH = 100


def write_report(report: Mapping[str, Any]) -> None:
    """Print the sizes of the code set, then each section of the report: explanation, table, grade and notes."""
    name = {"code set": report["run_id"]} if "run_id" in report else {"file": report["file"]}
    output.write_fields({**name, **dict(overview(report))})
    for section in sections(report):
        _write_section(section)


def _write_section(section: Section) -> None:
    output.write(f"\n{section.title.upper()}\n{textwrap.fill(section.meaning, _WIDTH)}\n")
    if section.rows:
        rows = [dict(zip(section.head, row, strict=True)) for row in section.rows]
        output.write_rows(rows, columns=section.head, is_cut=False)
        output.write("")
    grade = f"{section.badge}: " if section.badge else ""
    for line in (grade + section.verdict, *section.notes):
        output.write(textwrap.fill(line, _WIDTH))
