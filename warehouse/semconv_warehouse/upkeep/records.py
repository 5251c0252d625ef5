"""A project's runs and generations, with the disk space that each of them takes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from semconv.runs.workspace import Workspace
from semconv_warehouse.features.export import feature_files
from semconv_warehouse.publish.generation_files import served_generation
from semconv_warehouse.publish.publications import read_record
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.upkeep import disk
from semconv_warehouse.upkeep.pruning import runs_by_generation


def runs(workspace: Workspace, store: DuckDBStore) -> list[dict[str, Any]]:
    """Return the runs, newest first, with the size of their folders and the generations that were computed from them.

    Generations whose file no longer exists are left out.
    """
    made_from = runs_by_generation(store)
    return [
        {
            **asdict(run),
            "settings": dict(run.settings),
            "inputs": list(run.inputs),
            "bytes": disk.size([workspace.book.folder(run)]),
            "generations": sorted(number for number, run_ids in made_from.items() if run.run_id in run_ids),
        }
        for run in store.runs()
    ]


def generations(workspace: Workspace, store: DuckDBStore) -> list[dict[str, Any]]:
    """Return the generations, newest first, with their publications and sizes.

    ``bytes`` is the size of the generation file. ``run_bytes`` is the size of the run folders that only this generation
    needs, or 0 if the generation file no longer exists. ``feature_bytes`` is the size of the Parquet files that were
    exported for Feast. ``forced`` has the gates that `--force` overrode, with what they measured.
    """
    layout = store.layout
    with store.read() as connection:
        rows = (
            connection.execute(
                sa.text("SELECT generation, status, created_at FROM generation ORDER BY generation DESC")
            )
            .mappings()
            .all()
        )
    served, record, made_from = served_generation(layout), read_record(store), runs_by_generation(store)
    folders = {run.run_id: workspace.book.folder(run) for run in store.runs()}
    result = []
    for row in rows:
        number = row["generation"]
        own = [entry for entry in record.publications if entry.generation == number]
        others = frozenset[str]().union(*(run_ids for other, run_ids in made_from.items() if other != number))
        result.append(
            {
                **row,
                "published_at": max((entry.published_at for entry in own), default=None),
                "publications": len(own),
                "is_served": number == served,
                "forced": record.forced(number),
                "bytes": disk.size([layout.generation_file(number)]),
                "run_bytes": disk.size(folders[run_id] for run_id in made_from.get(number, frozenset()) - others),
                "feature_bytes": disk.size(path for entry in own for path in feature_files(layout, entry.publication)),
            }
        )
    return result
