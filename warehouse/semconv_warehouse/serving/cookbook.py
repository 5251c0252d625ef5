"""The ready questions of ``sql/queries``: what each asks, its parameters, and the page that documents them.

A file's comments are its documentation: the second line says what it answers, further lines say more, and
``-- parameter NAME: ...`` names a value that the statement reads with ``getvariable('NAME')`` and does without.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from semconv.errors import SettingsError
from semconv_warehouse.publish.checks import SqlFile, sql_files
from semconv_warehouse.store.layout import package_folder

_PARAMETER = re.compile(r"-- parameter (\w+): (.+)")
_PREVIOUS = re.compile(r"\bprevious\s*\.")


@dataclass(frozen=True)
class CookbookQuery:
    """One file of ``sql/queries``."""

    name: str  # the file's stem
    title: str  # one sentence
    words: str  # more of them, or none
    parameters: Mapping[str, str]  # name -> what it is and what holds when it is not set
    statement: str

    @property
    def reads_previous(self) -> bool:
        """Whether it needs the generation before the served one."""
        return _PREVIOUS.search(self.statement) is not None


def cookbook() -> list[CookbookQuery]:
    """Every ready question, by name."""
    return [_query(file) for file in sql_files(package_folder("sql") / "queries", "serving")]


def cookbook_query(name: str, parameters: Mapping[str, str]) -> CookbookQuery:
    """One ready question; SettingsError when there is none of this name, or it has no parameter of a given name."""
    known = {query.name: query for query in cookbook()}
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else "`semconv sql --list` names them"
        raise SettingsError(f"no query {name!r} in the cookbook; {hint}")
    query = known[name]
    unknown = sorted(set(parameters) - set(query.parameters))
    if unknown:
        takes = f"it takes {', '.join(query.parameters)}" if query.parameters else "it takes none"
        raise SettingsError(f"query {name} has no parameter {', '.join(unknown)}; {takes}")
    return query


def _query(file: SqlFile) -> CookbookQuery:
    lines = file.statement.splitlines()
    count = next((place for place, line in enumerate(lines) if not line.startswith("-- ")), len(lines))
    comments, parameters = [], {}
    for line in lines[:count]:
        if found := _PARAMETER.fullmatch(line):
            parameters[found[1]] = found[2]
        else:
            comments.append(line.removeprefix("-- "))
    return CookbookQuery(file.name, file.comment, " ".join(comments), parameters, "\n".join(lines[count:]))
