"""What a command asks of the operating system, recorded by strace, and the states of a disk that a power cut may leave.

The model of the disk: the content of a file is safe up to its last fsync, and the names in a folder up to the folder's
last fsync. What came later may be on the disk or not. So each moment has six states: later names are kept or lost, and
later contents are kept, lost or torn, that is, only the first half of a file is new.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import pytest

_TRACED = (
    "openat,open,creat,close,dup,dup2,dup3,lseek,write,pwrite64,writev,pwritev,ftruncate,fallocate,fsync,fdatasync,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,sendfile,copy_file_range"
)
_LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)")
_UNFINISHED = re.compile(r"(\d+) +(.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)$")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True)
class Call:
    """One system call on a file or folder of the project."""

    name: str  # create, write, truncate, sync, rename, link, unlink, mkdir or rmdir
    path: str
    target: str = ""  # of a rename or link
    offset: int = 0
    data: bytes = b""


def record(root: Path, log: Path, *words: str) -> list[Call]:
    """Run a command under strace, and return its calls on the project in order; skip the test without strace."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("system calls below Python are recorded with strace, which is not installed")
    traced = [strace, "-f", "--seccomp-bpf", "-qq", "-xx", "-s", "100000000", "-e", f"trace={_TRACED}", "-o", log]
    command = [sys.executable, "-m", "semconv_cli", "--project", root, *words]
    done = subprocess.run(
        [*traced, *command], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    if "ptrace" in done.stderr and done.returncode:
        pytest.skip(f"strace may not trace processes here: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    return list(_calls(log, str(root)))


def _lines(log: Path) -> Iterator[str]:
    """Yield whole lines; a call during which another thread was shown comes when it ends."""
    begun: dict[str, str] = {}
    with log.open() as stream:
        for line in stream:
            line = line.rstrip("\n")
            if found := _UNFINISHED.match(line):
                begun[found[1]] = f"{found[1]} {found[2]}"
            elif found := _RESUMED.match(line):
                yield begun.pop(found[1]) + found[2]
            else:
                yield line


@dataclass
class _Open:
    path: str
    offset: int = 0
    is_append: bool = False


def _calls(log: Path, root: str) -> Iterator[Call]:
    opened: dict[int, _Open] = {}
    for line in _lines(log):
        found = _LINE.match(line)
        if found is None or int(found[4]) < 0:
            continue
        yield from (call for call in _call(found[2], found[3], int(found[4]), opened) if call.path.startswith(root))


def _call(name: str, arguments: str, result: int, opened: dict[int, _Open]) -> Iterator[Call]:
    strings = [bytes.fromhex(text.replace("\\x", "")) for text in _STRING.findall(arguments)]
    rest = _STRING.sub('""', arguments)
    values = [value.strip() for value in rest.split(",")]

    def path(number: int, folder: str = "AT_FDCWD") -> str:
        text = os.fsdecode(strings[number])
        base = opened[int(folder)].path if folder != "AT_FDCWD" and not text.startswith("/") else "/"
        return os.path.normpath(os.path.join(base, text))  # noqa: PTH118

    if name in ("openat", "open", "creat"):
        where = path(0, values[0]) if name == "openat" else path(0)
        opened[result] = _Open(where, is_append="O_APPEND" in rest)
        if "O_CREAT" in rest or "O_TRUNC" in rest or name == "creat":
            yield Call("create", where, data=b"truncated" if "O_TRUNC" in rest or name == "creat" else b"")
    elif name == "close":
        opened.pop(int(values[0]), None)
    elif name.startswith("dup"):
        if int(values[0]) in opened:
            opened[result] = opened[int(values[0])]
    elif name in ("rename", "link"):
        yield Call(name, path(0), path(1))
    elif name in ("renameat", "renameat2", "linkat"):
        yield Call(name.removesuffix("2").removesuffix("at"), path(0, values[0]), path(1, values[2]))
    elif name in ("unlink", "rmdir", "mkdir"):
        yield Call(name, path(0))
    elif name == "mkdirat":
        yield Call("mkdir", path(0, values[0]))
    elif name == "unlinkat":
        yield Call("rmdir" if "AT_REMOVEDIR" in rest else "unlink", path(0, values[0]))
    elif (file := opened.get(int(values[0]))) is None:
        return
    elif name in ("fsync", "fdatasync"):
        yield Call("sync", file.path)
    elif name == "lseek":
        file.offset = result
    elif name == "ftruncate":
        yield Call("truncate", file.path, offset=int(values[1]))
    elif name == "pwrite64":
        yield Call("write", file.path, offset=int(values[-1]), data=strings[0][:result])
    elif name in ("write", "writev"):
        yield Call("write", file.path, offset=-1 if file.is_append else file.offset, data=b"".join(strings)[:result])
        file.offset += result
    else:
        raise AssertionError(f"{name} is not understood: {rest[:200]}")


# The disk


@dataclass
class _Inode:
    now: bytearray
    safe: bytes

    def after_cut(self, contents: str) -> bytes:
        half = len(self.now) // 2
        return {"kept": bytes(self.now), "lost": self.safe, "torn": bytes(self.now[:half]) + self.safe[half:]}[contents]


@dataclass
class Disk:
    """The files and folders of a project, as they are now and as they are safe from a power cut."""

    now: dict[str, _Inode | None] = field(default_factory=dict)  # path -> file, or None for a folder
    safe: dict[str, _Inode | None] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path) -> Disk:
        """Return the disk of a project that lies there since long."""
        inodes: dict[int, _Inode] = {}
        disk = cls()
        for path in (root, *root.rglob("*")):
            if path.is_dir():
                disk.now[str(path)] = None
            else:
                content = path.read_bytes()
                disk.now[str(path)] = inodes.setdefault(path.stat().st_ino, _Inode(bytearray(content), content))
        disk.safe = dict(disk.now)
        return disk

    def do(self, call: Call) -> None:
        if call.name == "sync":
            self._sync(call.path)
        elif call.name == "create":
            self._create(call.path, is_truncated=bool(call.data))
        elif call.name in ("rename", "link"):
            self._move(call)
        elif call.name in ("unlink", "rmdir"):
            self.now.pop(call.path, None)
        elif call.name == "mkdir":
            self.now[call.path] = None
        else:
            self._write(call)

    def _create(self, path: str, *, is_truncated: bool) -> None:
        file = self.now.setdefault(path, _Inode(bytearray(), b""))
        if is_truncated and file is not None:
            file.now.clear()

    def _move(self, call: Call) -> None:
        for path in [path for path in self.now if path == call.path or path.startswith(f"{call.path}/")]:
            self.now[call.target + path.removeprefix(call.path)] = self.now[path]
            if call.name == "rename":
                del self.now[path]

    def _write(self, call: Call) -> None:
        file = self.now.get(call.path)
        if file is None:  # the file was removed while it was open
            return
        if call.name == "truncate":
            del file.now[call.offset :]
            file.now.extend(bytes(call.offset - len(file.now)))
            return
        offset = len(file.now) if call.offset < 0 else call.offset
        file.now.extend(bytes(max(offset - len(file.now), 0)))
        file.now[offset : offset + len(call.data)] = call.data

    def _sync(self, path: str) -> None:
        file = self.now.get(path)
        if file is not None:
            file.safe = bytes(file.now)
        elif path in self.now:
            for name in {name for name in (*self.now, *self.safe) if os.path.dirname(name) == path}:  # noqa: PTH120
                if name in self.now:
                    self.safe[name] = self.now[name]
                else:
                    self.safe.pop(name)

    def state(self, names: str, contents: str) -> dict[str, bytes | None]:
        """Return a state after a power cut, in which later names and contents are ``kept``, ``lost`` or ``torn``."""
        files = self.now if names == "kept" else self.safe
        found = {path: None if file is None else file.after_cut(contents) for path, file in files.items()}
        # A file in a folder that is lost is lost too.
        folders = {path for path, content in found.items() if content is None}
        return {path: content for path, content in found.items() if _has_folders(path, folders, min(files, key=len))}


def _has_folders(path: str, folders: set[str], root: str) -> bool:
    while path != root:
        path = os.path.dirname(path)  # noqa: PTH120
        if path not in folders:
            return False
    return True


def states(before: Disk, calls: list[Call]) -> Iterator[tuple[str, dict[str, bytes | None]]]:
    """Yield each distinct state that a power cut may leave at a change of names or a sync, and when it may.

    The last states are those after the command has ended.
    """
    seen = set()
    for number, call in enumerate([*calls, None], 1):
        if call is None or call.name in ("sync", "rename", "unlink", "link"):
            for names, contents in product(("lost", "kept"), ("lost", "kept", "torn")):
                state = before.state(names, contents)
                key = hash(frozenset(state.items()))
                if key not in seen:
                    seen.add(key)
                    moment = "the end" if call is None else f"call {number}, {call.name} {call.path}"
                    yield f"before {moment}: names {names}, contents {contents}", state
        if call is not None:
            before.do(call)


def write_state(state: dict[str, bytes | None], root: str, target: Path) -> Path:
    """Write a state as a project in another folder."""
    for path, content in sorted(state.items()):
        place = target / os.path.relpath(path, root)
        if content is None:
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.write_bytes(content)
    return target


# Order


def unsynced(calls: list[Call]) -> list[str]:
    """Return what is wrong with the order write, fsync, rename, fsync of the folder; empty if nothing is."""
    dirty: set[str] = set()
    wrong = []
    unsynced_names: dict[str, str] = {}
    for call in calls:
        if call.path.endswith("/lock"):
            continue
        if call.name in ("write", "truncate"):
            dirty.add(call.path)
        elif call.name == "sync":
            dirty.discard(call.path)
            unsynced_names = {path: folder for path, folder in unsynced_names.items() if folder != call.path}
        elif call.name == "rename":
            if call.path in dirty:
                wrong.append(f"{call.path} was renamed to {call.target} before it was synced")
            unsynced_names[call.target] = os.path.dirname(call.target)  # noqa: PTH120
    return wrong + [f"{folder} was not synced after {path} got its name" for path, folder in unsynced_names.items()]
