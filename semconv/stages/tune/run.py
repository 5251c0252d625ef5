"""The stage that tunes the backbone on the current codes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa

from semconv import columns
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.files import MODEL_FOLDER
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.settings.tuning import TuningSettings
from semconv.stages import stage_settings
from semconv.stages.agreement import code_scores
from semconv.stages.codes.assign import assign_run
from semconv.stages.codes.item_codes import ItemCodes
from semconv.stages.stage_settings import resolved_tuning
from semconv.stages.tune.chosen_epochs import chosen_epochs
from semconv.stages.tune.figures import tuning_figures
from semconv.stages.tune.inputs import TuningInputs
from semconv.stages.tune.preparation import Preparation
from semconv.stages.tune.prompts import training_data
from semconv.stages.tune.saving import Origin, epochs_before, record_samples, save_model
from semconv.stages.tune.start import check_start, has_work
from semconv.stages.tune.tuned import tuned_digest
from semconv.train.group import Leader
from semconv.train.training import train
from semconv.tuning.processes import connect
from semconv.tuning.validation_score import SUCCESSOR_FACTOR


def finetune_run(workspace: Workspace, inputs: TuningInputs, leader: Leader | None = None) -> Outcome:
    """Tune the backbone on the current codes, or continue an earlier tuning on the same code set.

    A tuning that continues an earlier tuning has the same mode: it trains the whole model, or an adapter of the same
    shape. A continued tuning trains on all data that is new since the earlier tuning, and on a share of the old data,
    at a lower learning rate. New items get codes before the training. If nothing is new, the result is the earlier
    tuning.

    Args:
        leader: the first process that torchrun started; None to train in this process alone.

    Raises:
        InputError: the earlier run is not a finished tuning on this code set, or its codes have changed.
        SettingsError: the settings have another mode or adapter than the earlier run, or ``recommend.scores`` differs
            from the loss.
    """
    wanted = wanted_tuning(workspace, inputs)
    if wanted is None:
        assert inputs.start is not None
        return Outcome(workspace.book.take_up(inputs.start.run), True, 0.0)

    def compute(folder: Path) -> dict[str, pa.Table]:
        preparation = wanted.prepared(workspace)
        task, start = preparation.task, preparation.start_model()
        trained = train(task, start, folder, leader or Leader(connect()), workspace.progress)
        record_samples(folder, task.data)
        save_model(workspace, folder, task, trained, wanted.origin(workspace, len(task.data.touched.items)))
        return {}

    return workspace.book.execute(wanted.request, compute)


@dataclass(frozen=True)
class WantedTuning:
    """A tuning that the project can train, here or elsewhere.

    Attributes:
        request: the run that the tuning makes.
        chosen_by: id of the tuning without validation items that chose the number of epochs; None if none did.
    """

    inputs: TuningInputs
    tuning: TuningSettings
    request: StageRequest
    chosen_by: str | None

    def prepared(self, workspace: Workspace) -> Preparation:
        """Return the preparation of the tuning, which reads its inputs when they are asked for."""
        codes = ItemCodes.read(workspace, self.inputs.codes.code_runs)
        return Preparation(workspace, self.inputs, self.tuning, codes)

    def origin(self, workspace: Workspace, train_interactions: int) -> Origin:
        """Return what the run records of its inputs."""
        inputs = self.inputs
        before = epochs_before(workspace, inputs.start)
        return Origin(
            inputs.backbone, inputs.codes.codebook, self.request.settings, train_interactions, before, self.chosen_by
        )


def wanted_tuning(workspace: Workspace, inputs: TuningInputs) -> WantedTuning | None:
    """Return the tuning that the settings ask for; None if it continues an earlier tuning and nothing is new since.

    New items get codes first, if the tuning continues an earlier one. The docstring of ``finetune_run`` describes the
    errors.
    """
    start = inputs.start
    if start is not None:
        inputs = _with_new_codes(workspace, inputs, start)
        codes_now = ItemCodes.read(workspace, inputs.codes.code_runs)
        if not has_work(workspace, start.run, training_data(workspace, codes_now, start)):
            return None
    codebook, goes_on = inputs.codes.codebook, start is not None
    tuning = resolved_tuning(workspace, inputs.backbone, codebook, goes_on=goes_on)
    code_scores(workspace.settings.recommend, asdict(tuning))  # refuses other scores of lists before the training
    read = stage_settings.finetune(workspace, inputs.backbone, codebook, goes_on=goes_on)
    chosen, chosen_by = chosen_epochs(workspace, inputs), None
    if chosen is not None:  # beside the settings, so that a run is not stale because of it
        run, epochs = chosen
        # A run without successors has None, as has one of a version without factors.
        factor = tuning_figures(workspace, run).get(SUCCESSOR_FACTOR) or 1.0
        read["chosen"] = {"epochs": epochs}
        if tuning.successor_factor is None and factor != 1.0:
            read["chosen"][SUCCESSOR_FACTOR] = factor
        tuning, chosen_by = replace(tuning, **read["chosen"]), run.run_id
    request = StageRequest(columns.FINETUNE, read, inputs.runs, ("item", "interaction"))
    return WantedTuning(inputs, tuning, request, chosen_by)


def _with_new_codes(workspace: Workspace, inputs: TuningInputs, start: Lineage) -> TuningInputs:
    """Give codes to new items and return the new inputs. Refuse the earlier tuning if its codes have changed since."""
    from semconv.tuning.model import tuned_manifest

    # Called here only so that wrong settings raise an error early.
    resolved_tuning(workspace, inputs.backbone, inputs.codes.codebook, goes_on=True)
    check_start(workspace, start, inputs.codes.codebook)
    digest = tuned_digest(workspace, start, ItemCodes.read(workspace, start.code_runs))
    tuned_manifest(workspace.book.folder(start.run) / MODEL_FOLDER, digest)
    assign_run(workspace, inputs.codes)
    return TuningInputs(inputs.backbone, Lineage.current(workspace.store, inputs.codes.codebook), start)
