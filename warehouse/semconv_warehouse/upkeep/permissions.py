"""The finding of ``semconv doctor`` about modes: who may write the project's files, and who may read the private ones."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semconv.locks import LOCK
from semconv_warehouse.features.files import key_file
from semconv_warehouse.store.layout import ProjectLayout

Finding = dict[str, Any]  # check, ok, detail
_NAMES = 5  # of files in one finding


def finding(check: str, ok: bool, detail: str) -> Finding:
    """Return one row of ``semconv doctor``."""
    return {"check": check, "ok": ok, "detail": detail}


@dataclass(frozen=True)
class _Rule:
    """A mode that a file may not have, and what to do about it."""

    bits: int
    problem: str
    remedy: str
    is_concerned: Callable[[ProjectLayout, Path], bool]


def _is_private(layout: ProjectLayout, path: Path) -> bool:
    is_log = path == layout.warehouse.with_name(f"{layout.warehouse.name}.wal")
    return path in (layout.warehouse, key_file(layout)) or path.name == LOCK or is_log


_RULES = (
    _Rule(stat.S_IWOTH, "can be written by everybody", "run `chmod o-w` on each of these", lambda layout, path: True),
    _Rule(stat.S_IWGRP, "can be written by the group", "run `chmod g-w` on each of these", lambda layout, path: True),
    _Rule(
        stat.S_IRWXO,
        "can be opened by everybody",
        "run `chmod o-rwx` on each of these",
        lambda layout, path: path == layout.data,
    ),
    _Rule(
        stat.S_IRWXG | stat.S_IRWXO,
        "can be opened by others than its owner, who could stall jobs or guess passwords",
        "run `chmod go-rwx` on each of these",
        _is_private,
    ),
)


def permissions(layout: ProjectLayout) -> Finding:
    """Return the finding about the modes of all files that the project's results depend on."""
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in _guarded(layout) if path.exists()}
    problems = []
    for rule in _RULES:
        wrong = [path for path, mode in modes.items() if mode & rule.bits and rule.is_concerned(layout, path)]
        if wrong:
            problems.append(f"{_names(layout, wrong)} {rule.problem}; {rule.remedy}")
    return finding("permissions", not problems, ". ".join(problems) or "only the owner can write")


def _guarded(layout: ProjectLayout) -> Iterator[Path]:
    """Yield the files and folders that contain code or that the served lists are made from. Links are not followed."""
    yield from (layout.root, layout.settings_file)
    for folder in (layout.feature_repo, layout.data):
        yield folder
        yield from (path for path in sorted(folder.rglob("*")) if not path.is_symlink())


def _names(layout: ProjectLayout, paths: Iterable[Path]) -> str:
    names = [str(path.relative_to(layout.root)) for path in paths]
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more
