"""The plan of a generation: the recommend run, all runs that it depends on, and the evaluations of its model.

The plan is computed from tables of the warehouse only. No file of a run is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semconv.columns import ASSIGN, CODEBOOK, EMBED_BEHAVIOR, EVALUATE, RECOMMEND
from semconv.data.store import RunRecord
from semconv.errors import InputError, SettingsError
from semconv.runs.lineage import with_inputs
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.reading import content_hash
from semconv_warehouse.store.run_table import select_runs

# Increase this number when the same runs would give a generation file with other content.
GENERATION_FORMAT = 3


@dataclass(frozen=True)
class GenerationPlan:
    """The runs whose results a generation file contains. Plans with equal fingerprints give equal files."""

    recommend: RunRecord
    runs: tuple[RunRecord, ...]  # the recommend run, all runs that it depends on, and the evaluate runs; newest first
    code_runs: tuple[str, ...]  # the codebook run and the assign runs of the lineage
    embedding_run: str | None
    evaluate_runs: tuple[str, ...]
    fingerprint: str

    @property
    def carries_over(self) -> bool:
        """Whether the run computed lists for some users only. The other users keep their served lists."""
        return str(self.recommend.settings.get("users", "all")) != "all"

    @property
    def run_ids(self) -> dict[str, Any]:
        """Return the value of the column ``generation.run_ids``."""
        return {
            "recommend": self.recommend.run_id,
            "codes": list(self.code_runs),
            "embed_behavior": self.embedding_run,
            "evaluate": list(self.evaluate_runs),
            "lineage": [run.run_id for run in self.runs],
            "fingerprint": self.fingerprint,
        }


def plan_generation(store: DuckDBStore, recommend_run_id: str, evaluate_run_ids: Sequence[str] = ()) -> GenerationPlan:
    """Collect the runs that a recommend run depends on, and check that its lists may be published.

    Raises:
        InputError: a run is unknown, unfinished or of another stage, or the lineage has two code sets.
        SettingsError: the lists are for an evaluation, or were computed with the option --where.
    """
    with store.read() as connection:
        known = {run.run_id: run for run in select_runs(connection)}
        # Titles, removals, histories and profiles are copied too, so these tables are inputs like the runs.
        content = {table: content_hash(connection, table) for table in ("item", "interaction", "user_profile")}
    recommend = _finished(known, recommend_run_id, RECOMMEND)
    _require_publishable(recommend)
    evaluate = [_finished(known, run_id, EVALUATE).run_id for run_id in dict.fromkeys(evaluate_run_ids)]
    lineage = [_finished(known, run.run_id).run_id for run in with_inputs(known, [recommend_run_id])]
    chosen = {*lineage, *evaluate}
    runs = tuple(run for run in known.values() if run.run_id in chosen)
    codebooks = [run.run_id for run in runs if run.stage == CODEBOOK]
    if len(codebooks) > 1:
        raise InputError(
            f"run {recommend_run_id} depends on two code sets ({', '.join(codebooks)}); run `semconv recommend` again"
        )
    assigned = sorted(run.run_id for run in runs if run.stage == ASSIGN)
    return GenerationPlan(
        recommend=recommend,
        runs=runs,
        code_runs=(*codebooks, *assigned),
        embedding_run=_embedding_run(known, recommend, lineage),
        evaluate_runs=tuple(sorted(evaluate)),
        fingerprint=_fingerprint(lineage, evaluate, content),
    )


def _finished(known: Mapping[str, RunRecord], run_id: str, stage: str | None = None) -> RunRecord:
    run = known.get(run_id)
    if run is None:
        raise InputError(f"there is no run {run_id}; `semconv runs` lists the runs")
    if stage is not None and run.stage != stage:
        raise InputError(f"run {run_id} belongs to stage {run.stage}, not to {stage}; `semconv runs` lists the runs")
    if run.status != "finished":
        raise InputError(f"run {run_id} ({run.stage}) is {run.status}; run its command again to finish it")
    return run


def _require_publishable(run: RunRecord) -> None:
    split = run.settings.get("split")
    if split != "serve":
        raise SettingsError(
            f"run {run.run_id} has lists of the split {split}, which are only for `semconv evaluate`; "
            "publish lists of `semconv recommend --split serve`"
        )
    if run.settings.get("where"):
        raise SettingsError(
            f"run {run.run_id} has lists filtered by --where {run.settings['where']!r}, which cannot be published; "
            "to publish filtered lists, use the setting recommend.where"
        )


def _embedding_run(known: Mapping[str, RunRecord], recommend: RunRecord, lineage: Sequence[str]) -> str | None:
    """Return the run of the behaviour vectors that the lists depend on, or else those that the codes depend on."""
    for run_ids in (recommend.inputs, lineage):
        found = [run_id for run_id in run_ids if known[run_id].stage == EMBED_BEHAVIOR]
        if found:
            return max(found, key=lambda run_id: (str(known[run_id].finished_at), run_id))
    return None


def _fingerprint(lineage: Sequence[str], evaluate: Sequence[str], content: Mapping[str, str]) -> str:
    inputs = [GENERATION_FORMAT, sorted(lineage), sorted(evaluate), content]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
