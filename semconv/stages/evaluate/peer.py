"""Train a peer on the data of an evaluation, and score its lists on the same users, candidates and masked items."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import atomic_path, write_json
from semconv.columns import Split
from semconv.data.calendar import Calendar
from semconv.data.core import train_part
from semconv.data.histories import Histories
from semconv.data.splits import targets
from semconv.data.store import RunRecord, Sequences, day_numbers
from semconv.evaluation.segments import draw_users
from semconv.item_head.texts import TextBasis
from semconv.peers.data import PeerData, RankingTask
from semconv.peers.inputs import SideInputs
from semconv.peers.settings import Limits, Peer, PeerSettings
from semconv.ragged import offsets_of
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.files import FIGURES, PEER_WEIGHTS
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.settings.tree import Settings
from semconv.settings.tuning import VALIDATION_USERS
from semconv.stages.evaluate.case import EvaluationCase, allowed_digest
from semconv.stages.evaluate.rankings import Ranking
from semconv.stages.evaluate.run import score_rankings
from semconv.stages.stage_settings import masked

_EPOCHS = 20
_OF_SEQUENCES = ("temporal_at", "events")  # what decides the sequences; the rest of the split chooses a part of them
_ANY_EPOCHS = 1000  # of a training that its time or its patience ends
Users = NDArray[np.int32]


def evaluate_peer(workspace: Workspace, recommend: RunRecord, peer: Peer) -> tuple[Outcome, RunRecord]:
    """Train a peer, or reuse its training, and score its lists on the users of a recommend run.

    Returns:
        the evaluate run of the peer, and the run of its training.

    Raises:
        SettingsError: there is no peer of this name.
    """
    case = EvaluationCase.read(workspace, Lineage.of(workspace.store, recommend))
    trained = peer_run(workspace, case, peer).record

    def compute(folder: Path) -> dict[str, pa.Table]:
        items = peer_lists(workspace, case, peer, trained)(case.users)
        ranking = Ranking(peer.name, items, None, {"peer_run": trained.run_id})
        return score_rankings(workspace, case, folder, [ranking], 1)

    inputs = (case.lineage.ranker, recommend, trained)
    content = {"methods": peer.name}
    request = StageRequest(columns.EVALUATE, workspace.section("evaluate"), inputs, ("interaction",), content)
    return workspace.book.execute(request, compute), trained


def peer_lists(
    workspace: Workspace, case: EvaluationCase, peer: Peer, trained: RunRecord
) -> Callable[[Users], NDArray[np.int32]]:
    """Load a trained peer; return a function that gives the lists ``(n, K)`` of some users."""
    from safetensors.torch import load_file

    from semconv.peers.ranking import best_items
    from semconv.peers.registry import make_network

    side = side_inputs(workspace, case, peer)
    network = make_network(peer.name, len(case.item_ids), peer_settings(workspace.settings), side)
    network.load_state_dict(load_file(workspace.intact(trained, PEER_WEIGHTS)))
    return lambda users: best_items(network, _task(case, case.split, users, side), case.list_length)


def peer_run(workspace: Workspace, case: EvaluationCase, peer: Peer) -> Outcome:
    """Train a peer on the train cut of the settings. With the train cut ``[:-2]``, validation chooses the epoch.

    The sequences are those of the case: events and the cut in time are those of the model.

    The limits of the training are those of the section ``tuning``: epochs, samples and patience. A peer with a limit in
    processor seconds has no limit on epochs and samples.
    """
    network, limits = peer_settings(workspace.settings), peer_limits(workspace.settings, peer)

    def compute(folder: Path) -> dict[str, pa.Table]:
        from safetensors.torch import save_file

        from semconv.peers.training import PeerTraining

        training = PeerTraining(peer.name, peer_data(workspace, case, peer), network, folder, workspace.progress)
        training.run(limits)
        weights = {name: weight.contiguous() for name, weight in training.best_model().state_dict().items()}
        with atomic_path(folder / PEER_WEIGHTS) as path:
            save_file(weights, path)
        write_json(folder / FIGURES, training.figures())
        return {}

    content = {"allowed": allowed_digest(case.allowed)}
    inputs: tuple[RunRecord, ...] = ()
    if peer.texts and case.lineage.text is not None:
        inputs = (case.lineage.text,)
        content |= _later_texts(workspace, case.lineage.text)
    settings = training_settings(workspace, peer, case.lineage.split)
    request = StageRequest(columns.PEER, settings, inputs, ("interaction",), content)
    return workspace.book.execute(request, compute)


def _later_texts(workspace: Workspace, text: RunRecord) -> dict[str, str]:
    """Return a digest of the texts of items that came after the text vectors; nothing without such items."""
    from semconv.stages.tune.item_setup import later_texts

    texts = later_texts(workspace, text, workspace.store.catalog())
    return {"texts": hashlib.sha256(json.dumps(texts).encode()).hexdigest()} if texts else {}


def training_settings(workspace: Workspace, peer: Peer, split: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the settings that the training of a peer reads, without options that it does not use.

    Args:
        split: the section ``split`` of the run whose events and cut in time the training sequences have; None for the
            settings of the project.
    """
    settings, mine = workspace.settings, workspace.section("split")["split"]
    of_sequences = mine if split is None else split
    limits = dataclasses.asdict(peer_limits(settings, peer))
    if not limits["processor_seconds"]:
        del limits["processor_seconds"]
    reads = [name for name in ("dates", "texts") if getattr(peer, name)]
    return {
        "peer": peer.name,
        **({"reads": reads} if reads else {}),
        "network": dataclasses.asdict(peer_settings(settings)),
        "limits": limits,
        "validation_users": _validation_users(settings),
        "split": {
            **{name: value for name, value in mine.items() if name not in _OF_SEQUENCES},
            **{name: of_sequences[name] for name in _OF_SEQUENCES if name in of_sequences},
            "seen": settings.recommend.seen,
            **(masked(workspace) if settings.recommend.seen == "masked" else {}),
        },
    }


def peer_settings(settings: Settings) -> PeerSettings:
    """Return the settings of a peer's network: the defaults, with the length of histories and the seed of the settings."""
    return PeerSettings(history=settings.split.history_length, seed=settings.tuning.seed)


def peer_limits(settings: Settings, peer: Peer) -> Limits:
    """Return the limits of a peer's training: its own time, or those of the tuning; without ``tuning.epochs``, 20 epochs."""
    tuning = settings.tuning
    if peer.processor_seconds:
        return Limits(_ANY_EPOCHS, patience=tuning.patience, processor_seconds=peer.processor_seconds)
    return Limits(_EPOCHS if tuning.epochs is None else tuning.epochs, tuning.max_samples, tuning.patience)


def _validation_users(settings: Settings) -> int:
    """Return the number of users on whom a peer is validated: as many as for a model that reads items."""
    wanted = settings.tuning.validation_users
    return VALIDATION_USERS["items"] if wanted is None else wanted


def peer_data(workspace: Workspace, case: EvaluationCase, peer: Peer) -> PeerData:
    """Return the training sequences of the settings and, with the train cut ``[:-2]``, users to validate on."""
    settings = workspace.settings
    num_items, train, side = len(case.item_ids), _train(workspace, case), side_inputs(workspace, case, peer)
    held_out = np.flatnonzero(targets(case.sequences, "valid") >= 0).astype(np.int32)
    wanted = _validation_users(settings)
    if settings.split.train_cut != "[:-2]" or wanted == 0 or len(held_out) == 0:
        return PeerData(train, num_items, None, side)
    users = draw_users(held_out, wanted, settings.tuning.seed)
    return PeerData(train, num_items, _task(case, "valid", users, side), side)


def side_inputs(workspace: Workspace, case: EvaluationCase, peer: Peer) -> SideInputs | None:
    """Return the dates and text vectors that a peer reads, as the item head reads them; None for items only."""
    if not (peer.dates or peer.texts):
        return None
    from semconv.stages.tune.item_setup import item_texts

    days = day_numbers(_train(workspace, case).times) if peer.dates else np.zeros(0, dtype=np.int64)
    table = np.zeros((len(case.item_ids), 0), dtype=np.float32)
    if peer.texts:
        texts = item_texts(workspace, case.lineage, workspace.store.catalog())
        table = TextBasis.of(texts.vectors).project(texts.item_index, texts.vectors, len(case.item_ids))
    return SideInputs(Calendar.of(days), table)


def _train(workspace: Workspace, case: EvaluationCase) -> Sequences:
    split = workspace.settings.split
    return train_part(case.sequences, split.train_cut, split.k_core, len(case.item_ids))


def _task(case: EvaluationCase, split: Split, users: Users, side: SideInputs | None) -> RankingTask:
    days = case.recommend.settings["recommend"].get("seen_days", 0.0)
    histories = case.histories if split == case.split else Histories.under(case.sequences, split, days)
    numbers = None
    if side is not None:
        items, lengths = histories.flat(users)
        offsets = offsets_of(lengths)
        numbers = np.split(side.numbers(items, histories.flat_times(users), offsets), offsets[1:-1])
    return RankingTask(
        [histories.of(int(user)) for user in users],
        targets(case.sequences, split)[users],
        case.allowed,
        case.is_masked,
        None if histories.seen is None else [histories.seen_of(int(user)) for user in users],
        numbers,
    )
