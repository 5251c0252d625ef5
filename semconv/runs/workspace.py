"""What every stage is given, and which runs are current."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import read_arrays
from semconv.data.splits import cut_in_time
from semconv.data.store import RunRecord, Sequences, Store
from semconv.errors import InputError
from semconv.progress import Progress
from semconv.runs.book import RunBook
from semconv.runs.digests import damaged_files
from semconv.settings.tree import Settings

_MADE_BY = {
    columns.BACKBONE: "semconv backbone create",
    columns.EMBED_BEHAVIOR: "semconv embed behavior",
    columns.EMBED_TEXT: "semconv embed text",
    columns.CODEBOOK: "semconv codebook fit",
    columns.FINETUNE: "semconv finetune",
    columns.BLEND: "semconv blend",
    columns.RECOMMEND: "semconv recommend",
    columns.EVALUATE: "semconv evaluate",
}
_MADE_ALONE = (
    columns.FINETUNE,
    columns.BLEND,
    columns.RECOMMEND,
    columns.EVALUATE,
)  # nothing else stands on a damaged one


@dataclass(frozen=True)
class Context:
    """One project's storage, runs, settings and screen."""

    store: Store
    book: RunBook
    settings: Settings
    progress: Progress

    @property
    def root(self) -> Path:
        """The project folder."""
        return self.book.root

    def section(self, *names: str) -> dict[str, Any]:
        """Plain values of some sections of the settings."""
        return {name: dataclasses.asdict(getattr(self.settings, name)) for name in names}

    def latest(self, stage: str) -> RunRecord | None:
        """The current run of a stage: the one that finished, or was taken up again, last."""
        return next(iter(self.book.finished(stage)), None)

    def need(self, stage: str) -> RunRecord:
        """The current run of a stage; InputError names the command that makes one."""
        record = self.latest(stage)
        if record is None:
            raise InputError(f"no finished run of {stage}; `{_MADE_BY[stage]}` or `semconv run` makes one")
        return record

    def intact(self, record: RunRecord, name: str = "") -> Path:
        """Where a file of a finished run, or a folder in it, or all of it lies, every byte as the run left it.

        Reading it once more for that costs less than loading it: a gigabyte of a model about a second.

        Raises:
            InputError: it is damaged or gone; says what makes it again.
        """
        folder = self.book.folder(record)
        wrong = damaged_files(folder, name)
        if wrong:
            raise InputError(
                f"{folder / wrong[0]}: damaged or gone, it is not what {record.run_id} left; put a copy back, or make it again "
                f"with {self.way_out(record)}"
            )
        return folder / name

    def way_out(self, record: RunRecord) -> str:
        """The commands that make a damaged run again, or one to take its place when other data came since."""
        if record.stage in _MADE_ALONE:
            return f"`{_MADE_BY[record.stage]}`"
        codebook = self.latest(columns.CODEBOOK)
        first = []
        if record.stage == columns.BACKBONE and not is_created(record):
            first = [f"`semconv backbone use {record.settings['backbone']['path']}`"]
        elif (
            codebook is not None and is_loaded(codebook) and record.stage in (columns.EMBED_BEHAVIOR, columns.CODEBOOK)
        ):
            first = [f"`{_MADE_BY[columns.EMBED_BEHAVIOR]}`", "`semconv codebook load FILE`"]
        return ", then ".join([*first, "`semconv run --refit`"])

    def run(self, run_id: str) -> RunRecord:
        """A run by id."""
        for record in self.store.runs():
            if record.run_id == run_id:
                return record
        raise InputError(f"no run {run_id}; `semconv runs` lists them")

    def input_of(self, record: RunRecord, stage: str) -> RunRecord:
        """The run of ``stage`` that ``record`` read, directly or through its own inputs; InputError when there is none."""
        found = self.find_input(record, stage)
        if found is None:
            raise InputError(f"{record.run_id} was made without a run of {stage}")
        return found

    def find_input(self, record: RunRecord, stage: str) -> RunRecord | None:
        """The same, None when there is none: codes made elsewhere know no backbone and no text."""
        pending = list(record.inputs)
        known = {run.run_id: run for run in self.store.runs()}
        while pending:
            run = known[pending.pop(0)]
            if run.stage == stage:
                return run
            pending += run.inputs
        return None

    def assigns_of(self, codebook: RunRecord) -> tuple[RunRecord, ...]:
        """Finished assign runs of a code set, oldest first."""
        runs = self.store.runs(stage=columns.ASSIGN, status="finished")
        return tuple(run for run in reversed(runs) if codebook.run_id in run.inputs)

    def sequences(self, *, queries: bool = False, split: Mapping[str, Any] | None = None) -> Sequences:
        """All sequences, cut in time where a run's ``split`` (without one the settings of now) asks for it.

        Raises:
            InputError: nothing was ingested, or what ``cut_in_time`` refuses.
        """
        sequences = self.store.sequences(queries=queries)
        if len(sequences.items) == 0:
            raise InputError("no interactions in the warehouse; `semconv ingest interactions FILE` brings some in")
        return cut_in_time(sequences, self.section("split")["split"] if split is None else split)


def is_created(backbone: RunRecord) -> bool:
    """Whether a backbone run made the embedded default, and not took a pretrained model."""
    return "width" in backbone.settings["backbone"]


def is_loaded(codebook: RunRecord) -> bool:
    """Whether the codes of a set were made elsewhere."""
    return bool(codebook.settings.get("is_loaded"))


@dataclass(frozen=True)
class ItemCodes:
    """Codes in force: those of a code set and of what was assigned since."""

    item_index: NDArray[np.int32]  # (M,)
    codes: NDArray[np.uint16]  # (M, N)
    popularity: NDArray[np.int64]  # (M,)

    @classmethod
    def read(cls, context: Context, runs: tuple[RunRecord, ...]) -> ItemCodes:
        """Join the ``codes.safetensors`` of a codebook run and its assign runs."""
        parts = [read_arrays(context.intact(run, "codes.safetensors")) for run in runs]
        return cls(*(np.concatenate([part[name] for part in parts]) for name in ("item_index", "codes", "popularity")))

    def of(self, item_index: NDArray[np.int32]) -> NDArray[np.uint16]:
        """Codes ``(n, N)`` of items that all have some; InputError names the first that has none."""
        place = {int(item): row for row, item in enumerate(self.item_index)}
        missing = [int(item) for item in item_index if int(item) not in place]
        if missing:
            raise InputError(
                f"{len(missing)} items that the model was tuned on have no codes any more; tune again with `semconv finetune`"
            )
        return self.codes[[place[int(item)] for item in item_index]]
