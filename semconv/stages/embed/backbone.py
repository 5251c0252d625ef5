"""The stage that makes the backbone: the built-in backbone, or a pretrained model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from semconv import columns
from semconv.artifacts import file_digest, read_json, write_json
from semconv.backbone.gguf_header import is_gguf
from semconv.data.core import train_part
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.ragged import row_of
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.files import BACKBONE_MANIFEST, MODEL_FOLDER
from semconv.runs.workspace import Workspace
from semconv.stages import stage_settings
from semconv.stages.embed.rows import catalog_texts
from semconv.tasks.registry import phrases


def backbone_run(workspace: Workspace) -> Outcome:
    """Make the built-in backbone, or check the pretrained model that the settings name."""
    path = stage_settings.named_backbone(workspace)
    return use_backbone_run(workspace, path) if path else create_backbone_run(workspace)


def create_backbone_run(workspace: Workspace) -> Outcome:
    """Make the built-in backbone, with a tokenizer that learns words of the catalogue's text and of training queries."""
    catalog = workspace.store.catalog()
    if len(catalog) == 0:
        raise InputError("no items in the warehouse; add some with `semconv ingest items FILE`")

    def compute(folder: Path) -> dict[str, pa.Table]:
        from semconv.backbone.create import create_backbone

        texts = [text for text in catalog_texts(catalog) if text]
        queries = list(_training_queries(workspace))
        figures = create_backbone(folder / MODEL_FOLDER, texts, queries, phrases(), workspace.settings.backbone)
        write_json(folder / BACKBONE_MANIFEST, {"path": MODEL_FOLDER, "is_relative": True, **figures})
        return {}

    read = stage_settings.created_backbone(workspace)
    return workspace.book.execute(StageRequest(columns.BACKBONE, read, (), ("item", "interaction")), compute)


def use_backbone_run(workspace: Workspace, path: str) -> Outcome:
    """Record a pretrained model as the backbone, after loading it once as a test.

    The model of a GGUF file is converted into the run's folder. Later stages load it from there and need no GGUF file.
    """
    absolute = str(Path(path).expanduser().resolve()) if Path(path).expanduser().exists() else path
    is_converted = is_gguf(Path(absolute))

    def compute(folder: Path) -> dict[str, pa.Table]:
        from semconv.backbone.load import load_backbone

        manifest = {"path": MODEL_FOLDER if is_converted else absolute, "is_relative": is_converted, "files": files}
        if is_converted:
            from semconv.backbone.gguf_model import save_gguf_model

            save_gguf_model(Path(absolute), folder / MODEL_FOLDER)
        model = folder / MODEL_FOLDER if is_converted else absolute
        load_backbone(model, trust_remote_code=workspace.settings.backbone.trust_remote_code)
        write_json(folder / BACKBONE_MANIFEST, manifest)
        return {}

    files = file_digest(Path(absolute)) if is_converted else _files_digest(Path(absolute))
    content = {"path": absolute, "files": files}
    read = stage_settings.used_backbone(workspace, absolute)
    return workspace.book.execute(StageRequest(columns.BACKBONE, read, (), (), content), compute)


def backbone_path(workspace: Workspace, record: RunRecord) -> str:
    """Return the folder or hub name from which transformers loads the backbone of a run."""
    manifest = read_json(workspace.book.folder(record) / BACKBONE_MANIFEST)
    return str(workspace.book.folder(record) / manifest["path"]) if manifest["is_relative"] else str(manifest["path"])


def intact_backbone(workspace: Workspace, record: RunRecord) -> str:
    """Return the result of ``backbone_path``, after verifying the checksums of a local model's files.

    Raises:
        InputError: a file is missing, damaged or was replaced.
    """
    manifest = read_json(workspace.intact(record, BACKBONE_MANIFEST))
    if manifest["is_relative"]:
        return str(workspace.intact(record, manifest["path"]))
    path = str(manifest["path"])
    if Path(path).is_dir() and manifest["files"] not in ("", _files_digest(Path(path))):
        raise InputError(
            f"{path}: the files changed since {record.run_id} recorded them; restore the old files, or use the new ones:"
            f" `semconv backbone use {path}`, then `semconv run --refit`"
        )
    return path


def load_run_backbone(workspace: Workspace, record: RunRecord) -> tuple[Any, Any]:
    """Load the model, in float32, and the tokenizer of a backbone run."""
    from semconv.backbone.load import load_backbone

    return load_backbone(
        intact_backbone(workspace, record), trust_remote_code=workspace.settings.backbone.trust_remote_code
    )


def _training_queries(workspace: Workspace) -> Iterator[tuple[int, str]]:
    """Yield the user and the text of each training query, sorted by user."""
    settings = workspace.settings.split
    sequences = workspace.events(queries=True)
    train = train_part(sequences, settings.train_cut, settings.k_core, len(workspace.store.catalog()))
    users = row_of(train.lengths).tolist()
    yield from ((user, query) for user, query in zip(users, train.queries or (), strict=False) if query)


def _files_digest(folder: Path) -> str:
    """Return a digest of the files of a local model; empty for a hub name."""
    if not folder.is_dir():
        return ""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".model"))
    return hashlib.sha256("".join(f"{path.name}:{file_digest(path)};" for path in files).encode()).hexdigest()
