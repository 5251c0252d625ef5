"""Select the items that may be listed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semconv.data.store import Catalog
from semconv.errors import InputError, SettingsError
from semconv.runs.workspace import Workspace


def allowed_items(workspace: Workspace, catalog: Catalog, where: str | None) -> NDArray[np.bool_]:
    """Return whether each item is available and passes the filters, ``(I,)``.

    Args:
        where: the filter of one command, in addition to ``recommend.where``; None for no further filter.

    Raises:
        SettingsError: a filter is not a SQL condition, or allows no item.
        InputError: no item is available.
    """
    allowed = catalog.is_servable.copy()
    if not allowed.any():
        raise InputError(
            f"none of the {len(catalog):,} items is available; add available items with `semconv ingest items FILE`"
        )
    for name, condition in (("recommend.where", workspace.settings.recommend.where), ("--where", where)):
        if condition:
            allowed &= workspace.store.allowed_items(condition)
            if not allowed.any():
                raise SettingsError(
                    f"the filter {condition!r} ({name}) allows no available item, so no list can be made; correct it"
                )
    return allowed
