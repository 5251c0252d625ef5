"""The methods of a project that make vectors of its items, and codes from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semconv import columns
from semconv.artifacts import machine_errors, write_bytes
from semconv.data.store import RunRecord
from semconv.modes import PUBLIC_FILE
from semconv.runs.book import Outcome
from semconv.runs.lineage import Lineage
from semconv_warehouse.ingesting import IngestingProject
from semconv_warehouse.store.leftovers import remove_leftovers


class CodingProject(IngestingProject):
    """An open project folder, with one method for each command of ``backbone``, ``embed`` and ``codebook``."""

    def backbone_create(self) -> RunRecord:
        """Create the built-in backbone."""
        remove_leftovers(self.layout)
        from semconv.stages.embed.backbone import create_backbone_run

        return self._record(create_backbone_run(self.workspace))

    def backbone_use(self, path: str) -> RunRecord:
        """Use a pretrained model from a folder or from the Hugging Face Hub as the backbone."""
        remove_leftovers(self.layout)
        from semconv.stages.embed.backbone import use_backbone_run

        return self._record(use_backbone_run(self.workspace, path))

    def embed_behavior(self) -> RunRecord:
        """Compute the behaviour vectors of items and users."""
        remove_leftovers(self.layout)
        from semconv.stages.embed.behavior import embed_behavior_run

        return self._record(embed_behavior_run(self.workspace))

    def embed_text(self) -> RunRecord:
        """Compute the text vectors of items."""
        remove_leftovers(self.layout)
        from semconv.stages.embed.text import embed_text_run

        return self._record(embed_text_run(self.workspace, self.workspace.need(columns.BACKBONE)))

    def codebook_fit(self) -> RunRecord:
        """Fit a new code set. Earlier code sets stay."""
        remove_leftovers(self.layout)
        from semconv.stages.codes.fit import fit_codebook_run

        behavior, text = self.workspace.need(columns.EMBED_BEHAVIOR), self.workspace.need(columns.EMBED_TEXT)
        return self._record(fit_codebook_run(self.workspace, behavior, text))

    def codebook_load(self, file: Path) -> RunRecord:
        """Load external codes from a file as a new code set. Earlier code sets stay.

        Without behaviour vectors, they are computed first: a code set knows how popular its items were in training.
        """
        remove_leftovers(self.layout)
        from semconv.stages.codes.fit import load_codes_run

        behavior = self.workspace.latest(columns.EMBED_BEHAVIOR) or self.embed_behavior()
        return self._record(load_codes_run(self.workspace, behavior, file))

    def codebook_assign(self) -> RunRecord | None:
        """Assign codes to new items, in the code set of the current model and in a newer one; None if no item gets codes.

        The next model is tuned on the newer set, so its new items need codes before that.
        """
        remove_leftovers(self.layout)
        from semconv.stages.codes.assign import assign_run

        workspace = self.workspace
        current, newest = workspace.code_lineage(), workspace.need(columns.CODEBOOK)
        lineages = [current]
        if newest.run_id != current.codebook.run_id:
            lineages.append(Lineage.current(workspace.store, newest))
        outcomes = [outcome for lineage in lineages if (outcome := assign_run(workspace, lineage)) is not None]
        records = [self._record(outcome) for outcome in outcomes]
        return records[-1] if records else None

    def codebook_report(self, *, codes: Path | None = None, html: Path | None = None) -> dict[str, Any]:
        """Measure the current code set, or external codes in a Parquet file; ``html`` is a file for the report."""
        from semconv.reports.code_page import report_page
        from semconv.stages.codes.report import codebook_report, external_report

        if codes is None:
            report = codebook_report(self.workspace, self.workspace.code_lineage())
        else:
            report = external_report(self.workspace, codes)
        if html is not None:
            with machine_errors(html):
                write_bytes(html, report_page(report).encode(), PUBLIC_FILE)
        return report

    def _record(self, outcome: Outcome) -> RunRecord:
        if outcome.is_reused:
            self.progress.say(f"{outcome.record.run_id} exists already and is reused")
        return outcome.record
