"""The locks of a project's published generations and of its Feast files. Runs have their own locks."""

from __future__ import annotations

from contextlib import AbstractContextManager

from semconv.locks import run_lock
from semconv_warehouse.store.layout import ProjectLayout


def generations_lock(layout: ProjectLayout, wait: float) -> AbstractContextManager[None]:
    """Let one process at a time add or remove published generations; LockedError after ``wait`` seconds."""
    return run_lock(layout.generations, wait=wait, work="generations are being published, pruned or forgotten from")


def features_lock(layout: ProjectLayout, wait: float) -> AbstractContextManager[None]:
    """Let one process at a time write the files that Feast reads; LockedError after ``wait`` seconds."""
    return run_lock(layout.features, wait=wait, work="features are being written or forgotten")
