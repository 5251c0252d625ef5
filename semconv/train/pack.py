"""A pack: a folder with everything that a training needs, for a machine that has no project.

``pack.json`` names every other file with its SHA-256, and is written last, so a folder without it is no complete pack.
Arrays and weights are safetensors and everything else is JSON. No file of a pack is run as code.
"""

from __future__ import annotations

import json
import re
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from semconv import __version__
from semconv.artifacts import (
    UNFINISHED,
    atomic_path,
    file_digest,
    machine_errors,
    read_arrays,
    remove_unfinished,
    write_arrays,
    write_bytes,
)
from semconv.backbone.load import config_of
from semconv.errors import InputError, SemconvError
from semconv.modes import OWNER_FILE, OWNER_FOLDER, closed_umask, make_folder
from semconv.train.arrays import task_arrays, task_facts, task_from
from semconv.train.task import StartModel, TuningTask

PACK: Final = "pack.json"
TASK: Final = "task.json"
DATA: Final = "data.safetensors"
WEIGHTS: Final = "weights.safetensors"
BACKBONE: Final = "backbone"  # folder with the configuration of the model, and its tokenizer
TRAINING: Final = "training"  # folder where the training keeps its checkpoints and its log
_FORMAT: Final = 1
_AGAIN: Final = "copy the pack again, or make a new one with `semconv finetune pack DIR`"
_PART: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_NAME: Final = re.compile(rf"(?:{BACKBONE}/(?:{_PART}/)?)?{_PART}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_MOST_BYTES_OF_JSON: Final = 1 << 20


@dataclass(frozen=True)
class Pack:
    """A complete pack.

    Attributes:
        folder: where it lies.
        pack_id: the id of the run that the project recorded for it.
        files: SHA-256 of each file by its path inside the folder.
        digest: SHA-256 of ``pack.json``.
    """

    folder: Path
    pack_id: str
    files: Mapping[str, str]
    digest: str

    @classmethod
    def open(cls, folder: Path) -> Pack:
        """Read ``pack.json``, without looking at the other files.

        Raises:
            InputError: the folder is no pack, or ``pack.json`` is damaged or of another version.
        """
        content = read_pack_json(folder / PACK, f"the folder holds no complete pack; {_AGAIN}")
        files = content.get("files")
        if content.get("format") != _FORMAT:
            raise InputError(
                f"{folder / PACK}: written by another version of semconv ({_short(content.get('version'))}, here"
                f" {__version__}); install the same version on both machines"
            )
        if not _are_digests(files) or not isinstance(content.get("pack"), str):
            raise InputError(f"{folder / PACK}: damaged; {_AGAIN}")
        assert isinstance(files, dict)
        return cls(folder, content["pack"], files, file_digest(folder / PACK))

    def verify(self) -> None:
        """Verify the checksum of every file; raise InputError if a file is missing, damaged or was added."""
        for name, digest in self.files.items():
            path = self.folder / name
            require_plain_file(path, f"missing; {_AGAIN}")
            if file_digest(path) != digest:
                raise InputError(f"{path}: damaged or changed: its checksum is not the one in {PACK}; {_AGAIN}")
        added = sorted(set(_backbone_files(self.folder)) - set(self.files))
        if added:
            raise InputError(f"{self.folder / added[0]}: not a file of this pack; remove it")

    def task(self) -> TuningTask:
        """Return the task of the training; raise InputError if the files do not describe one."""
        from transformers import AutoTokenizer

        folder = self.folder
        facts, arrays = read_pack_json(folder / TASK, _AGAIN), read_arrays(folder / DATA)
        config = config_of(folder / BACKBONE)
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder / BACKBONE, trust_remote_code=False)
            return task_from(arrays, facts, config, tokenizer)
        except (KeyError, ValueError, TypeError, IndexError, OSError, SemconvError) as error:
            raise InputError(f"{folder}: its files do not describe a training ({_short(error)}); {_AGAIN}") from error

    def model(self, task: TuningTask) -> StartModel:
        """Return the model from which the training starts."""
        start = task.new_model()
        load_weights(self.folder / WEIGHTS, dict(start.model.named_parameters()), _AGAIN)
        return start


def require_free(folder: Path, data: Path) -> None:
    """Raise InputError if a pack cannot be written into a folder: it holds other files, or lies in the project's data.

    What a killed ``semconv finetune pack`` left does not count.
    """
    if folder.resolve().is_relative_to(data.resolve()):
        raise InputError(f"{folder}: lies in {data}, which belongs to the project; name a folder elsewhere")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: this is a file; name a new folder")
    if (folder / PACK).exists():
        raise InputError(f"{folder}: holds a pack already; name a new folder, or remove this one")
    own = {TASK, DATA, WEIGHTS, BACKBONE}
    other = [path for path in folder.glob("*") if path.name not in own and not path.match(UNFINISHED)]
    if other:
        raise InputError(f"{folder}: not empty ({other[0].name}); name a new folder")


def write_pack(folder: Path, task: TuningTask, start: StartModel) -> dict[str, str]:
    """Write all files of a pack but ``pack.json``, readable by their owner alone; return the SHA-256 of each."""
    with machine_errors(folder), closed_umask():
        make_folder(folder, OWNER_FOLDER)
        remove_unfinished(folder)
        shutil.rmtree(folder / BACKBONE, ignore_errors=True)
        write_bytes(folder / TASK, json.dumps(task_facts(task), indent=1, allow_nan=False).encode(), OWNER_FILE)
        write_arrays(folder / DATA, task_arrays(task), OWNER_FILE)
        write_weights(folder / WEIGHTS, dict(start.model.named_parameters()))
        task.config.save_pretrained(folder / BACKBONE)
        task.encoder.tokenizer.save_pretrained(folder / BACKBONE)
        names = [TASK, DATA, WEIGHTS, *_backbone_files(folder)]
        for name in names:
            (folder / name).chmod(OWNER_FILE)
        return {name: file_digest(folder / name) for name in names}


def seal_pack(folder: Path, pack_id: str, files: Mapping[str, str]) -> None:
    """Write ``pack.json``, which makes a pack complete."""
    content = {"format": _FORMAT, "version": __version__, "pack": pack_id, "files": dict(files)}
    write_bytes(folder / PACK, json.dumps(content, indent=1, sort_keys=True).encode(), OWNER_FILE)


def write_weights(path: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Write named weights as safetensors."""
    tensors = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    with atomic_path(path, OWNER_FILE) as temporary:
        save_file(tensors, temporary)


def load_weights(path: Path, weights: Mapping[str, torch.nn.Parameter], advice: str) -> None:
    """Copy the weights of a file into a model, after checking every name, shape, number format and number.

    Args:
        weights: the parameters by name; the file must hold exactly these.
        advice: the end of an error message.
    Raises:
        InputError: the file is not a safetensors file, or does not hold these weights, or holds NaN or infinity.
    """
    require_plain_file(path, advice, sum(weight.numel() * 4 for weight in weights.values()) + (64 << 20))
    try:
        with safe_open(path, framework="pt") as file:
            odd = sorted(set(file.keys()) ^ set(weights))
            if odd:
                raise InputError(f"{path}: its weights are not those of this model ({_short(odd[0])}); {advice}")
            for name, weight in weights.items():
                part = file.get_slice(name)
                if part.get_dtype() != "F32" or list(part.get_shape()) != list(weight.shape):
                    found = f"{name} is {part.get_dtype()} {part.get_shape()}, not F32 {list(weight.shape)}"
                    raise InputError(f"{path}: a weight has another shape or number format ({found}); {advice}")
            with torch.no_grad():
                for name, weight in weights.items():
                    values = file.get_tensor(name)
                    if not bool(torch.isfinite(values).all()):
                        raise InputError(f"{path}: {name} holds NaN or infinity; {advice}")
                    weight.copy_(values)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({_short(error)}); {advice}") from error


def read_pack_json(path: Path, advice: str) -> dict[str, Any]:
    """Read a JSON object from a file that somebody else may have written.

    Raises:
        InputError: it is missing, too large, no regular file, or no JSON object. A missing file has ``advice`` as its message.
    """
    require_plain_file(path, advice, _MOST_BYTES_OF_JSON)
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path}: not valid JSON ({_short(error)}); {_AGAIN}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a JSON object; {_AGAIN}")
    return content


def require_plain_file(path: Path, missing: str, most_bytes: int | None = None) -> None:
    """Raise InputError if a path is missing, is a link, a pipe or a device, or is too large."""
    try:
        found = path.lstat()
    except OSError as error:
        raise InputError(f"{path}: {missing}") from error
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path}: not a regular file; {_AGAIN}")
    if most_bytes is not None and found.st_size > most_bytes:
        raise InputError(f"{path}: {found.st_size:,} bytes, but at most {most_bytes:,} are expected; {_AGAIN}")


def _are_digests(files: Any) -> bool:
    """Return whether a value names the files of a pack with a checksum each, and no path outside its folder."""
    return (
        isinstance(files, dict)
        and {TASK, DATA, WEIGHTS} <= set(files)
        and all(_NAME.fullmatch(name) for name in files)
        and all(isinstance(digest, str) and _DIGEST.fullmatch(digest) for digest in files.values())
    )


def _backbone_files(folder: Path) -> list[str]:
    """Return the files below the folder of the backbone, by their paths inside the pack."""
    paths = sorted((folder / BACKBONE).rglob("*"))
    return [path.relative_to(folder).as_posix() for path in paths if path.is_symlink() or not path.is_dir()]


def _short(value: object) -> str:
    """Return the first line of a text that comes from a file or a library."""
    return (str(value).strip().splitlines() or [type(value).__name__])[0][:200]
