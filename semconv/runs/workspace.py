"""The object that every stage gets: storage, runs, settings and progress display of a project."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semconv import columns
from semconv.data.event_rules import EventRules
from semconv.data.interactions import has_repeats
from semconv.data.store import RunRecord, Sequences, Store
from semconv.data.time_cuts import cut_in_time
from semconv.errors import InputError
from semconv.progress import Progress
from semconv.runs.book import RunBook
from semconv.runs.digests import damaged_files
from semconv.runs.lineage import Lineage
from semconv.settings.tree import Settings

_COMMANDS = {
    columns.BACKBONE: "semconv backbone create",
    columns.EMBED_BEHAVIOR: "semconv embed behavior",
    columns.EMBED_TEXT: "semconv embed text",
    columns.CODEBOOK: "semconv codebook fit",
    columns.PACK: "semconv finetune pack DIR",
    columns.FINETUNE: "semconv finetune",
    columns.BLEND: "semconv blend",
    columns.RECOMMEND: "semconv recommend",
    columns.EVALUATE: "semconv evaluate",
}
# The command of each of these stages repairs its runs. Other stages need a refit, because later runs depend on them.
_REPAIRED_ALONE = (columns.PACK, columns.FINETUNE, columns.BLEND, columns.RECOMMEND, columns.EVALUATE)


@dataclass(frozen=True)
class Workspace:
    """One project's storage, runs, settings and progress display."""

    store: Store
    book: RunBook
    settings: Settings
    progress: Progress

    @property
    def root(self) -> Path:
        """The project folder."""
        return self.book.root

    def section(self, *names: str) -> dict[str, Any]:
        """Return the named sections of the settings as plain dictionaries.

        The section ``split`` has a further key ``events`` if the section ``[events]`` is not the default, because the
        types of events also determine which item is held out. So a run that records its split records both.
        """
        values = {name: dataclasses.asdict(getattr(self.settings, name)) for name in names}
        events = self.settings.events.recorded()
        if "split" in values and events:
            values["split"]["events"] = events
        return values

    def latest(self, stage: str) -> RunRecord | None:
        """Return the current run of a stage: the one that finished, or was reused, last."""
        return next(iter(self.book.finished(stage)), None)

    def need(self, stage: str) -> RunRecord:
        """Return the current run of a stage. If there is no run, raise an InputError that names the command for one."""
        record = self.latest(stage)
        if record is None:
            raise InputError(f"no finished run of {stage}; `{_COMMANDS[stage]}` or `semconv run` makes one")
        return record

    def run(self, run_id: str) -> RunRecord:
        """Return the run with this id; raise InputError if there is none."""
        for record in self.store.runs():
            if record.run_id == run_id:
                return record
        raise InputError(f"no run {run_id}; `semconv runs` lists them")

    def lineage(self) -> Lineage:
        """Return the lineage of the run that ranks lists: of the current model, or of the blend without a model.

        Raises:
            InputError: there is no such run yet.
            SettingsError: the settings leave no method that ranks lists.
        """
        if self.settings.blend.uses_model():
            return self.model_lineage()
        record = self.blend_without_model()
        if record is None:
            raise InputError(
                "no blend without a model yet (blend.model = false); `semconv embed behavior` and then `semconv blend`"
                " fit one, and `semconv run` does both"
            )
        return Lineage.of(self.store, record)

    def model_lineage(self) -> Lineage:
        """Return the lineage of the current model; raise InputError if no model was tuned yet."""
        return Lineage.current(self.store, self.need(columns.FINETUNE))

    def blend_without_model(self) -> RunRecord | None:
        """Return the current blend among those that were fitted without a model; None if there is none."""
        return next((run for run in self.book.finished(columns.BLEND) if is_without_model(run)), None)

    def code_lineage(self) -> Lineage:
        """Return the lineage of the current model, or of the newest code set if no model was tuned yet."""
        finetune = self.latest(columns.FINETUNE)
        return Lineage.current(self.store, self.need(columns.CODEBOOK) if finetune is None else finetune)

    def intact(self, record: RunRecord, name: str = "") -> Path:
        """Verify the checksums of a finished run, and return the path of its folder or of one file.

        Verifying a model of one gigabyte takes about a second, which is less than loading the model takes.

        Args:
            name: a file or a subfolder of the run's folder; empty for the whole run.

        Raises:
            InputError: a file is damaged or missing; the message names the command that repairs it.
        """
        folder = self.book.folder(record)
        wrong = damaged_files(folder, name)
        if wrong:
            raise InputError(
                f"{folder / wrong[0]}: damaged or missing: its checksum is not the one that {record.run_id} recorded;"
                f" restore it from a backup, or recompute it with {self.repair(record)}"
            )
        return folder / name

    def repair(self, record: RunRecord) -> str:
        """Return the commands that recompute a damaged run, or make a new run if the data changed since."""
        if record.stage in _REPAIRED_ALONE:
            return f"`{_COMMANDS[record.stage]}`"
        codebook = self.latest(columns.CODEBOOK)
        first = []
        if record.stage == columns.BACKBONE and not is_created(record):
            first = [f"`semconv backbone use {record.settings['backbone']['path']}`"]
        elif (
            codebook is not None and is_loaded(codebook) and record.stage in (columns.EMBED_BEHAVIOR, columns.CODEBOOK)
        ):
            first = [f"`{_COMMANDS[columns.EMBED_BEHAVIOR]}`", "`semconv codebook load FILE`"]
        return ", then ".join([*first, "`semconv run --refit`"])

    def sequences(self, *, queries: bool = False, split: Mapping[str, Any] | None = None) -> Sequences:
        """Return the sequences of all users. For a split in time, the result also has the cuts of this split.

        Args:
            queries: whether to read the users' queries too.
            split: the section ``split`` of a run's settings; None for the current settings.

        Raises:
            InputError: there are no interactions, or ``cut_in_time`` refuses the split.
            SettingsError: the section ``[events]`` names a type that no event has.
        """
        sequences = self.events(queries=queries, split=split)
        if len(sequences.items) == 0:
            raise InputError("no interactions in the warehouse; add some with `semconv ingest interactions FILE`")
        return sequences

    def events(self, *, queries: bool = False, split: Mapping[str, Any] | None = None) -> Sequences:
        """Return the same as ``sequences``, also if there are no interactions.

        If no event has a type and no user has an item twice, all events are interactions, and the result has no rules.
        """
        sequences = self.store.sequences(queries=queries)
        split = self.section("split")["split"] if split is None else split
        rules = EventRules.of(split.get("events", {}), self.settings.events.seen)
        if len(sequences.items):
            with_rules = sequences.with_rules(rules)
            if sequences.types is not None or (rules.collapses and has_repeats(sequences)):
                sequences = with_rules
        return cut_in_time(sequences, split)


def is_without_model(blend: RunRecord) -> bool:
    """Return whether a blend was fitted without a model."""
    return not blend.settings["blend"].get("model", True)


def is_created(backbone: RunRecord) -> bool:
    """Return whether a backbone run made the built-in backbone; otherwise the run recorded a pretrained model."""
    return "width" in backbone.settings["backbone"]


def is_loaded(run: RunRecord) -> bool:
    """Return whether the codes or lists of a run are external: loaded from a file, not computed by semconv."""
    return bool(run.settings.get("is_loaded"))
