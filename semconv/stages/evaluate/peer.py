"""Train a peer on the data of an evaluation, and score its lists on the same users, candidates and masked items."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from semconv import columns
from semconv.artifacts import atomic_path, read_json, write_json
from semconv.columns import Split
from semconv.data.histories import Histories
from semconv.data.splits import targets, train_part
from semconv.data.store import RunRecord
from semconv.evaluation.segments import draw_users
from semconv.peers.data import PeerData, RankingTask
from semconv.peers.settings import Limits, PeerSettings
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.files import FIGURES, PEER_WEIGHTS
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.settings.tree import Settings
from semconv.stages.evaluate.case import EvaluationCase, allowed_digest
from semconv.stages.evaluate.rankings import Ranking
from semconv.stages.evaluate.run import score_rankings

_EPOCHS = 20


def evaluate_peer(workspace: Workspace, recommend: RunRecord, peer: str) -> tuple[Outcome, RunRecord]:
    """Train a peer, or reuse its training, and score its lists on the users of a recommend run.

    Returns:
        the evaluate run of the peer, and the run of its training.

    Raises:
        SettingsError: there is no peer of this name.
    """
    case = EvaluationCase.read(workspace, Lineage.of(workspace.store, recommend))
    trained = peer_run(workspace, case, peer).record

    def compute(folder: Path) -> dict[str, pa.Table]:
        from safetensors.torch import load_file

        from semconv.peers.ranking import best_items
        from semconv.peers.registry import make_network

        network = make_network(peer, len(case.item_ids), peer_settings(workspace.settings))
        network.load_state_dict(load_file(workspace.intact(trained, PEER_WEIGHTS)))
        task = _task(case, case.split, case.users)
        ranking = Ranking(peer, best_items(network, task, case.list_length), None, {"peer_run": trained.run_id})
        return score_rankings(workspace, case, folder, [ranking], 1)

    inputs = (case.lineage.finetune, recommend, trained)
    request = StageRequest(columns.EVALUATE, workspace.section("evaluate"), inputs, ("interaction",), {"methods": peer})
    return workspace.book.execute(request, compute), trained


def peer_run(workspace: Workspace, case: EvaluationCase, peer: str) -> Outcome:
    """Train a peer on the train cut of the settings. With the train cut ``[:-2]``, validation chooses the epoch.

    The limits of the training are those of the section ``tuning``: epochs, samples and patience.
    """
    network, limits = peer_settings(workspace.settings), peer_limits(workspace.settings)

    def compute(folder: Path) -> dict[str, pa.Table]:
        from safetensors.torch import save_file

        from semconv.peers.training import PeerTraining

        training = PeerTraining(peer, peer_data(workspace, case), network, folder, workspace.progress)
        training.run(limits)
        weights = {name: weight.contiguous() for name, weight in training.best_model().state_dict().items()}
        with atomic_path(folder / PEER_WEIGHTS) as path:
            save_file(weights, path)
        write_json(folder / FIGURES, training.figures())
        return {}

    content = {"allowed": allowed_digest(case.allowed)}
    request = StageRequest(columns.PEER, training_settings(workspace, peer), (), ("interaction",), content)
    return workspace.book.execute(request, compute)


def training_settings(workspace: Workspace, peer: str) -> dict[str, Any]:
    """Return the settings that the training of a peer reads."""
    settings = workspace.settings
    return {
        "peer": peer,
        "network": dataclasses.asdict(peer_settings(settings)),
        "limits": dataclasses.asdict(peer_limits(settings)),
        "validation_users": settings.tuning.validation_users,
        "split": {**workspace.section("split")["split"], "seen": settings.recommend.seen},
    }


def peer_settings(settings: Settings) -> PeerSettings:
    """Return the settings of a peer's network: the defaults, with the length of histories and the seed of the settings."""
    return PeerSettings(history=settings.split.history_length, seed=settings.tuning.seed)


def peer_limits(settings: Settings) -> Limits:
    """Return the limits of a peer's training, which are those of the tuning; without ``tuning.epochs``, 20 epochs."""
    tuning = settings.tuning
    return Limits(_EPOCHS if tuning.epochs is None else tuning.epochs, tuning.max_samples, tuning.patience)


def peer_data(workspace: Workspace, case: EvaluationCase) -> PeerData:
    """Return the training sequences of the settings and, with the train cut ``[:-2]``, users to validate on."""
    settings = workspace.settings
    num_items = len(case.item_ids)
    train = train_part(case.sequences, settings.split.train_cut, settings.split.k_core, num_items)
    held_out = np.flatnonzero(targets(case.sequences, "valid") >= 0).astype(np.int32)
    wanted = settings.tuning.validation_users
    if settings.split.train_cut != "[:-2]" or wanted == 0 or len(held_out) == 0:
        return PeerData(train, num_items)
    return PeerData(train, num_items, _task(case, "valid", draw_users(held_out, wanted, settings.tuning.seed)))


def peer_figures(workspace: Workspace, run: RunRecord) -> dict[str, Any]:
    """Return the figures of a peer's training: ``epochs``, ``samples``, ``processor_seconds``, ``best_epoch``, ..."""
    figures: dict[str, Any] = read_json(workspace.intact(run, FIGURES))
    return figures


def _task(case: EvaluationCase, split: Split, users: np.ndarray[Any, np.dtype[np.int32]]) -> RankingTask:
    histories = Histories.under(case.sequences, split)
    return RankingTask(
        [histories.of(int(user)) for user in users],
        targets(case.sequences, split)[users],
        case.allowed,
        case.is_masked,
    )
