"""The runs that a model or its lists were made from, resolved once and passed on.

A stage gets a :class:`Lineage` and reads its inputs from it; no stage searches the run table for them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from semconv.columns import ASSIGN, BACKBONE, BLEND, CODEBOOK, EMBED_BEHAVIOR, EMBED_TEXT, FINETUNE, RECOMMEND
from semconv.data.store import RunRecord, Store
from semconv.errors import InputError


@dataclass(frozen=True)
class Lineage:
    """One run and all runs below it.

    Attributes:
        runs: the run itself first, then its inputs, then their inputs, each once.
        assigns: the assign runs of the code set, oldest first.
        blend: the blend that the lists read (:meth:`of`), or the newest blend of the model (:meth:`current`).
    """

    runs: tuple[RunRecord, ...]
    assigns: tuple[RunRecord, ...]
    blend: RunRecord | None

    @classmethod
    def of(cls, store: Store, run: RunRecord) -> Lineage:
        """Resolve the inputs that ``run`` recorded: for evaluating and publishing its lists."""
        known = _by_id(store)
        runs = with_inputs(known, [run.run_id])
        below = {record.run_id for record in runs}
        return cls(
            tuple(runs),
            _assigns(_first(runs, CODEBOOK), (record for record in known.values() if record.run_id in below)),
            _first(runs, BLEND),
        )

    @classmethod
    def current(cls, store: Store, run: RunRecord) -> Lineage:
        """Resolve the inputs of a model or code set together with the runs that were added to them later.

        These are the items coded since (assign runs) and the newest blend of the model.
        """
        known = _by_id(store)
        runs = with_inputs(known, [run.run_id])
        finished = [record for record in known.values() if record.status == "finished"]
        blends = [record for record in finished if record.stage == BLEND and run.run_id in record.inputs]
        return cls(tuple(runs), _assigns(_first(runs, CODEBOOK), finished), next(iter(newest_first(blends)), None))

    @property
    def run(self) -> RunRecord:
        """The run that was asked about."""
        return self.runs[0]

    def find(self, stage: str) -> RunRecord | None:
        """The nearest run of a stage, the run itself included; None when there is none.

        External codes were made without a backbone and without text vectors.
        """
        return _first(self.runs, stage)

    def need(self, stage: str) -> RunRecord:
        """The nearest run of a stage; InputError when there is none."""
        found = self.find(stage)
        if found is None:
            raise InputError(f"{self.run.run_id} was made without a run of {stage}")
        return found

    @property
    def backbone(self) -> RunRecord:
        """The language model before tuning."""
        return self.need(BACKBONE)

    @property
    def behavior(self) -> RunRecord:
        """The behaviour vectors under the codes."""
        return self.need(EMBED_BEHAVIOR)

    @property
    def text(self) -> RunRecord | None:
        """The text vectors under the codes; None for external codes."""
        return self.find(EMBED_TEXT)

    @property
    def codebook(self) -> RunRecord:
        """The code set."""
        return self.need(CODEBOOK)

    @property
    def finetune(self) -> RunRecord:
        """The tuned model."""
        return self.need(FINETUNE)

    @property
    def recommend(self) -> RunRecord:
        """The lists."""
        return self.need(RECOMMEND)

    @property
    def code_runs(self) -> tuple[RunRecord, ...]:
        """The runs that hold codes: the code set, then its assign runs, oldest first."""
        return (self.codebook, *self.assigns)


def with_inputs(known: Mapping[str, RunRecord], run_ids: Iterable[str]) -> list[RunRecord]:
    """Some runs with everything that they read, directly or not, each once and the nearest first.

    Raises:
        InputError: the run table lacks one of them.
    """
    found: dict[str, RunRecord] = {}
    waiting = list(run_ids)
    for run_id in waiting:  # grows while it is walked
        if run_id in found:
            continue
        if run_id not in known:
            raise InputError(f"run {run_id} is unknown; `semconv runs` lists the runs")
        found[run_id] = known[run_id]
        waiting.extend(known[run_id].inputs)
    return list(found.values())


def newest_first(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Finished runs by the time at which they finished or were reused, latest first."""
    return sorted(runs, key=lambda run: str(run.finished_at), reverse=True)


def _by_id(store: Store) -> dict[str, RunRecord]:
    return {run.run_id: run for run in store.runs()}


def _first(runs: Iterable[RunRecord], stage: str) -> RunRecord | None:
    return next((run for run in runs if run.stage == stage), None)


def _assigns(codebook: RunRecord | None, runs: Iterable[RunRecord]) -> tuple[RunRecord, ...]:
    """The assign runs of a code set; ``runs`` come newest first."""
    if codebook is None:
        return ()
    mine = [run for run in runs if run.stage == ASSIGN and codebook.run_id in run.inputs]
    return tuple(reversed(mine))
