"""The cookbook: the queries of ``sql/queries``, with their parameters and documentation.

The comments of a file are its documentation. The second line is the title, and further comment lines are notes. A line
``-- parameter NAME: MEANING`` documents a value that the statement reads with ``getvariable('NAME')``. Every parameter
has a default.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from semconv.errors import SettingsError
from semconv_warehouse.publish.sql_files import SqlFile, sql_files
from semconv_warehouse.store.layout import package_folder

_PARAMETER = re.compile(r"-- parameter (\w+): (.+)")
_PREVIOUS = re.compile(r"\bprevious\s*\.")


@dataclass(frozen=True)
class CookbookQuery:
    """One query of the cookbook, which is a file of ``sql/queries``."""

    name: str
    title: str  # one sentence
    notes: str  # further sentences, or empty
    parameters: Mapping[str, str]  # name -> meaning and default
    statement: str

    @property
    def reads_previous(self) -> bool:
        """Whether the query needs the generation before the served one."""
        return _PREVIOUS.search(self.statement) is not None


def cookbook() -> list[CookbookQuery]:
    """Return all queries of the cookbook, sorted by name."""
    return [_query(file) for file in sql_files(package_folder("sql") / "queries", "serving")]


def cookbook_query(name: str, parameters: Mapping[str, str]) -> CookbookQuery:
    """Return one query of the cookbook, and check the names of its parameters.

    Raises:
        SettingsError: no query has this name, or the query lacks a given parameter.
    """
    known = {query.name: query for query in cookbook()}
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else "`semconv sql --list` lists all queries"
        raise SettingsError(f"no query {name!r} in the cookbook; {hint}")
    query = known[name]
    unknown = sorted(set(parameters) - set(query.parameters))
    if unknown:
        takes = f"its parameters are {', '.join(query.parameters)}" if query.parameters else "it has none"
        raise SettingsError(f"query {name} has no parameter {', '.join(unknown)}; {takes}")
    return query


def _query(file: SqlFile) -> CookbookQuery:
    lines = file.statement.splitlines()
    num_comments = next((number for number, line in enumerate(lines) if not line.startswith("-- ")), len(lines))
    notes, parameters = [], {}
    for line in lines[:num_comments]:
        if found := _PARAMETER.fullmatch(line):
            parameters[found[1]] = found[2]
        else:
            notes.append(line.removeprefix("-- "))
    return CookbookQuery(file.name, file.comment, " ".join(notes), parameters, "\n".join(lines[num_comments:]))
