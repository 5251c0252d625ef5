"""The backbone and what it and the interactions say of items, as runs: text and behaviour vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import file_digest, read_json, write_json
from semconv.backbone.text_vectors import TextVectors, item_text
from semconv.behavior.vectors import BehaviorVectors
from semconv.data.splits import core_masks, cut_in_time, targets, train_part
from semconv.data.store import Catalog, RunRecord, Sequences
from semconv.errors import InputError
from semconv.ragged import row_of
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.workspace import Context
from semconv.stages import stage_settings
from semconv.stages.stage_settings import BACKBONE_MANIFEST
from semconv.tasks import wordings


def create_backbone_run(context: Context) -> Outcome:
    """Make the embedded default from the catalogue's text and the training queries."""
    settings = context.settings
    catalog = context.store.catalog()
    if len(catalog) == 0:
        raise InputError("no items in the warehouse; `semconv ingest` brings some in")

    def compute(folder: Path) -> dict[str, pa.Table]:
        from semconv.backbone.create import create_backbone

        texts = [text for text in catalog_texts(catalog) if text]
        figures = create_backbone(
            folder / "model", texts, _training_queries(context), wordings.phrases(), settings.backbone
        )
        write_json(folder / BACKBONE_MANIFEST, {"path": "model", "is_relative": True, **figures})
        return {}

    read = stage_settings.created_backbone(context)
    return context.book.execute(StageRequest(columns.BACKBONE, read, (), ("item", "interaction")), compute)


def use_backbone_run(context: Context, path: str) -> Outcome:
    """Record a pretrained model as the backbone, after loading it once to see that it serves."""
    absolute = str(Path(path).expanduser().resolve()) if Path(path).expanduser().exists() else path

    def compute(folder: Path) -> dict[str, pa.Table]:
        from semconv.backbone.load import load_backbone

        load_backbone(absolute, trust_remote_code=context.settings.backbone.trust_remote_code)
        write_json(folder / BACKBONE_MANIFEST, {"path": absolute, "is_relative": False, "files": files})
        return {}

    files = _files_digest(Path(absolute))
    content = {"path": absolute, "files": files}
    read = stage_settings.used_backbone(context, absolute)
    return context.book.execute(StageRequest(columns.BACKBONE, read, (), (), content), compute)


def backbone_path(context: Context, record: RunRecord) -> str:
    """Where transformers finds the backbone of a run."""
    manifest = read_json(context.book.folder(record) / BACKBONE_MANIFEST)
    return str(context.book.folder(record) / manifest["path"]) if manifest["is_relative"] else str(manifest["path"])


def intact_backbone(context: Context, record: RunRecord) -> str:
    """The same, every byte as it was when the run was made; for a folder of the user's too, but not for a hub name.

    Raises:
        InputError: a file is damaged, gone or another one.
    """
    manifest = read_json(context.intact(record, BACKBONE_MANIFEST))
    if manifest["is_relative"]:
        return str(context.intact(record, manifest["path"]))
    path = str(manifest["path"])
    if Path(path).is_dir() and manifest.get("files", "") not in ("", _files_digest(Path(path))):
        raise InputError(
            f"{path}: not the files that {record.run_id} was made from; put those back, or take these with"
            f" `semconv backbone use {path}`, then `semconv run --refit`"
        )
    return path


def load_run_backbone(context: Context, record: RunRecord, dtype: str = "float32") -> tuple[Any, Any]:
    """Model and tokenizer of a backbone run."""
    from semconv.backbone.load import load_backbone

    return load_backbone(
        intact_backbone(context, record), trust_remote_code=context.settings.backbone.trust_remote_code, dtype=dtype
    )


def embed_behavior_run(context: Context) -> Outcome:
    """Item and user vectors from the train cut, or from the user's own file."""
    settings = context.settings
    sequences = context.sequences()
    catalog = context.store.catalog()
    train = train_part(sequences, settings.split.train_cut, settings.split.k_core, len(catalog))
    if len(train.items) == 0:
        raise InputError(
            f"split.k_core = {settings.split.k_core} leaves no interaction to train on; lower it or ingest more"
        )

    def compute(folder: Path) -> dict[str, pa.Table]:
        vectors = _behavior_vectors(context, train, sequences, len(catalog), folder)
        vectors.save(folder / "vectors.safetensors")
        users, items = core_masks(
            row_of(sequences.lengths), sequences.items, len(sequences), len(catalog), settings.split.k_core
        )
        context.store.mark_core(items, users)
        return {
            "item_embedding": embedding_table(
                "item_id", catalog.item_ids, vectors.item_index, vectors.item_vectors, vectors.source
            ),
            "user_embedding": embedding_table(
                "user_id", sequences.user_ids, vectors.user_index, vectors.user_vectors, vectors.source
            ),
        }

    given = _given_file(context)
    content = {} if given is None else {"vectors": file_digest(given)}
    tables = ("interaction",) if given is None else ("interaction", "item")  # an item may be new and given a vector
    request = StageRequest(columns.EMBED_BEHAVIOR, stage_settings.behavior(context), (), tables, content)
    return context.book.execute(request, compute)


def embed_text_run(context: Context, backbone: RunRecord) -> Outcome:
    """Text vectors of every item with text."""
    catalog = context.store.catalog()

    def compute(folder: Path) -> dict[str, pa.Table]:
        wanted = np.arange(len(catalog), dtype=np.int32)
        text_vectors(context, backbone, catalog, wanted).save(folder / "text.safetensors")
        return {}

    return context.book.execute(StageRequest(columns.EMBED_TEXT, {}, (backbone,), ("item",)), compute)


def text_vectors(context: Context, backbone: RunRecord, catalog: Catalog, wanted: NDArray[np.int32]) -> TextVectors:
    """Text vectors of those of the wanted items that have text."""
    from semconv.backbone.text_vectors import embed_texts

    all_texts = catalog_texts(catalog)
    index = np.array([item for item in wanted if all_texts[item]], dtype=np.int32)
    model, tokenizer = load_run_backbone(context, backbone)
    return embed_texts(model, tokenizer, index, [all_texts[item] for item in index])


def embedding_table(
    id_column: str, ids: Any, index: NDArray[np.int32], vectors: NDArray[np.float32], source: str
) -> pa.Table:
    """Rows of ``item_embedding`` or ``user_embedding`` without their run id."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
    offsets = pa.array(np.arange(len(index) + 1, dtype=np.int32) * vectors.shape[1])
    return pa.table(
        {
            id_column: pa.array([ids[row] for row in index], pa.string()),
            columns.VECTOR_SOURCE: pa.array([source] * len(index), pa.string()),
            columns.VECTOR: pa.ListArray.from_arrays(offsets, flat),
        }
    )


def catalog_texts(catalog: Catalog) -> list[str]:
    """The text of every item, empty where it has none."""
    return [
        item_text(title, description) for title, description in zip(catalog.titles, catalog.descriptions, strict=True)
    ]


def _training_queries(context: Context) -> Iterator[str]:
    settings = context.settings.split
    sequences = cut_in_time(context.store.sequences(queries=True), context.section("split")["split"])
    catalog = context.store.catalog()
    train = train_part(sequences, settings.train_cut, settings.k_core, len(catalog))
    yield from (query for query in train.queries or () if query)


def _behavior_vectors(
    context: Context, train: Sequences, sequences: Sequences, num_items: int, folder: Path
) -> BehaviorVectors:
    settings = context.settings
    if settings.behavior.source == "svd":
        from semconv.behavior.svd import fit_svd

        return fit_svd(train, num_items, settings.behavior)
    if settings.behavior.source == "dccf":
        from semconv.behavior.dccf_training import DccfTraining, fit_dccf

        # Nothing is chosen on its own data: a cut that trains on the validation items leaves none to stop by.
        held_out = targets(sequences, "valid") if settings.split.train_cut == "[:-2]" else None
        training = DccfTraining(folder, context.progress, held_out)
        vectors, figures = fit_dccf(train, num_items, settings.behavior, settings.dccf, training)
        write_json(folder / "figures.json", figures)
        return vectors
    from semconv.behavior.given import check_given
    from semconv.stages.embed.given_file import read_given

    item_ids = context.store.catalog().item_ids
    path = _required_given(context)
    index, vectors_given, num_unknown = read_given(path, item_ids)
    vectors = check_given(index, vectors_given, train, item_ids)
    if num_unknown:
        context.progress.say(f"{path}: {num_unknown} items are not in the catalogue and were left out")
    if lacking := len(item_ids) - len(index):
        context.progress.say(
            f"{path}: {lacking} items have no vector in it; they get codes from their text, if they have any"
        )
    return vectors


def _given_file(context: Context) -> Path | None:
    return _required_given(context) if context.settings.behavior.source == "given" else None


def _required_given(context: Context) -> Path:
    settings = context.settings.behavior
    if not settings.vectors:
        raise InputError("behavior.source = given needs behavior.vectors, a Parquet file of item_id and vector")
    path = context.root / settings.vectors
    if not path.is_file():
        raise InputError(f"{path}: no such file of given vectors (behavior.vectors)")
    return path


def _files_digest(folder: Path) -> str:
    """Digest of the weights and settings of a local model; a hub name has no files here."""
    if not folder.is_dir():
        return ""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".model"))
    return hashlib.sha256("".join(f"{path.name}:{file_digest(path)};" for path in files).encode()).hexdigest()
