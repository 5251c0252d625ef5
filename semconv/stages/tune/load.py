"""Make the result of a training elsewhere an ordinary run of the stage ``finetune``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from semconv import columns
from semconv.artifacts import read_arrays, write_arrays, write_bytes
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.reports.training_chart import write_chart
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.files import STEPS, TRAINING_CHART, TUNED_ON, training_states
from semconv.runs.workspace import Workspace
from semconv.stages.codes.item_codes import ItemCodes
from semconv.stages.embed.backbone import intact_backbone
from semconv.stages.tune.pack import PackRecord
from semconv.stages.tune.saving import Origin, save_model
from semconv.train.pack import Pack
from semconv.train.result import Result, read_result
from semconv.train.task import TuningTask
from semconv.train.training import Trained
from semconv.tuning.model import codes_digest
from semconv.tuning.step_log import step_line

_AGAIN = "make a new pack with `semconv finetune pack DIR` and train it"


def load_run(workspace: Workspace, folder: Path, *, older_data: bool) -> Outcome:
    """Check the result in the folder of a pack, and make it a finished run, as if it had been trained here.

    Args:
        older_data: whether to load a result although the items or interactions changed since the pack was made. The run
            is then one of the earlier data.

    Raises:
        InputError: this project did not make the pack, the pack holds a user who was forgotten since, a file is damaged,
            the code set or the data changed, there is no result, or its weights or figures cannot be those of the
            training.
    """
    pack = Pack.open(folder)
    run = _pack_run(workspace, pack)
    record = PackRecord.read(workspace, run)
    _require_nobody_forgotten(workspace, pack, run, record)
    _require_own_files(pack, record)
    request = _request(workspace, run, record)
    _require_same_codes(workspace, pack, run, record)
    _require_same_data(workspace, pack, request, older_data=older_data)
    result, task = read_result(pack), pack.task()
    task.config.name_or_path = intact_backbone(workspace, workspace.run(record.backbone))  # an adapter names it
    trained = result.model(task)

    def compute(run_folder: Path) -> dict[str, pa.Table]:
        _save(workspace, run_folder, _Loaded(run, record, task, result, trained))
        return {}

    return workspace.book.execute(request, compute)


@dataclass(frozen=True)
class _Loaded:
    """A checked result, and where its pack came from."""

    run: RunRecord
    record: PackRecord
    task: TuningTask
    result: Result
    trained: Trained


def _pack_run(workspace: Workspace, pack: Pack) -> RunRecord:
    """Return the run that records a pack."""
    runs = workspace.store.runs(stage=columns.PACK, status="finished")
    run = next((run for run in runs if run.run_id == pack.pack_id), None)
    if run is None or not workspace.book.folder(run).is_dir():
        raise InputError(
            f"{pack.folder}: this project has no record of its pack, because another project made it or `semconv prune`"
            f" removed the record; {_AGAIN}"
        )
    return run


def _require_nobody_forgotten(workspace: Workspace, pack: Pack, run: RunRecord, record: PackRecord) -> None:
    forgotten = record.num_forgotten(workspace, run)
    if forgotten:
        raise InputError(
            f"{pack.folder}: the pack holds {forgotten} of the users whom `semconv forget` erased since, so its result"
            f" cannot be used; delete the folder and all its copies, and {_AGAIN}"
        )


def _require_own_files(pack: Pack, record: PackRecord) -> None:
    """Raise InputError if a file of the pack is not the one that this project wrote."""
    changed = sorted(name for name in {*record.files, *pack.files} if record.files.get(name) != pack.files.get(name))
    if changed:
        raise InputError(
            f"{pack.folder / changed[0]}: not the file that this project wrote; copy the pack again, or {_AGAIN}"
        )
    pack.verify()


def _request(workspace: Workspace, run: RunRecord, record: PackRecord) -> StageRequest:
    """Return the run that a training here would have made when the pack was made."""
    inputs = tuple(workspace.run(run_id) for run_id in run.inputs)
    return StageRequest(columns.FINETUNE, record.settings, inputs, ("item", "interaction"), {}, record.hashes)


def _require_same_codes(workspace: Workspace, pack: Pack, run: RunRecord, record: PackRecord) -> None:
    """Raise InputError if the code set changed, or one of the runs that the model needs is damaged."""
    current = workspace.need(columns.CODEBOOK)
    if current.run_id != record.codebook:
        raise InputError(
            f"{pack.folder}: trained on the code set {record.codebook}, but the current one is {current.run_id}; {_AGAIN}"
        )
    inputs = [workspace.run(run_id) for run_id in run.inputs]
    made_codes = tuple(one for one in inputs if one.stage in (columns.CODEBOOK, columns.ASSIGN))
    codes = ItemCodes.read(workspace, made_codes)
    if codes_digest(codes.item_index, codes.codes) != record.codes_digest:
        raise InputError(f"{pack.folder}: the codes of the items changed since the pack was made; {_AGAIN}")


def _require_same_data(workspace: Workspace, pack: Pack, request: StageRequest, *, older_data: bool) -> None:
    """Raise InputError if the tables changed since the pack was made, unless older data are allowed."""
    hashes: Mapping[str, str] = request.hashes or {}
    changed = sorted(table for table, digest in hashes.items() if workspace.store.content_hash(table) != digest)
    if not changed:
        return
    what = " and ".join({"item": "items", "interaction": "interactions"}[table] for table in changed)
    if not older_data:
        raise InputError(
            f"{pack.folder}: the {what} changed since the pack was made; load the model of the earlier data with"
            f" --older-data, or {_AGAIN}"
        )
    workspace.progress.say(
        f"the {what} changed since the pack was made, so this is a model of the earlier data; `semconv finetune --from"
        " current` continues it on the new data"
    )


def _save(workspace: Workspace, folder: Path, loaded: _Loaded) -> None:
    """Write the files that a training here would have left."""
    record, result, task = loaded.record, loaded.result, loaded.task
    for path in training_states(folder):  # of a training of this run that was killed here
        path.unlink()
    backbone, codebook = workspace.run(record.backbone), workspace.run(record.codebook)
    write_arrays(folder / TUNED_ON, read_arrays(workspace.intact(loaded.run, TUNED_ON)))
    write_bytes(folder / STEPS, "".join(map(step_line, result.steps)).encode())
    origin = Origin(
        backbone, codebook, record.settings, record.train_interactions, record.epochs_before, record.chosen_by
    )
    save_model(workspace, folder, task, loaded.trained, origin)
    write_chart(folder / TRAINING_CHART, result.steps, result.figures["validations"])
