"""Save and load a fitted blend: its counts as safetensors, its weights and figures in a JSON manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from semconv.artifacts import read_arrays, read_json, write_arrays, write_json
from semconv.backbone.text_vectors import TextVectors
from semconv.behavior.vectors import BehaviorVectors
from semconv.blend.blend import Blend
from semconv.blend.features import feature_names
from semconv.blend.tables import TEXT, BlendTables, EventDays, unit_vectors
from semconv.blend.weights import LogitWeights
from semconv.counter.smoothed import SmoothedTables, SmoothedWeights
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.runs.files import BEHAVIOR_VECTORS, BLEND_MANIFEST, BLEND_TABLES, TEXT_VECTORS
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace, is_without_model
from semconv.search.search import ITEM_SCORE

BEHAVIOR = "behavior"
_CSR = ("data", "indices", "indptr")
_SMOOTHED = ("lifts", "hops")


def save_blend(folder: Path, blend: Blend, manifest: dict[str, Any]) -> None:
    """Write a blend without its vectors. The vectors are in the folders of the runs that made them."""
    tables = blend.tables
    arrays: dict[str, NDArray[Any]] = {"popularity": tables.popularity}
    if tables.counter is not None:
        arrays |= {f"counter_{name}": getattr(tables.counter, name) for name in _CSR}
    if tables.smoothed is not None:
        for table in _SMOOTHED:
            parts = getattr(tables.smoothed, table)
            arrays |= {f"{table}_{name}": getattr(parts, name) for name in _CSR}
        arrays["num_known"] = np.array([tables.smoothed.num_known])
    if tables.events is not None:
        arrays |= {"event_starts": tables.events.starts, "event_days": tables.events.days}
        if tables.events.weights is not None:
            arrays["event_weights"] = tables.events.weights
    write_arrays(folder / BLEND_TABLES, arrays)
    weights = {"first": blend.weights_without_model, "weights": blend.weights}
    plain = {name: value.plain() for name, value in weights.items() if value is not None}
    write_json(folder / BLEND_MANIFEST, {**manifest, **plain})


def read_manifest(workspace: Workspace, record: RunRecord) -> dict[str, Any]:
    """Read the manifest of a blend run (weights, figures, ``is_better``); InputError if it is missing or damaged."""
    manifest: dict[str, Any] = read_json(workspace.intact(record, BLEND_MANIFEST))
    return manifest


def load_blend(workspace: Workspace, record: RunRecord, lineage: Lineage) -> Blend:
    """Load the blend of a run; raise InputError if a file is missing or damaged.

    Args:
        lineage: the lineage of the blend run, or of the model that the blend belongs to.
    """
    manifest, path = read_manifest(workspace, record), workspace.intact(record, BLEND_TABLES)
    arrays = read_arrays(path)
    settings = record.settings["blend"]
    try:
        popularity = arrays["popularity"]
        counter = events = smoothed = None
        if settings["transition"]:
            counter = _table(arrays, "counter")
        if settings.get("smoothed"):  # blends of earlier versions have no smoothed counter
            lifts, hops = (_table(arrays, name) for name in _SMOOTHED)
            parameters = SmoothedWeights(**record.settings["smoothed"])
            smoothed = SmoothedTables(lifts, hops, int(arrays["num_known"][0]), parameters)
        if settings["recency"]:
            events = EventDays(arrays["event_starts"], arrays["event_days"], arrays.get("event_weights"))
        without, weights = read_weights(manifest, is_without_model=is_without_model(record))
    except KeyError as error:
        raise InputError(f"{path}: the entry {error} is missing; run `semconv blend` again") from error
    tables = BlendTables(
        counter=counter,
        history_decay=record.settings["counter"]["history_decay"],
        vectors=blend_vectors(workspace, lineage, settings, len(popularity)),
        popularity=popularity,
        events=events,
        with_popularity=settings["popularity"],
        proposing=(BEHAVIOR,) if settings["neighbor"] else (),
        smoothed=smoothed,
    )
    if without.names != feature_names(tables):
        raise InputError(
            f"{path}: {record.run_id} was fitted by another version, which computes other features; run `semconv blend`"
        )
    return weighted(tables, (without, weights), settings)


def read_weights(manifest: Mapping[str, Any], *, is_without_model: bool) -> tuple[LogitWeights, LogitWeights | None]:
    """Return the weights without and with the model's scores from the manifest of a blend; KeyError if they are missing."""
    return LogitWeights.of_plain(manifest["first"]), None if is_without_model else LogitWeights.of_plain(
        manifest["weights"]
    )


def weighted(tables: BlendTables, weights: tuple[LogitWeights, LogitWeights | None], parts: Mapping[str, Any]) -> Blend:
    """Return the blend of tables and weights.

    Args:
        weights: those without and those with the model's scores.
        parts: the section ``blend`` of the settings of a blend run.
    """
    without, both = weights
    scores_all = both is not None and ITEM_SCORE in both.names
    return Blend(tables, without, both, parts["candidates"], None if scores_all else parts["shortlist"])


def _table(arrays: Mapping[str, NDArray[Any]], name: str) -> sp.csr_array:
    """Return a stored table ``(I, I)``; KeyError if it is missing."""
    size = len(arrays["popularity"])
    table = sp.csr_array(tuple(arrays[f"{name}_{part}"] for part in _CSR), shape=(size, size))
    table.has_sorted_indices = True
    return table


def blend_vectors(
    workspace: Workspace, lineage: Lineage, settings: dict[str, Any], num_items: int
) -> dict[str, NDArray[np.float32]]:
    """Return the unit vectors ``(I, D)`` of each part of the blend that uses vectors."""
    tables: dict[str, NDArray[np.float32]] = {}
    if settings["neighbor"]:
        vectors = BehaviorVectors.load(workspace.intact(lineage.behavior, BEHAVIOR_VECTORS))
        tables[BEHAVIOR] = unit_vectors(vectors.item_index, vectors.item_vectors, num_items)
    if settings["text"] and lineage.text is not None:
        texts = TextVectors.load(workspace.intact(lineage.text, TEXT_VECTORS))
        known = texts.item_index < num_items
        if known.any():
            centred = texts.vectors - texts.vectors.mean(axis=0)
            tables[TEXT] = unit_vectors(texts.item_index[known], centred[known], num_items)
    return tables
