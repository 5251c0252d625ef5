"""Choose the number of epochs of a training on validation items, on which no validation can choose it.

An equal training that left the validation items out (train cut ``[:-2]``) has chosen its best epoch. A training with the
same settings and data on the train cut ``[:-1]`` then takes this many epochs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from semconv import columns
from semconv.data.store import RunRecord
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace, is_created, is_loaded
from semconv.stages.agreement import HONEST_CUT, stopping_mask
from semconv.stages.stage_settings import settings_today
from semconv.stages.tune.figures import tuning_figures
from semconv.stages.tune.inputs import TuningInputs
from semconv.tokenization.code_set import CodeSet

_COMPARED = (columns.BACKBONE, columns.EMBED_BEHAVIOR, columns.EMBED_TEXT, columns.CODEBOOK, columns.FINETUNE)


def chosen_epochs(workspace: Workspace, inputs: TuningInputs) -> tuple[RunRecord, int] | None:
    """Return the equal tuning on ``[:-2]`` with the number of its best epoch, and say what decides the epochs.

    Return None if validation chooses the epochs, or if there is no such tuning: then the settings decide.
    """
    settings = workspace.settings
    cut, epochs = settings.split.train_cut, settings.tuning.epochs
    if cut == HONEST_CUT or not inputs.takes_epochs:
        return None
    found = None if inputs.start is not None else _best_before(workspace, inputs)
    if found is not None:
        run, best = found
        workspace.progress.say(
            f"training {best} epochs, because {run.run_id} with the train cut {HONEST_CUT}, the same settings and the same"
            f" data was best after {best}"
        )
        return found
    decides = "the default of tuning.epochs" if epochs is None else f"tuning.epochs = {epochs}"
    workspace.progress.say(
        f"{decides} decides the number of epochs: the train cut {cut} leaves no validation items, and no finished tuning with"
        f" {HONEST_CUT}, the same settings and the same data has chosen it"
    )
    return None


def finished_like(workspace: Workspace, codes_digest: str | None) -> Lineage | None:
    """Return the lineage of the newest finished tuning that the settings and the data would make again; None if none is.

    Args:
        codes_digest: digest of the file of external codes; None for codes that semconv fits.
    """
    return next(iter(_all_like(workspace, codes_digest)), None)


def loaded_digest(workspace: Workspace, codebook: RunRecord) -> str | None:
    """Return the digest of the file of a set of external codes; None for codes that semconv fitted."""
    if not is_loaded(codebook):
        return None
    digest: str | None = CodeSet.load(workspace.intact(codebook)).figures.get("digest")
    return digest


def best_epoch(workspace: Workspace, finetune: RunRecord) -> int:
    """Return the number of a tuning's best epoch; -1 if no validation chose one."""
    return int(tuning_figures(workspace, finetune)["best_epoch"])


def _best_before(workspace: Workspace, inputs: TuningInputs) -> tuple[RunRecord, int] | None:
    split = dataclasses.replace(workspace.settings.split, train_cut=HONEST_CUT)
    before = dataclasses.replace(workspace, settings=dataclasses.replace(workspace.settings, split=split))
    for lineage in _all_like(before, loaded_digest(workspace, inputs.codes.codebook)):
        best = best_epoch(workspace, lineage.finetune)
        if best > 0 and _is_same_kind(lineage.backbone, inputs.backbone):
            return lineage.finetune, best
    return None


def _is_same_kind(backbone: RunRecord, other: RunRecord) -> bool:
    """Return whether two backbones are both built in, or the same pretrained model."""
    if is_created(backbone) and is_created(other):
        return True
    return bool(backbone.settings["backbone"] == other.settings["backbone"])


def _all_like(workspace: Workspace, codes_digest: str | None) -> Iterator[Lineage]:
    """Yield the lineages of ``finished_like``, newest first."""
    book = workspace.book
    for run in book.finished(columns.FINETUNE):
        lineage = Lineage.of(workspace.store, run)
        made = [record for record in lineage.runs if record.stage in _COMPARED]
        if "from" in run.settings or not all(map(book.is_done, made)):  # files of old runs may have been deleted
            continue
        is_external = is_loaded(lineage.codebook)
        if is_external != (codes_digest is not None):
            continue
        today = settings_today(workspace, lineage)
        if stopping_mask(run.settings) != stopping_mask(today[columns.FINETUNE]):
            continue
        if any(book.is_stale(record, today[record.stage]) for record in made):
            continue
        if not is_external or loaded_digest(workspace, lineage.codebook) == codes_digest:
            yield lineage
