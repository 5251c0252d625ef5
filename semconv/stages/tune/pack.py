"""Write the inputs of a training into a folder for another machine, and record which users the folder holds.

The record is a run of the stage ``pack``. It has the checksums of the folder's files, and the ``user_index`` of each
user who is in them. ``semconv forget`` erases a user from the record, as from every file of a run. The record then has
fewer users than it counts, so the project knows that the folder holds a forgotten user without knowing whom.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import read_arrays, read_json, write_arrays, write_json
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.runs.book import StageRequest
from semconv.runs.files import PACK_RECORD, PACK_USERS
from semconv.runs.workspace import Workspace
from semconv.stages.tune.inputs import TuningInputs
from semconv.stages.tune.preparation import Preparation
from semconv.stages.tune.run import WantedTuning, wanted_tuning
from semconv.stages.tune.saving import record_samples
from semconv.train.pack import require_free, seal_pack, write_pack
from semconv.train.task import TuningTask
from semconv.tuning.model import codes_digest


@dataclass(frozen=True)
class PackRecord:
    """What the project remembers of a pack.

    Attributes:
        files: SHA-256 of each file of the pack.
        settings: the settings of the tuning.
        hashes: hashes of the tables that the pack was made from.
        backbone: id of the run of the language model before tuning.
        codebook: id of the run of the code set.
        codes_digest: digest of the codes.
        train_interactions: number of interactions in the train cut.
        epochs_before: number of epochs of the tunings that this one continues; None if it continues none.
        chosen_by: id of the tuning that chose the number of epochs; None if none did.
        num_users: number of users whom the pack holds.
    """

    files: Mapping[str, str]
    settings: Mapping[str, Any]
    hashes: Mapping[str, str]
    backbone: str
    codebook: str
    codes_digest: str
    train_interactions: int
    epochs_before: int | None
    chosen_by: str | None
    num_users: int

    @classmethod
    def read(cls, workspace: Workspace, run: RunRecord) -> PackRecord:
        """Read the record of a pack; raise InputError if it is damaged."""
        return cls(**read_json(workspace.intact(run, PACK_RECORD)))

    def num_forgotten(self, workspace: Workspace, run: RunRecord) -> int:
        """Return how many users of the pack were forgotten since."""
        return self.num_users - len(read_arrays(workspace.intact(run, PACK_USERS))["users"])


def pack_run(workspace: Workspace, inputs: TuningInputs, folder: Path) -> RunRecord:
    """Write the tuning that the settings ask for into a folder, and return the run that records it.

    Raises:
        InputError: the folder holds other files or lies in the project's data, the backbone comes with code of its own,
            or the tuning would continue an earlier one and nothing is new since.
    """
    require_free(folder, workspace.book.runs_folder.parent)
    wanted = wanted_tuning(workspace, inputs)
    if wanted is None:
        raise InputError("there is nothing to train, so nothing was packed; ingest new data first")
    files: dict[str, str] = {}

    def compute(run_folder: Path) -> dict[str, pa.Table]:
        preparation = wanted.prepared(workspace)
        task = preparation.task
        _require_no_code(task)
        users = _users(task, preparation)
        files.update(write_pack(folder, task, preparation.start_model()))
        record_samples(run_folder, task.data)
        write_arrays(run_folder / PACK_USERS, {"users": users})
        write_json(run_folder / PACK_RECORD, asdict(_record(workspace, wanted, task, files, len(users))))
        return {}

    request = wanted.request
    # Each pack is a run of its own, because the folder of an earlier one may be lost.
    content = {"pack": secrets.token_hex(8)}
    made = StageRequest(columns.PACK, request.settings, request.inputs, request.tables, content)
    record = workspace.book.execute(made, compute).record
    seal_pack(folder, record.run_id, files)
    return record


def _record(
    workspace: Workspace, wanted: WantedTuning, task: TuningTask, files: Mapping[str, str], num_users: int
) -> PackRecord:
    origin = wanted.origin(workspace, len(task.data.touched.items))
    return PackRecord(
        files,
        wanted.request.settings,
        workspace.book.hashes(wanted.request),
        origin.backbone.run_id,
        origin.codebook.run_id,
        codes_digest(task.item_index, task.codes),
        origin.train_interactions,
        origin.epochs_before,
        origin.chosen_by,
        num_users,
    )


def _users(task: TuningTask, preparation: Preparation) -> NDArray[np.int64]:
    """Return the ``user_index`` of everybody whose interactions are in a pack.

    They are the users whose sequences are trained and the validation users, and for a model that reads items everybody
    with training interactions, because all of these are counted for the popularity and the successors of items.
    """
    validation = preparation.validation
    data = None if validation is None else validation.data
    has_counts = data is not None and (
        data.successors is not None or (data.moments is not None and len(data.moments.events))
    )
    users = np.flatnonzero(task.data.touched.lengths if has_counts else np.diff(task.data.offsets))
    return users if validation is None else np.union1d(users, validation.users)


def _require_no_code(task: TuningTask) -> None:
    if getattr(task.config, "auto_map", None):
        raise InputError(
            "the backbone comes with code of its own, and a pack holds no code; train it here with `semconv finetune`"
        )
