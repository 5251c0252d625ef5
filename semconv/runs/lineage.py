"""The runs that a model or its lists were made from.

The runs are looked up in the run table once. A stage gets a :class:`Lineage` and finds its input runs in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from semconv.columns import ASSIGN, BACKBONE, BLEND, CODEBOOK, EMBED_BEHAVIOR, EMBED_TEXT, FINETUNE, RECOMMEND
from semconv.data.store import RunRecord, Store
from semconv.errors import InputError


@dataclass(frozen=True)
class Lineage:
    """One run, and all runs that it was made from.

    Attributes:
        runs: the run itself, then its direct inputs, then the inputs of these, and so on; each run once.
        assigns: the assign runs of the code set, which gave codes to new items, oldest first.
        blend: the blend run that the lists used (:meth:`of`), or the newest blend run of the model (:meth:`current`).
    """

    runs: tuple[RunRecord, ...]
    assigns: tuple[RunRecord, ...]
    blend: RunRecord | None

    @classmethod
    def of(cls, store: Store, run: RunRecord) -> Lineage:
        """Return a run with the inputs that it recorded. Evaluating or publishing lists needs this lineage."""
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
        """Return a model or code set with its inputs and with later runs that belong to it.

        Later runs are the assign runs, which gave codes to new items, and the newest blend of the model.
        """
        known = _by_id(store)
        runs = with_inputs(known, [run.run_id])
        finished = [record for record in known.values() if record.status == "finished"]
        blends = [record for record in finished if record.stage == BLEND and run.run_id in record.inputs]
        return cls(tuple(runs), _assigns(_first(runs, CODEBOOK), finished), next(iter(newest_first(blends)), None))

    @classmethod
    def of_vectors(cls, store: Store, vectors: Iterable[RunRecord]) -> Lineage:
        """Return the runs of behaviour and text vectors with their inputs, for fitting a blend without a model."""
        return cls(tuple(with_inputs(_by_id(store), [run.run_id for run in vectors])), (), None)

    @property
    def run(self) -> RunRecord:
        """The run that this lineage belongs to."""
        return self.runs[0]

    def find(self, stage: str) -> RunRecord | None:
        """Return the nearest run of a stage in this lineage, which may be the run itself, or None if there is none.

        For example, external codes were made without a backbone and without text vectors.
        """
        return _first(self.runs, stage)

    def need(self, stage: str) -> RunRecord:
        """Return the nearest run of a stage; raise InputError if there is none."""
        found = self.find(stage)
        if found is None:
            raise InputError(
                f"{self.run.run_id} was made without a run of the stage {stage}; `semconv runs` shows the inputs of each run"
            )
        return found

    @property
    def backbone(self) -> RunRecord:
        """The run of the language model before tuning."""
        return self.need(BACKBONE)

    @property
    def behavior(self) -> RunRecord:
        """The run of the behaviour vectors that the codes were fitted on."""
        return self.need(EMBED_BEHAVIOR)

    @property
    def text(self) -> RunRecord | None:
        """The run of the text vectors that the codes were fitted on; None for external codes."""
        return self.find(EMBED_TEXT)

    @property
    def codebook(self) -> RunRecord:
        """The run of the code set."""
        return self.need(CODEBOOK)

    @property
    def finetune(self) -> RunRecord:
        """The run of the tuned model."""
        return self.need(FINETUNE)

    @property
    def tuned(self) -> RunRecord | None:
        """The run of the tuned model; None for lists of a blend without a model."""
        return self.find(FINETUNE)

    @property
    def ranker(self) -> RunRecord:
        """The run that ranks the lists: of the tuned model, or of the blend that was fitted without a model."""
        return self.tuned or self.need(BLEND)

    @property
    def split(self) -> Mapping[str, Any]:
        """The section ``split`` of the settings under which the model, or else the behaviour vectors, were trained."""
        split: Mapping[str, Any] = (self.tuned or self.behavior).settings["split"]
        return split

    @property
    def recommend(self) -> RunRecord:
        """The run of the lists."""
        return self.need(RECOMMEND)

    @property
    def code_runs(self) -> tuple[RunRecord, ...]:
        """The runs that made codes: the run of the code set, then its assign runs, oldest first.

        Empty for lists of a blend without a model, which needs no codes.
        """
        codebook = self.find(CODEBOOK)
        return () if codebook is None else (codebook, *self.assigns)


def with_inputs(known: Mapping[str, RunRecord], run_ids: Iterable[str]) -> list[RunRecord]:
    """Return some runs and all their direct and indirect input runs, each once, nearest first.

    A blend may take its weights from a blend of another model. That blend comes last, without its inputs: no code,
    vector or list comes from the other model.

    Raises:
        InputError: an input is missing in the run table.
    """
    found: dict[str, RunRecord] = {}
    waiting, weights_of = list(run_ids), list[str]()
    for run_id in waiting:  # the list grows during the loop
        if run_id in found:
            continue
        if run_id not in known:
            raise InputError(f"run {run_id} is unknown; `semconv runs` lists the runs")
        found[run_id] = known[run_id]
        for name in known[run_id].inputs:
            is_weights = name in known and known[run_id].stage == known[name].stage == BLEND
            (weights_of if is_weights else waiting).append(name)
    return list({**found, **{name: known[name] for name in weights_of if name not in found}}.values())


def newest_first(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Return finished runs, latest first, by the time at which they finished or were last reused."""
    return sorted(runs, key=lambda run: str(run.finished_at), reverse=True)


def _by_id(store: Store) -> dict[str, RunRecord]:
    return {run.run_id: run for run in store.runs()}


def _first(runs: Iterable[RunRecord], stage: str) -> RunRecord | None:
    return next((run for run in runs if run.stage == stage), None)


def _assigns(codebook: RunRecord | None, runs: Iterable[RunRecord]) -> tuple[RunRecord, ...]:
    """Return the assign runs of a code set, oldest first; ``runs`` must come newest first."""
    if codebook is None:
        return ()
    mine = [run for run in runs if run.stage == ASSIGN and codebook.run_id in run.inputs]
    return tuple(reversed(mine))
