"""The input runs of a tuning."""

from __future__ import annotations

from dataclasses import dataclass

from semconv import columns
from semconv.data.store import RunRecord
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace

CURRENT = "current"  # given instead of a run id, this means the newest tuning


@dataclass(frozen=True)
class TuningInputs:
    """The input runs of a tuning.

    Attributes:
        backbone: the language model.
        codes: the current lineage of the code set.
        start: the current lineage of the tuning that this one continues from; None to start from the backbone.
        takes_epochs: whether a training on validation items takes the number of epochs from an equal training without
            them (``chosen_epochs``).
    """

    backbone: RunRecord
    codes: Lineage
    start: Lineage | None = None
    takes_epochs: bool = True

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """The runs that the tuning records as its inputs."""
        return (self.backbone, *self.codes.code_runs, *([] if self.start is None else [self.start.run]))


def tuning_inputs(workspace: Workspace, from_run: str | None) -> TuningInputs:
    """Return the inputs of a tuning on the newest code set.

    Print a warning if the codes were fitted to text vectors of another backbone than the backbone to tune.

    Args:
        from_run: the id of a tuning to continue from, or ``current``; None to start from the backbone.
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
            f"the codes were fitted to text vectors of another backbone than {backbone.run_id};"
            " `semconv embed text` and then `semconv codebook fit` make codes for this backbone"
        )
    return TuningInputs(backbone, codes, start)
