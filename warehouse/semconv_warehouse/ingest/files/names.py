"""Names of columns: those that are no column of the data, such as the index of pandas, and names that occur twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from semconv.errors import InputError

# An empty name, and the names that pandas and R give to their index. Exported rows are numbered in it.
_INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
# Text that is a value rather than a name: a number or a date.
_NUMBER = re.compile(r"[-+]?[\d.,]+(?:[eE][-+]?\d+)?")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.*")


def ignored_names(names: Iterable[str]) -> list[str]:
    """Return the names of columns that hold no data of an item or interaction."""
    return [name for name in names if _INDEX.fullmatch(name)]


def names_remark(ignored: Sequence[str]) -> list[str]:
    """Return a sentence about columns that are not read."""
    if not ignored:
        return []
    unnamed = sum(not name for name in ignored)
    parts = [f"{unnamed} without a name"] * (unnamed > 0) + [name for name in ignored if name]
    return [f"columns without a name of their own, left out: {', '.join(parts)}; give them names to keep them"]


def require_distinct(file: object, names: Sequence[str]) -> None:
    """Raise InputError if two columns have the same name."""
    doubles = [name for name, number in Counter(names).items() if number > 1 and name]
    if not doubles:
        return
    if looks_like_values(names):
        raise InputError(
            f"{file}: the first row has {doubles[0]} twice, so the file seems to have no header; give --no-header and name"
            " columns by their position, such as --map user_id=1"
        )
    raise InputError(f"{file}: two columns are called {', '.join(doubles)}; give each column its own name")


def looks_like_values(names: Sequence[str]) -> bool:
    """Return whether the first row of a file seems to hold values and not names: a date, or numbers in half of it."""
    if any(map(_DATE.fullmatch, names)):
        return True
    return sum(bool(_NUMBER.fullmatch(name)) for name in names) * 2 >= max(len(names), 1)
