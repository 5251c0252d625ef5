"""Check the integrity of a project by SQL rules, checksums of run files and the age of the last publication."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from semconv.clock import utc_now
from semconv.errors import InputError
from semconv.runs.digests import damaged_files
from semconv.runs.workspace import Workspace
from semconv_warehouse.publish.checks import EXAMPLES, CheckResult, run_checks
from semconv_warehouse.publish.generation_files import generation_files, require_alone, served_generation
from semconv_warehouse.publish.publications import Publication, publications
from semconv_warehouse.store.database import open_database
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.upkeep.pruning import needed_runs, runs_by_generation


def check(workspace: Workspace, store: DuckDBStore, max_age: timedelta | None = None) -> list[CheckResult]:
    """Check the warehouse, the served generation, and the files of the runs that the project still needs.

    Args:
        max_age: largest allowed age of the last publication; None skips this check.
    """
    with store.read() as connection:
        results = run_checks(connection, "warehouse")
    alone = _check_stray_files(store.layout)
    results.append(alone)
    if alone.passed and store.layout.serving.exists():
        with open_database(store.layout.serving, read_only=True) as connection:
            results += run_checks(connection, "generation")
    results.append(_check_run_files(workspace, store))
    return results if max_age is None else [*results, check_age(publications(store), max_age, utc_now())]


def _check_stray_files(layout: ProjectLayout) -> CheckResult:
    """Check that no file lies beside a generation that could change what readers of the generation get."""
    found = []
    for path in (layout.serving, *generation_files(layout).values()):
        try:
            require_alone(path)
        except InputError as error:
            found.append({"file": str(path), "problem": str(error)})
    rule = "No stray file lies beside a generation."
    return CheckResult("stray_files", "serving", rule, len(found), found[:EXAMPLES])


def _check_run_files(workspace: Workspace, store: DuckDBStore) -> CheckResult:
    """Verify the checksums of run files that the served generation or later commands need."""
    served = runs_by_generation(store).get(served_generation(store.layout) or 0, frozenset())
    needed = needed_runs(workspace.book, list(served))
    damaged = [
        {"file": str(workspace.book.folder(run) / name), "way_out": workspace.repair(run)}
        for run in store.runs(status="finished")
        if run.run_id in needed
        for name in damaged_files(workspace.book.folder(run))
    ]
    rule = "The files of all needed runs match their checksums."
    return CheckResult("run_files", "runs", rule, len(damaged), damaged[:EXAMPLES])


def check_age(known: Sequence[Publication], max_age: timedelta, now: datetime) -> CheckResult:
    """Check that the last publication is at most ``max_age`` old. The check fails if nothing was published.

    Args:
        known: all publications, oldest first.
    """
    rule = f"The served lists were published less than {max_age} ago."
    if not known:
        return CheckResult(
            "publication_age", "serving", rule, 1, [{"generation": None, "age": "nothing published yet"}]
        )
    last = known[-1]
    age = now - last.published_at
    example = {
        "generation": last.generation,
        "published_at": last.published_at.isoformat(),
        "age": str(age).partition(".")[0],
    }
    return CheckResult("publication_age", "serving", rule, int(age > max_age), [example] if age > max_age else [])
