"""The names of all files that a run folder can hold.

Stages take the file names from this module. :data:`ARTIFACTS` tells for each file which stages write it, whether it has
a checksum, whether ``prune`` deletes it, and how ``forget`` erases a user from it. A new kind of file needs only one
entry in :data:`ARTIFACTS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from semconv import columns
from semconv.locks import LOCK
from semconv.runs.user_data import BlankedRows, IndexedRows, ParquetRows, Slices, UserData, WholeFile

COMPLETE: Final = "complete.json"
BACKBONE_MANIFEST: Final = "backbone.json"
MODEL_FOLDER: Final = "model"
BEHAVIOR_VECTORS: Final = "vectors.safetensors"
DCCF_STATE: Final = "dccf.safetensors"
TEXT_VECTORS: Final = "text.safetensors"
TEXT_BASIS: Final = "text_basis.safetensors"
CODES: Final = "codes.safetensors"
BOOKS: Final = "books.safetensors"
TEXT_MAP: Final = "text_map.safetensors"
AUTOENCODER: Final = "autoencoder.safetensors"
TRIE: Final = "trie.safetensors"
TUNED_CODES: Final = "tuned_codes.safetensors"
TUNED_ON: Final = "tuned_on.safetensors"
TRAINED_ON: Final = "trained_on.safetensors"
ITEM_PARTS: Final = "items.safetensors"
PACK_RECORD: Final = "pack.json"
PACK_USERS: Final = "pack_users.safetensors"
TUNING_STATE: Final = "checkpoint.safetensors"
BEST_WEIGHTS: Final = "best.safetensors"
STEPS: Final = "steps.jsonl"
TRAINING_CHART: Final = "training.svg"
BLEND_MANIFEST: Final = "blend.json"
BLEND_TABLES: Final = "blend.safetensors"
WORDS: Final = "words.safetensors"
QUESTION_WEIGHTS: Final = "questions.json"
QUESTION_COUNTS: Final = "questions.safetensors"
LIST_STATES: Final = "states.safetensors"
TRANSITION: Final = "transition.json"
USER_FIGURES: Final = "users.parquet"
PEER_WEIGHTS: Final = "peer.safetensors"
PEER_STATE: Final = "peer_state.safetensors"
PEER_EPOCHS: Final = "epochs.jsonl"
FIGURES: Final = "figures.json"  # five stages write a file of this name, each with its own figures
_PARTS, _TABLES = "part-*.parquet", "table-*.parquet"


class Kind(Enum):
    """Kinds of files, by the way in which the commands treat the file of a finished run."""

    RESULT = "has a checksum in complete.json; without the file the run is incomplete"
    TRAINING_STATE = "has a checksum in complete.json while it exists; `prune` deletes it from finished runs"
    REBUILT = "contains its own checksum; if it is missing or damaged, it is built again when it is opened"
    VIEWED = "is for people to look at; nothing is computed from it"
    BOOKKEEPING = "is the run's lock or its list of checksums"


@dataclass(frozen=True)
class Artifact:
    """One file of a run folder, or all files whose names match a pattern.

    Attributes:
        pattern: path inside the run folder; ``*`` stands for any characters, including slashes.
        stages: the stages that write the file.
        kind: how the commands treat the file after the run has finished.
        user_data: how a user is erased from the file; None for a file that contains no data of single users.
    """

    pattern: str
    stages: tuple[str, ...]
    kind: Kind = Kind.RESULT
    user_data: UserData | None = None


ARTIFACTS: tuple[Artifact, ...] = (
    Artifact(LOCK, columns.STAGES, Kind.BOOKKEEPING),
    Artifact(COMPLETE, columns.STAGES, Kind.BOOKKEEPING),
    Artifact(
        _TABLES,
        (columns.EMBED_BEHAVIOR, columns.CODEBOOK, columns.ASSIGN, columns.EVALUATE, columns.FIT_QUESTIONS),
        user_data=ParquetRows(),
    ),
    Artifact(FIGURES, (columns.EMBED_BEHAVIOR, columns.CODEBOOK, columns.FINETUNE, columns.BLEND, columns.PEER)),
    Artifact(BACKBONE_MANIFEST, (columns.BACKBONE,)),
    Artifact(f"{MODEL_FOLDER}/*", (columns.BACKBONE, columns.FINETUNE)),
    Artifact(
        BEHAVIOR_VECTORS, (columns.EMBED_BEHAVIOR,), user_data=IndexedRows(index="user_index", arrays=("user_vectors",))
    ),
    # Several tensors have a row for each user, and a resumed training needs all rows. So `forget` deletes the file. The
    # training then starts from the beginning.
    Artifact(DCCF_STATE, (columns.EMBED_BEHAVIOR,), Kind.TRAINING_STATE, WholeFile()),
    Artifact(TEXT_VECTORS, (columns.EMBED_TEXT,)),
    Artifact(TEXT_BASIS, (columns.EMBED_TEXT,)),
    Artifact(WORDS, (columns.EMBED_TEXT,), Kind.REBUILT),
    Artifact(CODES, (columns.CODEBOOK, columns.ASSIGN)),
    Artifact(BOOKS, (columns.CODEBOOK,)),
    Artifact(TEXT_MAP, (columns.CODEBOOK,)),
    Artifact(AUTOENCODER, (columns.CODEBOOK,)),
    Artifact(TRIE, (columns.CODEBOOK, columns.ASSIGN), Kind.REBUILT),
    Artifact(TUNED_CODES, (columns.FINETUNE,)),
    Artifact(ITEM_PARTS, (columns.FINETUNE,)),
    Artifact(PACK_RECORD, (columns.PACK,)),
    # A pack lies outside the project. If a user is gone from this file, the pack still holds the user.
    Artifact(PACK_USERS, (columns.PACK,), user_data=IndexedRows(index="users", arrays=())),
    Artifact(
        TUNED_ON,
        (columns.PACK, columns.FINETUNE),
        user_data=Slices(offsets="offsets", arrays=("items", "times", "has_query")),
    ),
    Artifact(
        TRAINED_ON,
        (columns.EMBED_BEHAVIOR, columns.BLEND),
        user_data=Slices(offsets="offsets", arrays=("items", "times")),
    ),
    Artifact(TUNING_STATE, (columns.FINETUNE,), Kind.TRAINING_STATE),
    Artifact(BEST_WEIGHTS, (columns.FINETUNE,), Kind.TRAINING_STATE),
    Artifact(STEPS, (columns.FINETUNE,), Kind.VIEWED),
    Artifact(TRAINING_CHART, (columns.FINETUNE,), Kind.VIEWED),
    Artifact(BLEND_MANIFEST, (columns.BLEND,)),
    Artifact(BLEND_TABLES, (columns.BLEND,)),
    Artifact(QUESTION_WEIGHTS, (columns.FIT_QUESTIONS,)),
    Artifact(QUESTION_COUNTS, (columns.FIT_QUESTIONS,)),
    Artifact(_PARTS, (columns.RECOMMEND,), user_data=ParquetRows()),
    # The index of a user's row tells which part file contains the user's list, so no row may be deleted.
    Artifact(LIST_STATES, (columns.RECOMMEND,), user_data=BlankedRows(index="users", array="states")),
    Artifact(TRANSITION, (columns.TUNE_BASELINE,)),
    Artifact(PEER_WEIGHTS, (columns.PEER,)),
    Artifact(PEER_STATE, (columns.PEER,), Kind.TRAINING_STATE),
    Artifact(PEER_EPOCHS, (columns.PEER,), Kind.VIEWED),
    Artifact(USER_FIGURES, (columns.EVALUATE,), user_data=ParquetRows()),
)


def find_artifact(name: str) -> Artifact | None:
    """Return the entry for a path inside a run folder, such as ``model/config.json``; None if there is no entry."""
    return next((entry for entry in ARTIFACTS if fnmatchcase(name, entry.pattern)), None)


def kind_of(name: str) -> Kind:
    """Return how commands treat a file. A file without an entry counts as a result, so it gets a checksum."""
    found = find_artifact(name)
    return Kind.RESULT if found is None else found.kind


def user_data_of(name: str) -> UserData | None:
    """Return how a user is erased from a file. In a Parquet file without an entry, the user's rows are deleted."""
    found = find_artifact(name)
    if found is not None:
        return found.user_data
    return ParquetRows() if name.endswith(".parquet") else None


def run_files(folder: Path) -> dict[str, Path]:
    """Return the files of a run folder by their path inside it. Hidden files are unfinished, so they are left out."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path for path in paths}


def training_states(folder: Path) -> list[Path]:
    """Return the files of a run folder from which a killed training would resume."""
    return [path for name, path in run_files(folder).items() if kind_of(name) is Kind.TRAINING_STATE]


def table_file(table: str) -> str:
    """Return the name of the file from which a run's rows are copied into a table of the warehouse."""
    return _TABLES.replace("*", table)


def part_file(number: int) -> str:
    """Return the name of the file with the top-k lists of a shard of users, such as ``part-00000.parquet``."""
    return _PARTS.replace("*", f"{number:05d}")


def part_files(folder: Path) -> list[Path]:
    """Return the files of top-k lists in a run folder, in the order of their numbers."""
    return sorted(folder.glob(_PARTS))


def is_part(name: str) -> bool:
    """Return whether a path inside a run folder is a file of top-k lists."""
    return fnmatchcase(name, _PARTS)
