"""The runs that a tuning reads."""

from __future__ import annotations

from dataclasses import dataclass

from semconv import columns
from semconv.data.store import RunRecord
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace

CURRENT = "current"  # in place of a run id: the newest tuning


@dataclass(frozen=True)
class TuningInputs:
    """The runs that a tuning reads.

    Attributes:
        backbone: the language model.
        codes: the current lineage of the code set.
        start: the current lineage of the tuning that it starts from; None to start from the backbone.
    """

    backbone: RunRecord
    codes: Lineage
    start: Lineage | None = None

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """The inputs that the run records."""
        return (self.backbone, *self.codes.code_runs, *([] if self.start is None else [self.start.run]))


def tuning_inputs(workspace: Workspace, from_run: str | None) -> TuningInputs:
    """The inputs of a tuning on the newest code set.

    Says so when the codes are aligned to another backbone than the one that is tuned.

    Args:
        from_run: the id of a tuning to go on from, or ``current``; None to start from the backbone.
    """
    start = None
    if from_run is not None:
        run = workspace.need(columns.FINETUNE) if from_run == CURRENT else workspace.run(from_run)
        start = Lineage.current(workspace.store, run)
    codes = Lineage.current(workspace.store, workspace.need(columns.CODEBOOK))
    backbone = workspace.need(columns.BACKBONE) if start is None else start.backbone
    aligned_to = codes.find(columns.BACKBONE)
    if aligned_to is not None and backbone.run_id != aligned_to.run_id:
        workspace.progress.say(
            f"the codes are aligned to another backbone than {backbone.run_id};"
            " `semconv embed text` and `semconv codebook fit` align them to this one"
        )
    return TuningInputs(backbone, codes, start)
